import pytest

from kitsolve.config import Competition, read_competition
from kitsolve.data.table import make_test_table, make_train_table
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


def test_a_group_whose_name_the_table_itself_uses_is_refused(raw, competition):
    (raw / "train.csv").write_text("image_id,study,shade\n1,x,dark\n1,y,grey\n")
    with pytest.raises(KitsolveError, match="'image_id' has a name that train.csv itself uses"):
        make_train_table(raw, change(competition, train_id="study", train_group="image_id"))


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
