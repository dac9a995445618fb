import shutil

import pytest

from kitsolve.data.fetch import fetch, read_train_table
from kitsolve.data.splits import rewrite_folds
from kitsolve.errors import KitsolveError
from kitsolve.workspace import read_json


def change_fact(workspace, before='"accuracy"', after='"f1_macro"'):
    facts = workspace.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace(before, after))


def read_folds_csv(workspace):
    return (workspace.tables("shades") / "folds.csv").read_text()


def take_other_rows(workspace):
    """The source has two rows fewer than before."""
    table = workspace.root / "download" / "train.csv"
    lines = table.read_text().splitlines()
    table.unlink()
    table.write_text("\n".join(lines[:-2]) + "\n")
    return fetch(workspace, "shades", source=workspace.root / "download", force=True)


def test_own_choices_stay_where_another_fact_changes(fetched):
    rewrite_folds(fetched, "shades", {"seed": 7, "count": 4})
    own = read_folds_csv(fetched)
    change_fact(fetched)
    notices = fetch(fetched, "shades").notices
    assert read_folds_csv(fetched) == own
    assert any("`kitsolve folds shades --seed 7 --count 4`" in notice for notice in notices)
    assert fetch(fetched, "shades").folds == 4


def test_own_choices_are_applied_to_other_rows(fetched):
    rewrite_folds(fetched, "shades", {"count": 3})
    take_other_rows(fetched)
    assert sorted(read_train_table(fetched, "shades").fold.value_counts()) == [11, 11, 12]


def test_folds_without_options_follow_the_facts_again(fetched):
    before = read_folds_csv(fetched)
    rewrite_folds(fetched, "shades", {"seed": 7})
    rewrite_folds(fetched, "shades", {})
    change_fact(fetched)
    assert fetch(fetched, "shades").notices == []
    assert read_folds_csv(fetched) == before


def swap_folds(workspace):
    path = workspace.tables("shades") / "folds.csv"
    path.write_text(path.read_text().replace(",0\n", ",X\n").replace(",1\n", ",0\n").replace(",X\n", ",1\n"))
    return path.read_text()


def test_folds_that_were_edited_by_hand_are_used_and_said_and_kept(fetched):
    own = swap_folds(fetched)
    assert any("used as your own" in notice for notice in fetch(fetched, "shades").notices)
    change_fact(fetched)
    assert any("used as your own" in notice for notice in fetch(fetched, "shades").notices)
    assert dict(line.split(",") for line in own.split()) == dict(
        line.split(",") for line in read_folds_csv(fetched).split()
    )
    assert any("used as your own" in notice for notice in fetch(fetched, "shades").notices)


def test_folds_that_were_edited_by_hand_and_do_not_fit_other_rows_are_refused_not_lost(fetched):
    own = swap_folds(fetched)
    with pytest.raises(KitsolveError, match="your own folds do not fit: .* 2 ids are not in train.csv") as caught:
        take_other_rows(fetched)
    assert read_folds_csv(fetched) == own
    (fetched.tables("shades") / "folds.csv").unlink()
    assert "remove" in caught.value.hint
    assert fetch(fetched, "shades").train_rows == 34


def test_folds_of_an_older_version_are_kept_where_the_facts_of_the_folds_are_the_same(fetched):
    rewrite_folds(fetched, "shades", {"seed": 7})
    own = read_folds_csv(fetched)
    (fetched.tables("shades") / "folds.json").unlink()
    change_fact(fetched)
    assert any("used as your own" in notice for notice in fetch(fetched, "shades").notices)
    assert read_folds_csv(fetched) == own
    change_fact(fetched, "count  = 2", "count  = 3")
    (fetched.tables("shades") / "folds.json").unlink(missing_ok=True)
    assert fetch(fetched, "shades").folds == 3


def test_a_workspace_that_was_copied_knows_its_folds(fetched, tmp_path):
    rewrite_folds(fetched, "shades", {"seed": 7})
    copy = type(fetched)(tmp_path / "copy")
    shutil.copytree(fetched.root, copy.root, ignore=shutil.ignore_patterns("copy"), copy_function=shutil.copyfile)
    assert not any("used as your own" in notice for notice in fetch(copy, "shades").notices)
    assert read_json(copy.tables("shades") / "folds.json")["records"][0]["changes"] == {"seed": 7}
