import shutil
from dataclasses import replace

import pytest

from kitsolve.data.fetch import fetch
from kitsolve.data.splits import rewrite_folds
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.blend import find_blend
from kitsolve.evaluation.run_tables import check_tables
from kitsolve.evaluation.runs import find_run
from kitsolve.evaluation.score import score_run
from kitsolve.submission.bundle import export_bundle
from kitsolve.workspace import Workspace, read_json, write_json


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def change_folds(workspace):
    rewrite_folds(workspace, "shades", {"seed": 7})


def change_labels(workspace):
    table = workspace.raw("shades") / "train.csv"
    content = table.read_text()
    table.unlink()
    table.write_text(content.replace("0001,dark", "0001,grey"))
    fetch(workspace, "shades")


@pytest.mark.parametrize(
    ("change", "says"), [(change_folds, "rows lie in another fold"), (change_labels, "train.csv is")]
)
def test_whatever_uses_a_run_says_that_the_tables_are_others(copy, change, says):
    run = find_run(copy, "shades")
    change(copy)
    for use in (
        lambda: score_run(copy, run),
        lambda: export_bundle(copy, "shades", ["first"]),
        lambda: find_blend(copy, [run, replace(run, folder=run.folder.with_name("second"))]),
    ):
        with pytest.raises(KitsolveError, match=says) as caught:
            use()
        assert "--run first --force" in caught.value.hint


def test_the_same_folds_written_in_another_way_are_no_change(copy):
    path = copy.tables("shades") / "folds.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\r\n".join([header, *reversed(rows)]) + "\r\n")
    check_tables(copy, find_run(copy, "shades"))


def test_a_run_of_an_older_version_knows_its_tables_by_one_digest(copy):
    marker = copy.runs("shades") / "first" / "run.json"
    write_json(marker, {name: value for name, value in read_json(marker).items() if name != "made_from"})
    check_tables(copy, find_run(copy, "shades"))
    change_folds(copy)
    with pytest.raises(KitsolveError, match=r"train\.csv or folds\.csv is another one"):
        check_tables(copy, find_run(copy, "shades"))
