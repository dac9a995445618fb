"""A fold is the run's that it was trained for, wherever the run's folder is; that of another run is refused."""

import shutil
from dataclasses import replace

import pytest
import torch

from kitsolve.data.fetch import read_train_table
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.fold_files import check_weights, read_fold
from kitsolve.evaluation.runs import ALL, Wanted, find_run, open_run, read_run, record_run
from kitsolve.evaluation.score import score_run
from kitsolve.reporting.report import write_report
from kitsolve.submission.bundle import export_bundle
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.training.pseudo import make_pseudo
from kitsolve.workspace import Workspace, read_json, write_json

MACHINE = choose_machine("cpu", 0)
FOREIGN = "first/fold_0 is a fold of another run, which was started at"


@pytest.fixture
def workspace(trained, tmp_path):
    """A copy of the workspace with the finished run `first`."""
    shutil.copytree(trained.root, tmp_path / "root")
    return Workspace(tmp_path / "root")


@pytest.fixture
def mixed(workspace):
    """The fold 0 of `first` is that of another run, trained with another image size."""
    run = open_run(workspace, Wanted("shades", overrides=("image_size=64", "epochs=1"), run_name="other"))
    train_folds(workspace, run, [0], MACHINE)
    first = find_run(workspace, "shades", "first")
    shutil.rmtree(first.fold(0))
    shutil.copytree(run.fold(0), first.fold(0))
    return workspace


USES = {
    "score": score_run,
    "report": lambda workspace, run: write_report(workspace, run, device=torch.device("cpu")),
    "export": lambda workspace, run: export_bundle(workspace, "shades", [run.name]),
    "pseudo": lambda workspace, run: make_pseudo(workspace, run, MACHINE),
    "train": lambda workspace, run: train_folds(workspace, run, [], MACHINE),
    "init_from": lambda workspace, run: train_folds(
        workspace, open_run(workspace, Wanted("shades", None, ("init_from=first",), "pupil")), [0], MACHINE
    ),
}


@pytest.mark.parametrize("use", USES)
def test_the_fold_of_another_run_is_refused(mixed, use):
    run = find_run(mixed, "shades", "first")
    with pytest.raises(KitsolveError, match=FOREIGN) as caught:
        USES[use](mixed, run)
    assert "kitsolve train shades --run first --fold 0 --force" in caught.value.hint


def test_training_the_fold_anew_repairs_the_run(mixed, trained):
    run = find_run(mixed, "shades", "first")
    cv = train_folds(mixed, run, [0], MACHINE, force=True)
    assert cv == score_run(trained, find_run(trained, "shades", "first"))
    assert read_fold(run, 0)["run_started"] == run.started


def test_a_run_that_was_renamed_or_copied_as_a_whole_keeps_its_folds(workspace):
    runs = workspace.runs("shades")
    before = score_run(workspace, find_run(workspace, "shades", "first"))
    shutil.copytree(runs / "first", runs / "copy")
    (runs / "first").rename(runs / "renamed")
    for name in ("copy", "renamed"):
        run = find_run(workspace, "shades", name)
        assert train_folds(workspace, run, [], MACHINE) == before
        assert len(export_bundle(workspace, "shades", [name]).models) == 2


def test_the_folds_of_an_older_version_are_accepted(mixed):
    run = find_run(mixed, "shades", "first")
    for fold in (0, 1):
        values = read_fold(run, fold) if fold else read_json(run.fold(0) / "fold.json")
        del values["run_started"]
        write_json(run.fold(fold) / "fold.json", values)
    assert score_run(mixed, run).oof_rows == 36


def test_a_fold_in_the_place_of_another_is_refused(workspace):
    run = find_run(workspace, "shades", "first")
    shutil.copytree(run.fold(0), run.fold(ALL))
    with pytest.raises(KitsolveError, match="first/fold_all is fold 0, not fold all"):
        check_weights(run, ALL)


def test_of_two_processes_that_began_a_run_at_once_both_train_its_folds(workspace):
    ours, theirs = (open_run(workspace, Wanted("shades", None, ("epochs=1",), "both")) for _ in range(2))
    theirs = replace(theirs, started="2030-01-01T00:00:00+00:00")
    record_run(workspace, ours)
    train_folds(workspace, theirs, [1], MACHINE)
    assert train_folds(workspace, ours, [0], MACHINE).oof_rows == len(read_train_table(workspace, "shades"))
    assert read_run(ours.folder).started == ours.started
