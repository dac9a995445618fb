import shutil
from dataclasses import replace

import pytest

from kitsolve.config import Train
from kitsolve.data.fetch import fetch
from kitsolve.data.splits import rewrite_folds
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.blend import find_blend
from kitsolve.evaluation.run_tables import LABEL_FACTS, check_tables
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


def uses_of(workspace, run):
    """What compares a run with tables and facts before anything else."""
    return (
        lambda: score_run(workspace, run),
        lambda: export_bundle(workspace, "shades", ["first"]),
        lambda: find_blend(workspace, [run, replace(run, folder=run.folder.with_name("second"))]),
    )


@pytest.mark.parametrize(
    ("change", "says"), [(change_folds, "rows lie in another fold"), (change_labels, "train.csv is")]
)
def test_whatever_uses_a_run_says_that_the_tables_are_others(copy, change, says):
    run = find_run(copy, "shades")
    change(copy)
    for use in uses_of(copy, run):
        with pytest.raises(KitsolveError, match=says) as caught:
            use()
        assert "--run first --force" in caught.value.hint


def change_facts(workspace, before, after):
    path = workspace.competition("shades") / "competition.toml"
    text = path.read_text()
    assert before in text
    path.unlink()  # it may be a link
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('target = "shade"', 'target = "tint"', "train.target was 'shade' and is 'tint' now"),
        ('target = "shade"', 'target = "shade"\nmissing = "drop"', "train.missing was not set and is 'drop' now"),
        ('target = "shade"', 'target = "shade"\nfeatures = ["age"]', r"train.features was \[\] and is \['age'\] now"),
        ('"multiclass"', '"binary"', "task was 'multiclass' and is 'binary' now"),
    ],
)
def test_whatever_uses_a_run_says_that_its_outputs_meant_something_else(copy, before, after, says):
    run = find_run(copy, "shades")
    change_facts(copy, before, after)
    for use in uses_of(copy, run):
        with pytest.raises(KitsolveError, match=says) as caught:
            use()
        assert "competition.toml" in caught.value.hint
        assert "--run first --force" in caught.value.hint


def test_every_fact_of_the_labels_is_compared():
    others = {"rows", "id", "image", "group"}  # the first three are in train.csv, the last in folds.csv, by content
    assert set(Train.model_fields) == set(LABEL_FACTS) | others


def test_another_metric_is_told_with_the_score(copy):
    run = find_run(copy, "shades")
    before = score_run(copy, run)
    change_facts(copy, '"accuracy"', '"f1_macro"')
    after = score_run(copy, run)
    assert (after.metric, after.pooled) == ("accuracy", before.pooled)
    (notice,) = [text for text in after.notices if "f1_macro" in text]
    assert notice.startswith("the facts name f1_macro now: run first chose its epochs by accuracy")


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
