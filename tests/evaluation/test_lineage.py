"""A run that learns from another is validated on rows that the other's fold has never seen, or is refused."""

import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.data.fetch import read_train_table
from kitsolve.data.splits import rewrite_folds
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.lineage import Source, check_lineage, find_leak, find_sources
from kitsolve.evaluation.runs import ALL, Wanted, find_run, folds_of, open_run, record_run
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.training.pseudo import make_pseudo
from kitsolve.workspace import Workspace, read_json, write_json

MACHINE = choose_machine("cpu", 0)
ROWS = [f"r{row}" for row in range(12)]
SPLITS = st.dictionaries(st.sampled_from(ROWS), st.integers(0, 3), min_size=1)


def series(split):
    return pd.Series(split, dtype=int)


@given(SPLITS, SPLITS, st.sets(st.integers(-1, 3)))
def test_a_leak_is_a_row_validated_in_a_fold_whose_source_was_trained_on_it(now, source, wanted):
    trained_on = {fold: {row for row, own in source.items() if own != fold} for fold in range(4)}
    leaking = [
        (fold, seen)
        for fold in sorted(wanted - {ALL})
        if (seen := [row for row, own in now.items() if own == fold and row in trained_on[fold]])
    ]
    leak = find_leak(series(now), Source("init_from = 'x'", "x", series(source)), wanted)
    assert (leak is not None) == bool(leaking)
    if leak is not None:
        fold, seen = leaking[0]
        assert (leak.fold, leak.rows, leak.image_id) == (fold, len(seen), seen[0])
        assert leak.source_fold == source[seen[0]]


@given(SPLITS, SPLITS)
def test_rows_that_nobody_knows_of_count_as_seen(now, source):
    part = Source("init_from = 'x'", "x", series(source), whole=False)
    leak = find_leak(series(now), part, set(now.values()))
    assert (leak is None) == all(source.get(row) == fold for row, fold in now.items())


@pytest.fixture
def workspace(trained, tmp_path):
    """A copy of the workspace with the finished run `first`."""
    shutil.copytree(trained.root, tmp_path / "root")
    return Workspace(tmp_path / "root")


def start(workspace, name, *overrides):
    return open_run(workspace, Wanted("shades", overrides=overrides, run_name=name))


def check(workspace, run, folds=(0, 1)):
    train = read_train_table(workspace, "shades")
    check_lineage(workspace, run, pd.Series(train.fold.to_numpy(), index=train.image_id), folds, quiet=False)


def test_a_run_on_the_same_folds_may_start_from_another(workspace, capsys):
    check(workspace, start(workspace, "second", "init_from=first"))
    assert capsys.readouterr().err == ""


def test_a_start_from_a_run_of_other_folds_is_refused_before_the_training(workspace):
    rewrite_folds(workspace, "shades", {"seed": 7})
    run = start(workspace, "second", "init_from=first")
    problem = r"init_from = 'first': fold 0 of run first was trained on \d+ of the 18 rows .* first: id '0\d+', which"
    with pytest.raises(KitsolveError, match=problem) as caught:
        train_folds(workspace, run, [], MACHINE)
    assert "kitsolve train shades" in caught.value.hint
    assert not run.folder.exists()
    check(workspace, run, [ALL])


def test_what_counts_is_the_folds_that_a_run_was_made_with(workspace):
    """They were other ones, and are now those of folds.csv again."""
    before = (workspace.tables("shades") / "folds.csv").read_bytes()
    rewrite_folds(workspace, "shades", {"seed": 7})
    record_run(workspace, start(workspace, "other"))
    (workspace.tables("shades") / "folds.csv").write_bytes(before)
    check(workspace, start(workspace, "second", "init_from=first"))
    with pytest.raises(KitsolveError, match="init_from = 'other': fold 0 of run other was trained on"):
        check(workspace, start(workspace, "second", "init_from=other"))


def test_more_rows_than_the_other_run_has_seen_are_no_leak(workspace, monkeypatch):
    monkeypatch.setattr("kitsolve.evaluation.lineage.folds_of", lambda run: folds_of(run).iloc[:-4])
    check(workspace, start(workspace, "second", "init_from=first"))


def test_a_chain_of_runs_is_followed_to_its_beginning(workspace):
    rewrite_folds(workspace, "shades", {"seed": 7})
    middle = start(workspace, "middle", "init_from=first")
    record_run(workspace, middle)
    with pytest.raises(KitsolveError, match="init_from = 'first' of run middle: fold 0 of run first was trained on"):
        check(workspace, start(workspace, "last", "init_from=middle"))
    shutil.rmtree(workspace.runs("shades") / "first")
    (gone,) = [
        one for one in find_sources(workspace, start(workspace, "last", "init_from=middle")) if isinstance(one, str)
    ]
    assert gone == "init_from = 'first' of run middle: that run is gone, so nobody can tell which rows it has seen."


def test_a_run_of_an_older_version_is_known_by_its_finished_folds(workspace):
    run = find_run(workspace, "shades")
    (run.folder / "folds.csv").unlink()
    check(workspace, start(workspace, "second", "init_from=first"))
    (run.folder / "score.json").unlink()
    shutil.rmtree(run.fold(1))
    check(workspace, start(workspace, "second", "init_from=first"), [0])
    with pytest.raises(KitsolveError, match=r"trained on 18 of the 18 rows that fold 1 validates"):
        check(workspace, start(workspace, "second", "init_from=first"), [1])


def test_pseudo_labels_know_the_folds_of_their_teacher(workspace):
    """The teacher is trained anew on other folds, and then the folds change to those."""
    make_pseudo(workspace, find_run(workspace, "shades", "first"), MACHINE)
    rewrite_folds(workspace, "shades", {"seed": 7})
    shutil.rmtree(workspace.runs("shades") / "first")
    record_run(workspace, start(workspace, "first"))
    run = start(workspace, "pupil", "pseudo=first")
    with pytest.raises(KitsolveError, match="pseudo = 'first': fold 0 of run first was trained on"):
        check(workspace, run)
    assert [one for one in find_sources(workspace, run) if isinstance(one, str)] == [
        "pseudo = 'first': its labels are of an earlier run of that name; `kitsolve pseudo` makes new ones."
    ]


def test_pseudo_labels_of_an_older_version_are_judged_by_their_teacher(workspace):
    make_pseudo(workspace, find_run(workspace, "shades", "first"), MACHINE)
    folder = workspace.pseudo("shades", "first")
    (folder / "folds.csv").unlink()
    made = read_json(folder / "pseudo.json")
    del made["teacher_started"]
    write_json(folder / "pseudo.json", made)
    check(workspace, start(workspace, "pupil", "pseudo=first"))
    rewrite_folds(workspace, "shades", {"seed": 7})
    with pytest.raises(KitsolveError, match="pseudo = 'first': fold 0 of run first was trained on"):
        check(workspace, start(workspace, "pupil", "pseudo=first"))


def test_numbers_of_rows_are_those_of_a_count_by_hand(workspace):
    before = read_train_table(workspace, "shades").fold.to_numpy()
    rewrite_folds(workspace, "shades", {"seed": 7})
    after = read_train_table(workspace, "shades").fold.to_numpy()
    count = int(np.sum((after == 0) & (before != 0)))
    with pytest.raises(KitsolveError, match=rf"trained on {count} of the 18 rows"):
        check(workspace, start(workspace, "second", "init_from=first"))
