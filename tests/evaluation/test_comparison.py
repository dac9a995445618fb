"""CVs are ranked only among runs of the same rows, labels and folds, by the same metric."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.config import read_competition
from kitsolve.data.splits import rewrite_folds
from kitsolve.evaluation.comparison import find_difference, group_runs
from kitsolve.evaluation.runs import Run, Wanted, find_run, open_run, record_run
from kitsolve.recipe import read_recipe
from kitsolve.workspace import Workspace, write_json

SPLITS = st.lists(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2), min_size=1), min_size=1, max_size=6)


def write_split(folder, split, *, backwards=False):
    """A folds.csv of these rows."""
    folder.mkdir(parents=True)
    rows = sorted(split.items(), reverse=backwards)
    pd.DataFrame(rows, columns=["image_id", "fold"]).to_csv(folder / "folds.csv", index=False)


@given(SPLITS, st.booleans())
def test_runs_have_the_same_letter_where_every_row_is_in_the_same_fold(tmp_path_factory, splits, backwards):
    root = tmp_path_factory.mktemp("runs")
    digits = read_competition(Workspace(root), "digits")
    recipe = read_recipe(Workspace(root), "digits", "quick")
    runs = []
    for number, split in enumerate(splits):
        write_split(root / f"run{number}", split, backwards=backwards and number % 2 == 1)
        runs.append(Run(root / f"run{number}", digits, recipe, "", "quick", str(number)))
    letters, sentences = group_runs(runs)
    assert [letters[0], len(sentences)] == ["A", len(set(letters)) - 1]
    for one, own in zip(splits, letters, strict=True):
        for other, theirs in zip(splits, letters, strict=True):
            assert (own == theirs) == (one == other)


def test_the_first_row_that_lies_elsewhere_is_named(tmp_path, trained):
    run = find_run(trained, "shades")
    table = pd.read_csv(run.folder / "folds.csv", dtype=str)
    other = replace(run, folder=tmp_path, made_from=None)
    moved = table.assign(fold=["1" if fold == "0" else "0" for fold in table.fold])
    moved.to_csv(tmp_path / "folds.csv", index=False)
    assert find_difference(run, other) == "36 of 36 rows lie in another fold, first id '0000'"
    table.iloc[:-2].to_csv(tmp_path / "folds.csv", index=False)
    assert find_difference(run, other) == "2 rows are in one of both alone, first id '0034'"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "f1_macro"}, "its metric is f1_macro, not accuracy"),
        ({"task": "retrieval"}, "its task is retrieval, not multiclass"),
        ({"train": {"target": "other"}}, "its train.target is 'other', not 'shade'"),
    ],
)
def test_another_metric_or_label_does_not_compare(trained, changes, reason):
    run = find_run(trained, "shades")
    if "train" in changes:
        changes = {"train": run.competition.train.model_copy(update=changes["train"])}
    other = replace(run, competition=run.competition.model_copy(update=changes))
    assert find_difference(run, other) == reason
    assert find_difference(run, run) is None


def test_labels_that_were_changed_between_two_runs_do_not_compare(fetched):
    first = open_run(fetched, Wanted("shades", run_name="first"))
    record_run(fetched, first)
    train = fetched.tables("shades") / "train.csv"
    train.write_text(train.read_text().replace(",dark", ",grey", 1))
    second = replace(first, folder=fetched.runs("shades") / "second", tables_sha256="another", made_from=None)
    record_run(fetched, second)
    assert find_difference(first, second) == "train.csv was another one: other labels or columns"


def test_the_list_of_runs_marks_which_compare(fetched):
    from typer.testing import CliRunner

    from kitsolve.cli import app

    for name, seed in (("one", 42), ("two", 42), ("three", 7)):
        rewrite_folds(fetched, "shades", {"seed": seed})
        run = open_run(fetched, Wanted("shades", run_name=name))
        record_run(fetched, run)
        write_json(run.folder / "score.json", {"pooled": 0.5, "mean": 0.5, "std": 0.0})
    result = CliRunner().invoke(app, ["--root", str(fetched.root), "runs", "shades"])
    lines = {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines()}
    assert lines == {"run": "compares", "three": "A", "two": "B", "one": "B"}
    assert "note: the CV of two and other runs marked B does not compare with that of three (A): " in result.stderr
    assert " of 36 rows lie in another fold, first id '00" in result.stderr
