"""Weights that a run of the competition has left are no start for all folds of another."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.own_weights import Origin, find_origin
from kitsolve.evaluation.runs import Wanted, open_run, read_run, record_run
from kitsolve.submission.bundle import Choices, export_bundle
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import Workspace, read_json, write_json

MACHINE = choose_machine("cpu", 0)


@pytest.fixture
def workspace(exported, tmp_path):
    """A copy of the workspace with the finished run `first` and its bundle."""
    shutil.copytree(exported.root, tmp_path / "root")
    return Workspace(tmp_path / "root")


def train(workspace, weights, *overrides, folds=()):
    overrides = (f"pretrained={weights}", *overrides)
    run = open_run(workspace, Wanted("shades", overrides=overrides, run_name="second"))
    return run, train_folds(workspace, run, folds, MACHINE)


def copied(path, tmp_path):
    """A copy under another name outside of the workspace."""
    return shutil.copyfile(path, tmp_path / f"weights{path.suffix}")


@pytest.mark.parametrize("name", ["best.safetensors", "last.pt"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_weights_of_a_fold_are_refused_before_the_training(workspace, tmp_path, name, elsewhere):
    path = workspace.runs("shades") / "first" / "fold_1" / name
    path = copied(path, tmp_path) if elsewhere else path
    with pytest.raises(KitsolveError, match="the weights of fold 1 of run first: they have learned rows") as caught:
        train(workspace, path)
    assert 'init_from = "first"' in caught.value.hint
    assert not (workspace.runs("shades") / "second").exists()


def test_a_link_to_the_weights_is_refused(workspace, tmp_path):
    (tmp_path / "link.safetensors").symlink_to(workspace.runs("shades") / "first" / "fold_0" / "best.safetensors")
    with pytest.raises(KitsolveError, match="the weights of fold 0 of run first"):
        train(workspace, tmp_path / "link.safetensors")


def test_a_file_in_the_folder_of_runs_is_refused_whatever_it_holds(workspace):
    path = workspace.runs("shades") / "first" / "mean.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    assert find_origin(workspace, "shades", path) == Origin("first", "a fold")


def test_a_copy_is_known_when_the_weights_themselves_are_gone(workspace, tmp_path):
    path = workspace.runs("shades") / "first" / "fold_1" / "best.safetensors"
    copy = copied(path, tmp_path)
    path.unlink()
    assert find_origin(workspace, "shades", copy) == Origin("first", "fold 1")


def test_weights_of_an_older_version_are_known_by_their_bytes(workspace, tmp_path):
    folder = workspace.runs("shades") / "first" / "fold_1"
    old = {name: value for name, value in read_json(folder / "fold.json").items() if name != "files"}
    write_json(folder / "fold.json", old)
    shutil.rmtree(workspace.bundle("shades", "first"))
    copy = copied(folder / "best.safetensors", tmp_path)
    assert find_origin(workspace, "shades", copy) == Origin("first", "fold 1")


@pytest.mark.parametrize("half", [False, True])
def test_a_member_of_a_bundle_is_known_also_when_its_run_is_gone(workspace, tmp_path, half):
    export_bundle(workspace, "shades", ["first"], choices=Choices(half=half))
    shutil.rmtree(workspace.runs("shades") / "first")
    member = workspace.bundle("shades", "first") / "first-fold_1.safetensors"
    for path in (member, copied(member, tmp_path)):
        assert find_origin(workspace, "shades", path) == Origin("first", "fold 1")


def test_other_weights_are_a_start_for_all_folds_even_beside_a_damaged_run(workspace, tmp_path):
    tensors = load_file(workspace.runs("shades") / "first" / "fold_1" / "best.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, tmp_path / "weights.safetensors")
    (workspace.runs("shades") / "first" / "fold_0" / "fold.json").write_text("{")
    (workspace.bundle("shades", "first") / "bundle.json").write_text("{")
    run, cv = train(workspace, tmp_path / "weights.safetensors", "epochs=1", folds=[0])
    assert run.fold_is_done(0)
    assert cv.oof_rows == 18


def test_a_run_whose_teacher_began_so_is_refused(workspace):
    """An older version has let it train."""
    path = workspace.runs("shades") / "first" / "fold_1" / "best.safetensors"
    leaking = open_run(workspace, Wanted("shades", overrides=(f"pretrained={path}",), run_name="leaking"))
    record_run(workspace, leaking)
    run = open_run(workspace, Wanted("shades", overrides=("init_from=leaking",), run_name="pupil"))
    with pytest.raises(KitsolveError, match="run leaking starts every fold from pretrained"):
        train_folds(workspace, run, [], MACHINE)


def test_what_is_done_may_be_asked_for_again(workspace):
    """There is nothing left to train."""
    folder = workspace.runs("shades") / "first"
    values = read_json(folder / "run.json")
    recipe = values["recipe"] | {"pretrained": str(folder / "fold_1" / "best.safetensors")}
    write_json(folder / "run.json", values | {"recipe": recipe})
    assert train_folds(workspace, read_run(folder), [], MACHINE).oof_rows == 36
