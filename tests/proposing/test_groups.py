import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsolve.proposing.detect import propose
from kitsolve.proposing.forms import Form
from kitsolve.proposing.groups import choose_group, encode_guess
from kitsolve.proposing.layout import read_layout
from kitsolve.proposing.lookalikes import choose_duplicates, describe_odd_images, group_near_duplicates, inspect_images
from kitsolve.proposing.proposal import Guess

KINDS = {"multiclass": "label", "regression": "value", "multilabel": "class_probabilities"}


def form_of(target, task="multiclass"):
    return Form(Guess(target, ""), Guess(task, ""), Guess(KINDS[task], ""))


def draw_rows(rng, rows=300):
    groups = rng.permutation(np.repeat(np.arange(rows), rng.integers(2, 6, rows))[:rows])
    ids = [f"{number:08x}" for number in rng.permutation(2**20)[:rows]]
    table = pd.DataFrame({"id": ids, "label": [f"l{value}" for value in rng.integers(0, 4, rows)[groups]]})
    table["age"] = rng.integers(20, 80, rows).astype(str)
    table["path"] = "train/" + table.id + ".png"
    return table, groups


def draw_free_groups(name):
    """The same with a column of groups, whose rows share no label beyond chance."""
    rng = np.random.default_rng(0)
    rows, groups = draw_rows(rng)
    return rows.assign(
        **{"label": rng.permutation(rows.label.to_numpy()), name: [f"k{group}" for group in groups]}
    ), groups


def choose(rows, form=None, test=None, **options):
    taken = {"id", "label"}
    return choose_group(rows, test, form or form_of("label"), id_column="id", taken=taken, **options)


@settings(max_examples=30, derandomize=True)
@given(seed=st.integers(0, 10**6), name=st.text("abcdefgh", min_size=1, max_size=6))
def test_a_group_of_any_name_is_proposed_with_its_numbers_and_is_unsure(seed, name):
    rows, groups = draw_rows(np.random.default_rng(seed))
    rows[f"_{name}"] = [f"k{group}" for group in groups]
    group = choose(rows)
    assert group.value == f"_{name}"
    assert group.choices[-1] is None
    assert "rows of one share the label in 100% of pairs, by chance in" in group.reason


@settings(max_examples=30, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_where_no_column_groups_the_rows_none_is_proposed(seed):
    rows, _ = draw_rows(np.random.default_rng(seed))
    assert choose(rows) is None


def test_values_that_no_test_row_shares_with_train_are_told():
    rows, groups = draw_free_groups("z")
    test = draw_rows(np.random.default_rng(1))[0].assign(z=[f"k{group + 1000}" for group in groups])
    assert "none of the test's" in choose(rows, test=test).reason
    assert choose(rows) is None


def test_a_column_that_is_called_a_group_is_proposed_whatever_its_rows_share():
    rows, _ = draw_free_groups("patient_id")
    group = choose(rows)
    assert group.value == "patient_id"
    assert group.reason.endswith("by its name what images have in common")


@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("regression", "number"),
        ("multilabel", ["one", "two", "three"]),
        ("multilabel", {"column": "all", "separator": " "}),
    ],
    ids=["values", "columns", "lists"],
)
def test_groups_are_found_by_labels_of_every_form(task, target):
    rng = np.random.default_rng(0)
    rows, groups = draw_rows(rng)
    sets = rng.integers(0, 2, (300, 3))[groups]
    rows["number"] = (rng.normal(size=300)[groups] + rng.normal(0, 0.2, 300)).astype(str)
    rows[["one", "two", "three"]] = sets.astype(str)
    rows["all"] = [" ".join(np.array(["a", "b", "c"])[row == 1]) for row in sets]
    rows["z"] = [f"k{group}" for group in groups]
    columns = [target] if task == "regression" else ["one", "two", "three", "all"]
    group = choose(rows[["id", "path", "age", "z", *columns]], form_of(target, task))
    assert group.value == "z"


def test_the_group_of_a_guess_is_that_of_its_column_or_pattern():
    rows = pd.DataFrame({"id": ["a1_x", "a1_y", "b2_x"], "z": ["p", "q", "NA"]})
    assert encode_guess(rows, Guess({"column": "id", "pattern": "^([^_]+)_"}, "")).tolist() == [0, 0, 1]
    assert encode_guess(rows, Guess("z", "")).tolist() == [0, 1, -1]
    assert encode_guess(rows, None) is None


# ------------------------------------------------------------------------------------------------ near-duplicates


def write_scenes(folder, *, scenes, copies, seed=0):
    """The paths of smooth pictures, each `copies` times with a little noise."""
    rng, paths = np.random.default_rng(seed), []
    folder.mkdir(parents=True)
    for scene in range(scenes):
        image = cv2.resize(rng.integers(0, 256, (7, 9, 3)).astype(np.uint8), (80, 60), interpolation=cv2.INTER_CUBIC)
        for copy in range(copies):
            noisy = (image + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)
            paths.append(f"{folder.name}/{scene}_{copy}.jpg")
            cv2.imwrite(str(folder.parent / paths[-1]), noisy)
    return paths


def find_lookalikes(paths, layout, scratch):
    return group_near_duplicates(paths, inspect_images(paths, layout, scratch))


def test_near_copies_are_proposed_to_stay_together_unless_the_group_holds_them(tmp_path):
    paths = write_scenes(tmp_path / "raw" / "train", scenes=20, copies=3)
    near_duplicates = find_lookalikes(paths, read_layout(tmp_path / "raw"), tmp_path)
    guess = choose_duplicates(near_duplicates, None)
    assert (guess.value, guess.choices) == ("group", ("group", "keep"))
    assert guess.reason == "60 of the train images are near-duplicates of another one"
    assert choose_duplicates(near_duplicates, np.arange(60) // 3) is None
    assert choose_duplicates(near_duplicates, np.arange(60) % 3) == guess


def test_pictures_without_copies_and_files_that_are_none_are_no_near_copies(tmp_path):
    paths = write_scenes(tmp_path / "raw" / "train", scenes=40, copies=1)
    (tmp_path / "raw" / paths[3]).write_bytes(b"no image")
    near_duplicates = find_lookalikes([*paths, "train/missing.jpg"], read_layout(tmp_path / "raw"), tmp_path)
    assert (near_duplicates < 0).sum() == 2
    assert choose_duplicates(near_duplicates, None) is None


def test_odd_images_are_told_with_their_number(tmp_path):
    paths = write_scenes(tmp_path / "raw" / "train", scenes=8, copies=1)
    assert describe_odd_images(inspect_images(paths, read_layout(tmp_path / "raw"), tmp_path), 8) == ""
    cv2.imwrite(str(tmp_path / "raw/train/depth.tif"), np.linspace(0, 900, 64, dtype=np.float32).reshape(8, 8))
    cv2.imwrite(str(tmp_path / "raw/train/icon.png"), np.full((8, 8, 4), 99, np.uint8))
    paths += ["train/depth.tif", "train/icon.png"]
    said = describe_odd_images(inspect_images(paths, read_layout(tmp_path / "raw"), tmp_path), 10)
    assert said.startswith("10 of 10 train images were opened. 1 of 10 images are transparent in places")
    assert "1 of 10 images hold numbers outside of 0 to 255" in said
    assert "train/depth.tif, from 0 to 900" in said


def test_images_in_a_zip_are_looked_at(tmp_path):
    import shutil

    paths = write_scenes(tmp_path / "raw" / "train", scenes=10, copies=2)
    shutil.make_archive(str(tmp_path / "raw" / "train"), "zip", root_dir=tmp_path / "raw", base_dir="train")
    shutil.rmtree(tmp_path / "raw" / "train")
    assert choose_duplicates(find_lookalikes(paths, read_layout(tmp_path / "raw"), tmp_path), None) is not None


def test_a_proposal_holds_the_part_of_a_name_and_the_near_copies(tmp_path):
    rng, raw = np.random.default_rng(0), tmp_path / "raw"
    write_scenes(raw / "train", scenes=40, copies=3)
    write_scenes(raw / "test", scenes=12, copies=1, seed=1)
    names, labels = [f"{scene}_{copy}" for scene in range(40) for copy in range(3)], rng.integers(0, 3, 40)
    pd.DataFrame({"name": names, "label": np.repeat([f"l{one}" for one in labels], 3)}).to_csv(
        raw / "train.csv", index=False
    )
    pd.DataFrame({"name": [f"{scene}_0" for scene in range(12)], "label": "l0"}).to_csv(
        raw / "sample_submission.csv", index=False
    )
    proposal = propose(raw, "any")
    group = next(fact for fact in proposal.facts if fact.key == "group")
    assert group.value == {"column": "name", "pattern": "^([^_]+)_"}
    assert not proposal.problems
    assert "duplicates" not in [fact.key for fact in proposal.facts]


def test_a_coarser_column_whose_values_are_others_in_the_test_is_offered():
    rows, groups = draw_rows(np.random.default_rng(0))
    rows = rows.assign(plate=[f"p{group}" for group in groups], run=[f"r{group % 3}" for group in groups])
    test = rows.assign(plate=[f"p{group + 1000}" for group in groups], run="r9")
    assert choose(rows, test=test).choices[:2] == ("plate", "run")
