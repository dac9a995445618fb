import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.config import read_competition
from kitsolve.data.fetch import fetch, read_train_table
from kitsolve.data.stored import list_fact_changes, read_folds, require_fresh_tables
from kitsolve.errors import KitsolveError
from kitsolve.workspace import Workspace, read_json, write_json

IDS = pd.Series([f"{number:02d}" for number in range(6)])
CELLS = st.sampled_from(["0", "1", "2", "7", "-1", "x", "", "1.0", "nan", "٣"])
ROWS = st.lists(st.tuples(st.sampled_from([*IDS, "other", ""]), CELLS), max_size=8)


def read(folder, text):
    workspace = Workspace(folder)
    workspace.tables("toy").mkdir(parents=True, exist_ok=True)
    (workspace.tables("toy") / "folds.csv").write_text(text)
    return read_folds(workspace, "toy", IDS)


@given(
    ROWS | st.permutations(list(IDS)).flatmap(lambda ids: st.tuples(*(st.tuples(st.just(name), CELLS) for name in ids)))
)
def test_folds_are_read_where_each_row_has_one_of_them_and_are_refused_by_name_otherwise(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("folds")
    fits = sorted(name for name, _ in rows) == list(IDS) and {fold for _, fold in rows} in ({"0", "1"}, {"0", "1", "2"})
    text = "\n".join(["image_id,fold", *(f"{name},{fold}" for name, fold in rows)])
    if fits:
        assert dict(read(folder, text).itertuples(index=False)) == {name: int(fold) for name, fold in rows}
    else:
        with pytest.raises(KitsolveError, match=r"folds\.csv"):
            read(folder, text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("0003,0", "0003,x").replace("0003,1", "0003,x"), "first: id '0003' has 'x'"),
        (lambda text: text.replace("0003,0", "0003,-1").replace("0003,1", "0003,-1"), "first: id '0003' has '-1'"),
        (lambda text: text.replace("0003,0", "0003,7").replace("0003,1", "0003,7"), "a fold 7, but no fold 2"),
        (lambda text: "\n".join(text.splitlines()[:-1]), "1 ids of train.csv are missing, first: '0035'"),
        (lambda text: text + text.splitlines()[1] + "\n", "1 ids stand twice"),
        (lambda text: text.replace(",1\n", ",0\n"), "all rows are in one fold"),
        (lambda text: text.replace("fold", "part"), "the columns are 'image_id', 'part'"),
        (lambda text: "", "is damaged"),
    ],
)
def test_damaged_folds_are_never_used(fetched, change, says):
    path = fetched.tables("shades") / "folds.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(KitsolveError, match=says) as caught:
        read_train_table(fetched, "shades")
    assert "kitsolve folds shades" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("train/0003.png", "../../etc/passwd"),
        lambda text: text.replace("0003,train/0003.png,bright", "0003,train/0003.png,dark"),
        lambda text: "\n".join(text.splitlines()[:-1]),
        lambda text: text.replace("path", "file"),
        lambda text: text[:100],
        lambda text: "",
    ],
)
def test_an_edited_train_table_is_refused_and_fetch_makes_it_anew(fetched, change):
    path = fetched.tables("shades") / "train.csv"
    before = path.read_text()
    path.write_text(change(before))
    with pytest.raises(KitsolveError, match=r"train\.csv was changed after `kitsolve fetch` wrote it") as caught:
        read_train_table(fetched, "shades")
    assert "run `kitsolve fetch shades`" in caught.value.hint
    assert any("train.csv was edited or damaged" in notice for notice in fetch(fetched, "shades").notices)
    assert path.read_text() == before


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "train/../../x.png"])
def test_a_table_of_an_older_version_names_no_file_outside_of_the_raw_folder(fetched, path):
    marker = fetched.tables("shades") / "tables.json"
    write_json(marker, {name: value for name, value in read_json(marker).items() if name != "files"})
    table = fetched.tables("shades") / "train.csv"
    table.write_text(table.read_text().replace("train/0003.png", path))
    with pytest.raises(KitsolveError, match="outside of the raw files"):
        read_train_table(fetched, "shades")


@pytest.mark.parametrize("text", ["{ not", "", "[]", "{}", "null", '{"facts": 3, "fetched": []}'])
def test_a_damaged_marker_is_made_anew_by_fetch_and_named_by_all_others(fetched, text):
    (fetched.tables("shades") / "tables.json").write_text(text)
    with pytest.raises(KitsolveError, match=r"tables\.json") as caught:
        read_train_table(fetched, "shades")
    assert "kitsolve fetch shades" in caught.value.hint
    assert fetch(fetched, "shades").train_rows == 36
    assert len(read_train_table(fetched, "shades")) == 36


def test_a_fact_or_a_raw_table_that_has_changed_since_is_named(fetched):
    require_fresh_tables(fetched, read_competition(fetched, "shades"))
    table = fetched.raw("shades") / "train.csv"
    content = table.read_text()
    table.unlink()  # it is one file with the source
    table.write_text(content.replace("0001,dark", "0001,grey"))
    with pytest.raises(KitsolveError, match=r"other facts or files: train\.csv"):
        require_fresh_tables(fetched, read_competition(fetched, "shades"))
    fetch(fetched, "shades")
    assert read_train_table(fetched, "shades").set_index("image_id").shade["0001"] == "grey"
    facts = fetched.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace("count  = 2", "count  = 3"))
    with pytest.raises(KitsolveError, match=r"folds\.count: 2, not 3"):
        require_fresh_tables(fetched, read_competition(fetched, "shades"))


def test_a_fact_that_is_younger_than_the_record_is_no_change():
    assert list_fact_changes({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}) == []
    assert list_fact_changes({"b": {"c": 2}}, {"b": {"c": 5}}) == ["b.c: 2, not 5"]
