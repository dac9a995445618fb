import pytest

from kitsolve.config import Competition, check_facts, read_competition
from kitsolve.data.features import fit_features
from kitsolve.data.splits import find_groups, split_rows
from kitsolve.data.table import make_test_table, make_train_table
from kitsolve.data.targets import encode_targets
from kitsolve.errors import KitsolveError


@pytest.fixture
def raw(shades):
    return shades.root / "download"


@pytest.fixture
def competition(shades):
    return read_competition(shades, "shades")


def change(competition, **facts):
    """The competition with other facts; `train_x` changes train.x."""
    values = competition.model_dump()
    for name, value in facts.items():
        table, _, key = name.partition("_")
        if key:
            values[table][key] = value
        else:
            values[name] = value
    return Competition.model_validate(values)


def test_ids_stay_strings_and_further_columns_stay(raw, competition):
    (raw / "train.csv").write_text("image_id,shade,site\n0007,dark,A\n1e5,grey,\n")
    table = make_train_table(raw, competition)
    assert table.to_dict("records") == [
        {"image_id": "0007", "path": "train/0007.png", "shade": "dark", "site": "A"},
        {"image_id": "1e5", "path": "train/1e5.png", "shade": "grey", "site": ""},
    ]


def test_the_id_column_is_called_image_id_whatever_its_name_was(raw, competition):
    (raw / "train.csv").write_text("name,shade\nx,dark\n")
    facts = change(competition, train_id="name", train_image="{shade}/{name}.jpg")
    assert make_train_table(raw, facts).to_dict("records") == [
        {"image_id": "x", "path": "dark/x.jpg", "shade": "dark"},
    ]


def test_the_test_rows_are_the_ids_of_the_sample_in_its_order(raw, competition):
    (raw / "sample_submission.csv").write_text("image_id,shade\nb,dark\na,dark\n")
    assert make_test_table(raw, competition).path.tolist() == ["test/b.png", "test/a.png"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image_id,shade\na,dark\nb,\n", r"1 of 2 train rows have no shade, first: id 'b'"),
        ("image_id,shade\na,dark\na,grey\n", r"1 ids more than once, first: 'a'"),
        ("image_id,shadow\na,dark\n", r"no column 'shade'"),
        ("id,shade\na,dark\n", r"no column 'image_id'"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_named(raw, competition, text, problem):
    (raw / "train.csv").write_text(text)
    with pytest.raises(KitsolveError, match=problem):
        make_train_table(raw, competition)


def test_columns_that_have_a_name_of_ours_are_kept_under_another_one(raw, competition):
    (raw / "train.csv").write_text("image_id,study,shade,fold,path\n1,x,dark,0,a\n1,y,grey,1,b\n")
    facts = change(competition, train_id="study", train_group="image_id")
    table = make_train_table(raw, facts)
    assert list(table) == ["image_id", "path", "given_image_id", "shade", "given_fold", "given_path"]
    assert len(set(find_groups(table, facts).tolist())) == 1


@pytest.mark.parametrize("name", ["fold", "path", "image_id"])
def test_a_target_that_has_a_name_of_ours_is_refused_with_a_way_out(raw, competition, name):
    (raw / "train.csv").write_text(f"study,{name}\nx,dark\ny,grey\n")
    with pytest.raises(KitsolveError, match=f"'{name}' has a name that train.csv itself uses") as caught:
        make_train_table(raw, change(competition, train_id="study", train_target=name))
    assert f"{name}_of_host" in caught.value.hint


def test_folds_of_the_host_are_offered_and_can_be_used(raw, competition):
    rows = "".join(f"{n:04d},{'dark' if n % 2 else 'grey'},{n % 3}\n" for n in range(12))
    (raw / "train.csv").write_text(f"image_id,shade,fold\n{rows}")
    notices = []
    make_train_table(raw, competition, note=notices.append)
    assert len(notices) == 1
    assert 'group = "fold" into [train], scheme = "group" and count = 3' in notices[0]
    facts = change(competition, train_group="fold", folds_scheme="group", folds_count=3)
    table = make_train_table(raw, facts, note=notices.append)
    folds, _ = split_rows(table, encode_targets(table, facts, raw), facts)
    assert len(notices) == 1
    assert len(set(zip(folds.tolist(), table.given_fold, strict=True))) == 3


def test_a_label_that_reads_as_a_missing_value_is_asked_about(raw, competition):
    (raw / "train.csv").write_text("image_id,shade\na,dark\nb,NA\nc,grey\n")
    with pytest.raises(KitsolveError, match=r"1 of 3 train rows have a shade .* first: id 'b' with 'NA'") as caught:
        make_train_table(raw, competition)
    assert 'missing = "class"' in caught.value.hint
    kept = make_train_table(raw, change(competition, train_missing="class"))
    assert kept.shade.tolist() == ["dark", "NA", "grey"]
    notices = []
    (raw / "train.csv").write_text("image_id,shade\na,dark\nb,NA\nc,grey\nd,\n")
    left = make_train_table(raw, change(competition, train_missing="drop"), note=notices.append)
    assert left.image_id.tolist() == ["a", "c"]
    assert "2 of 4 train rows have no label and are left out" in notices[0]


@pytest.mark.parametrize("label", ["None", "unknown", "-"])
def test_a_sample_that_shows_the_label_among_others_answers_the_question(raw, competition, label):
    (raw / "train.csv").write_text(f"image_id,shade\na,dark\nb,{label}\n")
    (raw / "sample_submission.csv").write_text(f"image_id,shade\nt,dark\nu,{label}\n")
    assert make_train_table(raw, competition).shade.tolist() == ["dark", label]
    (raw / "sample_submission.csv").write_text(f"image_id,shade\nt,{label}\nu,{label}\n")
    with pytest.raises(KitsolveError, match="reads as a missing value"):
        make_train_table(raw, competition)


def test_equal_labels_are_one_class_and_that_is_said(raw, competition):
    (raw / "train.csv").write_text('image_id,shade\na,1\nb,1.0\nc,"2 "\nd,02\ne,3.0\n')
    notices = []
    assert make_train_table(raw, competition, note=notices.append).shade.tolist() == ["1", "1", "2", "2", "3"]
    assert notices == ["shade: 2 numbers are written in several ways, first '1', '1.0': one class, '1'."]


def test_marks_of_a_missing_value_are_empty_in_features_and_no_group(raw, competition):
    (raw / "train.csv").write_text("image_id,shade,age,who\na,dark,1,NA\nb,grey,?,NA\nc,dark,3,x\nd,dark,,x\n")
    notices, facts = [], change(competition, train_features=["age"], train_group="who")
    table = make_train_table(raw, facts, note=notices.append)
    assert table.age.tolist() == ["1", "", "3", ""]
    assert fit_features(table, ["age"])[0].categories == ()
    assert len(set(find_groups(table, facts).tolist())) == 3
    assert notices == [
        "age: 1 of 4 train rows have '?', which counts as an empty cell.",
        "who: 2 of 4 train rows have 'NA': each is a group of its own.",
    ]


def test_labels_in_one_cell_are_united_and_asked_about_like_others(raw, competition):
    (raw / "train.csv").write_text("image_id,shade\na,1 02\nb,1.0\nc,\nd,2 2.0\n")
    label_list = {"column": "shade", "separator": " "}
    changes = {"task": "multilabel", "metric": "f1_micro", "submission_kind": "label_list", "train_target": label_list}
    facts, notices = change(competition, **changes), []
    assert make_train_table(raw, facts, note=notices.append).shade.tolist() == ["1 2", "1", "", "2"]
    assert len(notices) == 1
    (raw / "train.csv").write_text("image_id,shade\na,x y\nb,None\nc,\n")
    with pytest.raises(KitsolveError, match="1 of 3 train rows have a shade that reads as a missing value"):
        make_train_table(raw, facts)
    assert make_train_table(raw, change(facts, train_missing="drop")).shade.tolist() == ["x y", ""]


def test_rows_without_a_value_can_be_left_out_of_a_regression(raw, competition):
    (raw / "train.csv").write_text("image_id,shade\na,1\nb,NA\nc,\nd,2.5\n")
    facts = change(competition, task="regression", metric="rmse", submission_kind="value", train_missing="drop")
    assert make_train_table(raw, facts).shade.tolist() == ["1", "2.5"]
    with pytest.raises(KitsolveError, match="not for a regression"):
        check_facts(facts.model_dump() | {"train": facts.train.model_dump() | {"missing": "class"}})


def test_a_table_without_rows_is_refused(raw, competition):
    (raw / "train.csv").write_text("image_id,shade\n")
    with pytest.raises(KitsolveError, match=r"train.csv has no rows"):
        make_train_table(raw, competition)


def test_a_wrong_column_names_the_nearest_one(raw, competition):
    with pytest.raises(KitsolveError) as caught:
        make_train_table(raw, change(competition, train_target="shades"))
    assert "shade" in caught.value.hint


def test_a_missing_table_says_how_to_get_it(raw, competition):
    (raw / "train.csv").unlink()
    with pytest.raises(KitsolveError, match=r"train.csv is missing") as caught:
        make_train_table(raw, competition)
    assert "kitsolve fetch shades" in caught.value.hint


def test_an_image_template_with_an_unknown_column_is_an_error(raw, competition):
    with pytest.raises(KitsolveError, match="folder"):
        make_train_table(raw, change(competition, train_image="{folder}/{image_id}.png"))


def test_the_path_of_an_image_is_that_on_the_disk(raw, competition):
    (raw / "train" / "Ka\u0308fer 1.JPG").touch()  # decomposed, as macOS writes it
    (raw / "train" / "b.png").touch()
    (raw / "train.csv").write_text("image_id,shade\nKäfer 1,dark\nb,grey\nc,grey\n")
    table = make_train_table(raw, change(competition, train_image="train/{image_id}.*"))
    assert table.path.tolist() == ["train/Ka\u0308fer 1.JPG", "train/b.png", "train/c.*"]
    assert table.image_id.tolist() == ["Käfer 1", "b", "c"]
    (raw / "sample_submission.csv").write_text("image_id,shade\nt000,dark\n")
    assert make_test_table(raw, change(competition, test_image="test/{image_id}.*")).path.tolist() == ["test/t000.png"]
