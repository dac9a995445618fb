"""Rows against images: no proposal counts as verified that leaves images out or gives rows the same one."""

import random
import tomllib

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import ANIMALS, draw, hexes, touch, write_table

from kitsolve.config import check_facts
from kitsolve.data.table import make_test_table, make_train_table
from kitsolve.errors import KitsolveError
from kitsolve.proposing.coverage import compare, say_repeated
from kitsolve.proposing.detect import propose
from kitsolve.proposing.layout import read_layout
from kitsolve.proposing.proposal import write_toml


def read_paths(proposal, raw):
    """The images of the train rows and of the test rows that the proposed facts give."""
    if proposal.sample:
        (raw / "sample_submission.csv").write_text(proposal.sample)
    competition = check_facts({"slug": "any", **tomllib.loads(write_toml(proposal))})
    return make_train_table(raw, competition).path.tolist(), make_test_table(raw, competition).path.tolist()


def lay(root, *paths):
    touch(root, list(paths))
    return read_layout(root)


def test_rows_that_share_an_image_are_counted_with_the_first(tmp_path):
    layout = lay(tmp_path, "train/a.jpg", "train/b.jpg", "test/c.jpg")
    (said,) = compare(["train/a.jpg", "train/a.jpg", "train/b.jpg"], ["test/c.jpg"], layout).problems
    assert said.startswith("2 train rows share 1 images, up to 2 rows each, first: train/a.jpg; ")


def test_images_beside_the_train_images_that_no_row_uses_are_counted_with_their_suffixes(tmp_path):
    layout = lay(tmp_path, "train/a.jpg", "train/b.jpg", "train/c.jfif", "train/d.jfif", "test/e.jpg")
    (said,) = compare(["train/a.jpg", "train/b.jpg"], ["test/e.jpg"], layout).problems
    assert said.startswith(
        "2 of 4 images in the folders of the train images are used by no row (2 .jfif), first: train/c"
    )
    assert "where a row has several images, 2.0 in the mean, write the images of a row as one" in said


def test_a_class_folder_that_no_row_uses_is_counted(tmp_path):
    layout = lay(tmp_path, "train/cat/a.jpg", "train/dog/b.jpg", "train/eel/c.jfif", "test/d.jpg")
    (said,) = compare(["train/cat/a.jpg", "train/dog/b.jpg"], ["test/d.jpg"], layout).problems
    assert "first: train/eel/c.jfif" in said


def test_masks_copies_and_other_formats_of_used_images_are_no_unused_ones(tmp_path):
    others = ["train/a.dcm", "train/a_mask.png", "small/a.jpg", "masks/x.png", "data/train_masks/y.png"]
    layout = lay(tmp_path, "train/a.jpg", "test/c.jpg", *others)
    assert compare(["train/a.jpg"], ["test/c.jpg"], layout) == compare(["train/a.jpg"], ["test/c.jpg"], lay(tmp_path))
    assert not compare(["train/a.jpg"], ["test/c.jpg"], layout).problems


def test_images_elsewhere_are_left_out_by_folder(tmp_path):
    layout = lay(tmp_path, "train/a.jpg", "test/c.jpg", "val/d.jpg", "val/e.jpg")
    found = compare(["train/a.jpg"], ["test/c.jpg"], layout)
    assert (found.problems, found.left_out) == ([], {"val": 2})


def test_lost_images_that_lie_in_other_folders_are_explained(tmp_path):
    layout = lay(tmp_path, "part_1/a.jpg", "part_2/b.jpg", "part_3/c.jpg")
    said = compare(["part_1/a.jpg", "part_1/b.jpg", "part_1/c.jpg"], None, layout).problems[0]
    assert "2 of 3 train rows find no image, first: part_1/b.jpg; images of these names lie in 2 other folders" in said


def test_masks_among_the_rows_are_counted(tmp_path):
    layout = lay(tmp_path, "cat/a (1).png", "cat/a (1)_mask.png", "dog/b.png")
    said = compare(["cat/a (1).png", "cat/a (1)_mask.png", "dog/b.png"], None, layout).problems
    assert said == ["1 of 3 train rows are masks of other images, first: cat/a (1)_mask.png."]


def test_several_rows_of_a_test_id_are_counted():
    rows = pd.DataFrame({"patient": ["p", "p", "q"], "image": ["1", "2", "3"]})
    (said,) = say_repeated(rows, "patient", ["p", "q"], "test.csv")
    assert said.startswith("1 of 2 test ids have several rows in test.csv, up to 2 (first: p)")
    assert not say_repeated(rows, "image", ["1", "2", "3"], "test.csv")


SUFFIXES = (".jpg", ".png", ".jfif", ".avif", ".JPG")
FOLDERS = (("train", "test"), ("train_images", "test_images"), ("data/train", "data/test"), ("images", "images"))


@st.composite
def trees(draw_one):
    """A competition of a table or of folders, with something wrong or odd about it."""
    choose = draw_one(st.randoms(use_true_random=False))
    return {
        "folders": choose.choice(FOLDERS),
        "suffixes": [choose.choice(SUFFIXES) for _ in range(choose.choice((1, 1, 1, 2)))],
        "by_folder": choose.random() < 0.4,
        "oddities": choose.sample(ODDITIES, choose.choice((0, 1, 1, 2))),
        "rows": choose.randint(24, 60),
        "sample": choose.random() < 0.8,
        "seed": choose.randint(0, 2**32),
    }


ODDITIES = ("val", "unused", "other suffix", "lost", "repeated", "several", "masks", "thumbs", "links", "splits")


def write_tree(raw, tree):
    rng = random.Random(tree["seed"])
    train, test = tree["folders"]
    names, tests = hexes(tree["rows"], 0), hexes(12, 1)
    labels = dict(zip(names, draw(ANIMALS[:3], len(names)), strict=True))
    by_folder = tree["by_folder"] and train != test
    files = {name: f"{train}/{labels[name] + '/' if by_folder else ''}{name}" for name in names}
    end = {name: tree["suffixes"][0] for name in names}
    end |= {name: rng.choice(tree["suffixes"]) for name in names}
    touch(raw, [files[name] + end[name] for name in names] + [f"{test}/{name}{tree['suffixes'][0]}" for name in tests])
    rows = [(name, labels[name]) for name in names]
    for oddity in tree["oddities"]:
        rows = ADD[oddity](raw, rows, files, rng)
    if not by_folder:
        columns = {"image_id": [row[0] for row in rows], "species": [row[1] for row in rows]}
        if "links" in tree["oddities"]:
            columns["other_view"] = [f"{row[0]}_b.jpg" for row in rows]
            columns["url"] = [f"https://any.org/{row[0]}" for row in rows]
        if "splits" in tree["oddities"]:
            columns["split"] = [("train", "train", "test")[place % 3] for place in range(len(rows))]
        write_table(raw / "train.csv", columns)
    if tree["sample"]:
        write_table(raw / "sample_submission.csv", {"image_id": tests, "species": ["bee"] * 12})


def _touched(raw, rows, *paths):
    touch(raw, list(paths))
    return rows


def _lose(raw, rows, files, rng):
    for path in raw.glob(f"{files[rows[0][0]]}.*"):
        path.unlink()
    return rows


ADD = {
    "val": lambda raw, rows, files, rng: _touched(raw, rows, *(f"val/ant/v{row}.jpg" for row in range(9))),
    "unused": lambda raw, rows, files, rng: rows[: -len(rows) // 4],
    "other suffix": lambda raw, rows, files, rng: _touched(raw, rows, f"{files[rows[0][0]]}x.webp"),
    "lost": _lose,
    "repeated": lambda raw, rows, files, rng: [*rows, *rows[:5]],
    "several": lambda raw, rows, files, rng: _touched(raw, rows, *(f"{files[name]}_b.jpg" for name, _ in rows)),
    "masks": lambda raw, rows, files, rng: _touched(raw, rows, *(f"masks/{name}_mask.png" for name, _ in rows)),
    "thumbs": lambda raw, rows, files, rng: _touched(raw, rows, f"{files[rows[0][0]].rpartition('/')[0]}/Thumbs.db"),
    "links": lambda raw, rows, files, rng: rows,
    "splits": lambda raw, rows, files, rng: rows,
}


@given(tree=trees())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_looks_verified_uses_every_image_once(tree, tmp_path_factory):
    """Refused, unsure with the number, or true: each train row has an image of its own, and no image is left out."""
    raw = tmp_path_factory.mktemp("raw")
    write_tree(raw, tree)
    try:
        proposal = propose(raw, "any")
    except KitsolveError:
        return
    if proposal.problems or any(fact.key in ("rows", "image") and fact.table == "train" for fact in proposal.unsure):
        return
    train, test = read_paths(proposal, raw)
    images = {path for path in read_layout(raw).images if "mask" not in path}
    assert len(set(train)) == len(train)
    assert set(train) <= images
    assert set(test) <= images
    assert {path for path in images - set(train) if not path.startswith(tree["folders"][1])} == set()
    assert not any("url" in str(fact.value) or "other_view" in str(fact.value) for fact in proposal.facts)


@pytest.mark.parametrize(
    ("folders", "are_classes"),
    [
        (("train_photos", "test_photos"), False),
        (("Test", "Training"), False),
        (("images_part_1", "images_part_2"), False),
        (("Train", "Val", "cat"), False),
        (("bus", "car", "train", "tram"), True),
        (("c0", "c1", "c2"), True),
        (("0", "1", "2"), True),
        (("cat", "dog"), True),
    ],
)
def test_folders_of_splits_and_parts_are_no_classes(folders, are_classes, tmp_path):
    touch(tmp_path, [f"all/{folder}/{name}.jpg" for number, folder in enumerate(folders) for name in hexes(9, number)])
    try:
        rows = next(fact.value for fact in propose(tmp_path, "any").facts if fact.key == "rows")
    except KitsolveError:
        rows = {}
    assert ("glob" in rows) == are_classes
