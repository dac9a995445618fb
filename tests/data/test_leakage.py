import numpy as np
import pandas as pd
import pytest
from conftest import write_shades

from kitsolve.config import read_competition
from kitsolve.data.fetch import fetch
from kitsolve.data.leakage import FILE, count_split_rows, describe_near_duplicates, describe_split_groups, read_findings
from kitsolve.data.splits import rewrite_folds
from kitsolve.workspace import Workspace

TRAIN = 72


def set_facts(root, *, train="", folds=""):
    """Further lines of [train] and [folds] in the competition's file."""
    path = root / "competitions" / "shades" / "competition.toml"
    text = path.read_text()
    text = text.replace("[train]\n", f"[train]\n{train}\n")
    path.write_text(
        text.replace("[folds]\n", f"[folds]\n{folds}\n") if "[folds]" in text else f"{text}\n[folds]\n{folds}\n"
    )


@pytest.fixture
def hives(tmp_path):
    """Shades with a column of a name that says nothing: 24 hives of three rows, all of one shade."""
    raw = write_shades(tmp_path, train=TRAIN)
    train = pd.read_csv(raw / "train.csv", dtype=str)
    train["q"] = [f"h{row % 3 + 3 * (row // 9)}" for row in range(TRAIN)]
    train.to_csv(raw / "train.csv", index=False)
    return Workspace(tmp_path)


def fetch_hives(workspace):
    return fetch(workspace, "shades", source=workspace.root / "download")


def test_fetch_says_which_column_has_rows_of_one_group_in_different_folds(hives):
    (notice,) = fetch_hives(hives).notices
    assert notice.startswith("rows of equal q lie in different folds, 60 of 72: the CV will be too high")
    assert "24 different in 72 rows; rows of one share the label in 100% of pairs, by chance in 32%" in notice
    assert 'Set train.group = "q", or folds.ignore = ["q"] if that is meant.' in notice


@pytest.mark.parametrize(
    ("column", "in_test", "told"), [("q", False, True), ("q", True, False), ("patient_id", True, True)]
)
def test_a_group_of_words_is_told_unless_the_test_rows_share_them(hives, column, in_test, told):
    raw = hives.root / "download"
    train, sample = (pd.read_csv(raw / name, dtype=str) for name in ("train.csv", "sample_submission.csv"))
    words = train["q"].map(lambda cell: "".join(chr(97 + int(digit)) for digit in cell[1:]))
    train.drop(columns="q").assign(**{column: words}).to_csv(raw / "train.csv", index=False)
    if in_test:
        sample[["image_id"]].assign(**{column: words[: len(sample)]}).to_csv(raw / "test.csv", index=False)
        path = hives.root / "competitions" / "shades" / "competition.toml"
        path.write_text(path.read_text().replace("[test]\n", '[test]\nrows = { csv = "test.csv" }\n'))
    assert any(f"rows of equal {column} lie in" in notice for notice in fetch_hives(hives).notices) is told


def test_fetch_says_it_again_each_time_and_folds_too(hives):
    first = fetch_hives(hives).notices
    assert fetch_hives(hives).notices == first
    assert rewrite_folds(hives, "shades", {}).notices == first


@pytest.mark.parametrize("facts", [{"train": 'group = "q"'}, {"folds": 'ignore = ["q"]'}], ids=["group", "ignore"])
def test_nothing_is_said_where_the_facts_name_the_group_or_that_it_is_known(facts, hives):
    set_facts(hives.root, **facts)
    assert fetch_hives(hives).notices == []


def test_nothing_is_said_once_the_facts_have_changed(hives):
    fetch_hives(hives)
    set_facts(hives.root, folds='ignore = ["q"]')
    assert fetch_hives(hives).notices == []


def test_nothing_is_said_of_folds_that_keep_the_rows_together(hives):
    fetch_hives(hives)
    assert rewrite_folds(hives, "shades", {}, group="q").notices == []


def test_a_part_of_the_id_keeps_rows_together(hives):
    set_facts(hives.root, train="group = { column = \"image_id\", pattern = '^(...)' }")
    fetch_hives(hives)
    folds = pd.read_csv(hives.tables("shades") / "folds.csv", dtype=str)
    assert (folds.groupby(folds.image_id.str[:3]).fold.nunique() == 1).all()


def test_tables_of_an_older_version_have_no_findings(hives):
    fetch_hives(hives)
    tables = hives.tables("shades")
    (tables / FILE).unlink()
    assert read_findings(tables)[0] == []
    folds = pd.read_csv(tables / "folds.csv", dtype=str).set_index("image_id").fold
    assert describe_split_groups(tables, folds, read_competition(hives, "shades")) == []


def test_near_copies_in_different_folds_are_counted_and_kept_together(tmp_path):
    raw = write_shades(tmp_path, train=TRAIN)
    for row in range(0, TRAIN, 3):
        (raw / "train" / f"{row + 1:04d}.png").write_bytes((raw / "train" / f"{row:04d}.png").read_bytes())
    workspace = Workspace(tmp_path)
    copies, notice = fetch(workspace, "shades", source=raw).notices
    assert "another label" in copies or "different labels" in copies
    assert notice.startswith("images that look the same lie in different folds")
    assert "48 of the train images are near-duplicates" in notice
    set_facts(tmp_path, folds='duplicates = "group"')
    assert fetch(workspace, "shades", source=raw).notices == [copies]


def test_a_few_near_copies_are_not_worth_a_word():
    assert describe_near_duplicates(np.r_[[0, 0], np.arange(1, 999)]) is None
    assert describe_near_duplicates(np.r_[np.arange(20), np.arange(20), np.arange(20, 90)]).reason.startswith("40 of")


def test_torn_are_the_rows_whose_group_has_several_folds():
    assert count_split_rows(np.array([0, 0, 1, 1, 1, 2, -1, -1]), np.array([0, 1, 0, 0, 0, 1, 0, 1])) == 2
