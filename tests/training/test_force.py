import shutil

import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Wanted, open_run, read_run, record_run
from kitsolve.training.fold import check_unused, train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import Workspace, locked, read_json


@pytest.fixture
def copy(trained, tmp_path):
    """A workspace with a finished run, `first`, that may be changed."""
    shutil.copytree(trained.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def train(workspace, *overrides, folds=(), force=False):
    wanted = Wanted("shades", None, tuple(overrides), "first", tuple(folds))
    run = open_run(workspace, wanted, force=force)
    train_folds(workspace, run, folds, choose_machine("cpu", 0), force=force)
    return run


def weights(workspace):
    folder = workspace.runs("shades") / "first"
    return {fold: (folder / f"fold_{fold}" / "best.safetensors").read_bytes() for fold in (0, 1)}


def started(workspace):
    return read_json(workspace.runs("shades") / "first" / "run.json")["started"]


def test_a_finished_run_is_trained_anew_with_the_choices_that_are_given(copy):
    before, began = weights(copy), started(copy)
    run = train(copy, "lr=0.05", "seed=5", force=True)
    after = weights(copy)
    assert all(after[fold] != before[fold] for fold in after)
    recorded = read_run(run.folder).recipe
    assert (recorded.lr, recorded.seed, recorded.backbone) == (0.05, 5, "timm/test_resnet"), "the rest is the run's own"
    assert started(copy) != began


def test_force_without_changes_trains_again(copy):
    before, began = weights(copy), started(copy)
    train(copy, force=True)
    assert weights(copy) == before, "the same choices give the same bits"
    assert started(copy) != began


def test_what_is_there_stays_until_the_new_training_really_starts(copy, monkeypatch):
    before = weights(copy)
    monkeypatch.setattr("kitsolve.training.fold.start_training", None)
    with pytest.raises(TypeError):
        train(copy, "lr=0.05", force=True)
    assert weights(copy) == before
    assert read_run(copy.runs("shades") / "first").recipe.lr == 0.01


def test_one_fold_is_trained_anew_with_the_choices_of_the_others(copy):
    before = weights(copy)
    (copy.runs("shades") / "first" / "fold_0" / "best.safetensors").write_bytes(b"damaged")
    train(copy, folds=[0], force=True)
    assert weights(copy) == before
    assert read_run(copy.runs("shades") / "first").finished


def test_one_fold_of_other_choices_is_not_mixed_with_the_others(copy):
    with pytest.raises(KitsolveError, match="its folds cannot be mixed") as caught:
        train(copy, "lr=0.05", folds=[0], force=True)
    assert "leave --fold out" in caught.value.hint


def test_a_run_that_another_process_trains_is_not_replaced(copy):
    run = open_run(copy, Wanted("shades", run_name="first"), force=True)
    with locked(run.lock(1), doing="training"), pytest.raises(KitsolveError, match="another process"):
        check_unused(run)


def test_a_run_that_another_process_began_meanwhile_is_gone_on_with_or_refused(fetched):
    one = open_run(fetched, Wanted("shades", run_name="new"))
    same = open_run(fetched, Wanted("shades", run_name="new"))
    other = open_run(fetched, Wanted("shades", None, ("lr=0.5",), "new"))
    record_run(fetched, one)
    record_run(fetched, same)
    with pytest.raises(KitsolveError, match="holds what is not this run"):
        record_run(fetched, other)
    assert read_run(one.folder) == one


def test_a_folder_without_run_json_is_not_removed(fetched):
    folder = fetched.runs("shades") / "mine" / "fold_0"
    folder.mkdir(parents=True)
    (folder / "best.safetensors").write_bytes(b"worth keeping")
    with pytest.raises(KitsolveError, match="holds what is not this run"):
        record_run(fetched, open_run(fetched, Wanted("shades", run_name="mine")))
    assert (folder / "best.safetensors").read_bytes() == b"worth keeping"
