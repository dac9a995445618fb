import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from kitsolve import workspace as workspace_module
from kitsolve.config import read_competition
from kitsolve.data.fetch import fetch, read_train_table
from kitsolve.data.targets import encode_targets
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import ALL, Wanted, find_run, list_runs, open_run
from kitsolve.inference.ensemble import one_member
from kitsolve.inference.loop import predict_probs
from kitsolve.inference.members import load_member
from kitsolve.submission.bundle import export_bundle
from kitsolve.submission.predict import predict
from kitsolve.training import checkpoint as checkpoint_module
from kitsolve.training import fold as fold_module
from kitsolve.training import step as step_module
from kitsolve.training import validation as validation_module
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine, fold_spec, read_labelled
from kitsolve.training.settle import settle_fold
from kitsolve.training.start import start_training
from kitsolve.workspace import Workspace, locked, read_json

CPU = torch.device("cpu")


class Killed(BaseException):
    """Nothing in the product catches it: the closest to SIGKILL that a test's own process survives."""


def train(workspace, *overrides, name="first", folds=(0,), workers=0, device="cpu"):
    run = open_run(workspace, Wanted("shades", overrides=overrides, run_name=name))
    return train_folds(workspace, run, folds, choose_machine(device, workers))


def results(workspace, name="first", fold=0):
    """What law 1 speaks of: best weights, OOF and history, but for the speed."""
    folder = workspace.runs("shades") / name / f"fold_{fold}"
    history = pd.read_csv(folder / "history.csv").drop(columns="images_per_s")
    return (folder / "best.safetensors").read_bytes(), (folder / "oof.csv").read_bytes(), history.to_dict("list")


@pytest.fixture(scope="module")
def undisturbed(trained):
    """The result of fold 0 in a training that nothing disturbed."""
    return results(trained)


def stop_at(monkeypatch, module, function, count, stop):
    """Call `stop` instead of the `count`-th call of a function."""
    original, calls = getattr(module, function), []

    def counted(*arguments, **options):
        calls.append(1)
        if len(calls) == count:
            stop()
        return original(*arguments, **options)

    monkeypatch.setattr(module, function, counted)


def die():
    raise Killed


# ------------------------------------------------------------------------------------------------ what is left


def test_a_finished_fold_has_all_its_files(trained):
    folder = trained.runs("shades") / "first" / "fold_0"
    names = {path.name for path in folder.iterdir() if "tfevents" not in path.name}
    assert names == {"best.safetensors", "last.pt", "history.csv", "oof.csv", "fold.json"}
    assert list(folder.glob("events.out.tfevents.*"))
    keys = {"fold", "score", "epoch", "seconds", "epoch_score", "oof_takes", "run_started", "files"}
    assert set(read_json(folder / "fold.json")) == keys


def test_the_history_has_a_line_an_epoch_and_marks_the_best(trained):
    history = pd.read_csv(trained.runs("shades") / "first" / "fold_0" / "history.csv")
    assert history.epoch.tolist() == [0, 1]
    best = history[history.best].iloc[-1]
    assert best.score == history.score.max()
    assert history.train_loss.iloc[-1] < history.train_loss.iloc[0]


def test_every_row_is_predicted_once_by_the_model_that_never_saw_it(trained):
    run = find_run(trained, "shades")
    folds = pd.read_csv(trained.tables("shades") / "folds.csv", dtype={"image_id": str})
    for fold in (0, 1):
        oof = pd.read_csv(run.fold(fold) / "oof.csv", dtype={"image_id": str})
        assert oof.image_id.tolist() == folds[folds.fold == fold].image_id.tolist()


def targets_of(workspace):
    train = read_train_table(workspace, "shades")
    return encode_targets(train, read_competition(workspace, "shades"), workspace.raw("shades"))


def test_the_oof_is_what_the_bundles_code_predicts_for_the_same_images(trained):
    run = find_run(trained, "shades")
    oof = pd.read_csv(run.fold(0) / "oof.csv", dtype={"image_id": str})
    paths = [trained.raw("shades") / "train" / f"{image_id}.png" for image_id in oof.image_id]
    member = load_member(fold_spec(run, 0, targets_of(trained)), run.fold(0), CPU)
    probs = predict_probs(one_member(member, CPU, batch_size=run.recipe.batch_size), paths, workers=2)
    assert (oof.iloc[:, 1:].to_numpy(dtype=np.float32) == probs).all()


def test_the_tiny_competition_is_learned(trained):
    assert read_json(trained.runs("shades") / "first" / "score.json")["pooled"] > 0.6


# ------------------------------------------------------------------------------------------------ law 1: determinism


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(fetched, undisturbed, workers):
    train(fetched, workers=workers)
    assert results(fetched) == undisturbed


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_training_killed_within_any_step_ends_the_same(fetched, undisturbed, monkeypatch, step):
    with monkeypatch.context() as patch:
        stop_at(patch, fold_module, "train_step", step, die)
        with pytest.raises(Killed):
            train(fetched)
    train(fetched)
    assert results(fetched) == undisturbed


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_training_killed_around_any_write_ends_the_same(fetched, undisturbed, monkeypatch, moment, number):
    calls = []

    def write(path, fill):
        calls.append(path.name)
        if len(calls) == number and moment == "before":
            die()
        write_whole(path, fill)
        if len(calls) == number:
            die()

    write_whole = workspace_module.write_whole
    with monkeypatch.context() as patch:
        patch.setattr(workspace_module, "write_whole", write)
        patch.setattr("kitsolve.training.checkpoint.write_whole", write)
        with pytest.raises(Killed):
            train(fetched)
    train(fetched)
    assert results(fetched) == undisturbed


CHILD = """
import os, signal, sys
from kitsolve import cli
from kitsolve.training import fold
train_step, number, calls = fold.train_step, getattr(signal, sys.argv[1]), []
def interrupted(*arguments, **options):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), number)
    return train_step(*arguments, **options)
fold.train_step = interrupted
sys.argv = ["kitsolve", "--root", sys.argv[2], "train", "shades", "--fold", "0", "--run", "first", "--workers", "1"]
cli.main()
"""


def interrupt_child(workspace, name):
    command = [sys.executable, "-c", CHILD, name, str(workspace.root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=workspace.root)


@pytest.mark.parametrize(
    ("module", "function", "count"),
    [(fold_module, "train_step", 4), (validation_module, "write_oof", 1), (checkpoint_module, "write_whole", 2)],
)
def test_a_process_killed_by_sigkill_and_started_again_ends_the_same(
    fetched, undisturbed, monkeypatch, module, function, count
):
    child = os.fork()
    if child == 0:
        stop_at(monkeypatch, module, function, count, lambda: os.kill(os.getpid(), signal.SIGKILL))
        train(fetched)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    train(fetched)
    assert results(fetched) == undisturbed


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_keeps_the_step_says_how_to_go_on_and_exits_with_130(fetched, undisturbed, name):
    done = interrupt_child(fetched, name)
    assert done.returncode == 130, done.stderr
    command = f"kitsolve --root {fetched.root} train shades --fold 0 --run first --workers 1"
    assert f"interrupted; go on with: {command}" in done.stderr
    assert "Traceback" not in done.stderr
    last = torch.load(fetched.runs("shades") / "first" / "fold_0" / "last.pt", weights_only=True)
    assert last["step"] == 3
    train(fetched)
    assert results(fetched) == undisturbed


def test_ctrl_c_while_an_epoch_is_validated_finishes_the_epoch(fetched, undisturbed, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, fold_module, "evaluate_epoch", 1, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train(fetched)
    assert len(pd.read_csv(fetched.runs("shades") / "first" / "fold_0" / "history.csv")) == 1
    train(fetched)
    assert results(fetched) == undisturbed


EVERYTHING = (
    "mixup=0.4", "cutmix=1.0", "mix_prob=0.8", "accumulate=2", "head_lr=3.0", "layer_decay=0.8", "optimizer=lamb",
    "schedule=one_cycle", "sampler=balanced", "class_weights=balanced", "freeze_epochs=1", "loss=focal",
    "drop_rate=0.2",
)  # fmt: skip


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_with_every_choice_at_once_a_killed_training_still_ends_the_same(fetched, monkeypatch, step):
    train(fetched, *EVERYTHING, name="undisturbed")
    with monkeypatch.context() as patch:
        stop_at(patch, fold_module, "train_step", step, die)
        with pytest.raises(Killed):
            train(fetched, *EVERYTHING, name="killed")
    train(fetched, *EVERYTHING, name="killed")
    assert results(fetched, "killed") == results(fetched, "undisturbed")


def test_a_batch_in_parts_is_the_batch_at_once(fetched):
    """Of a model without BatchNorm, whose averages are those of the parts."""
    choices = ("backbone=timm/test_vit", "precision=float32", "epochs=1", "augment=none")
    train(fetched, *choices, name="whole")
    train(fetched, *choices, "accumulate=3", name="parts")
    whole, parts = (
        load_file(fetched.runs("shades") / name / "fold_0" / "best.safetensors") for name in ("whole", "parts")
    )
    for key, tensor in whole.items():
        torch.testing.assert_close(parts[key], tensor, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("loss=smooth_l1", "loss = 'smooth_l1' does not fit task = 'multiclass'"),
        ("optimizer=adamx", "no optimizer 'adamx'"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused_and_leaves_no_run(fetched, override, problem):
    with pytest.raises(KitsolveError, match=problem):
        train(fetched, override)
    assert not list_runs(fetched, "shades")


@pytest.mark.parametrize("hold", [3, 5])
def test_out_of_memory_halves_the_parts_and_changes_no_result(fetched, monkeypatch, capsys, hold):
    choices = ("backbone=timm/test_vit", "precision=float32", "epochs=1")
    train(fetched, *choices, name="enough")
    monkeypatch.setattr(step_module, "autocast", lambda device, dtype: nullcontext())
    loss = step_module.compute_part_loss

    def raise_above(job, logits, targets):
        if len(logits) > hold:
            raise torch.OutOfMemoryError
        return loss(job, logits, targets)

    monkeypatch.setattr(step_module, "compute_part_loss", raise_above)
    train(fetched, *choices, name="little")
    said = capsys.readouterr().err
    assert said.count("out of memory") == (2 if hold == 3 else 1)
    enough, little = (
        load_file(fetched.runs("shades") / name / "fold_0" / "best.safetensors") for name in ("enough", "little")
    )
    for key, tensor in enough.items():
        torch.testing.assert_close(little[key], tensor, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("accumulate", [3, 8])
def test_no_part_of_an_arcface_batch_is_a_single_row(fetched, accumulate):
    """Its head normalises over the rows of a part; of one row there is nothing to normalise."""
    train(fetched, "loss=arcface", "epochs=1", f"accumulate={accumulate}")


def test_when_not_even_one_image_fits_it_says_what_to_do(fetched, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(step_module, "compute_part_loss", never)
    with pytest.raises(KitsolveError, match="does not hold one image of 32 px") as caught:
        train(fetched, "backbone=timm/test_vit")
    assert "grad_checkpointing" in caught.value.hint


def test_a_training_stops_when_no_epoch_is_the_best_any_more(fetched, monkeypatch):
    scores = iter([0.5, 0.6, 0.6, 0.6, 0.6, 0.9])
    losses = iter([0.9, 0.8, 0.7, 0.7, 0.8, 0.1])
    monkeypatch.setattr(validation_module, "score_validation", lambda job, outputs: next(scores))
    monkeypatch.setattr(validation_module, "_mean_loss", lambda job, outputs: next(losses))
    train(fetched, "epochs=9", "patience=2")
    history = pd.read_csv(fetched.runs("shades") / "first" / "fold_0" / "history.csv")
    assert history.score.tolist() == [0.5, 0.6, 0.6, 0.6, 0.6]
    assert history.best.tolist() == [True, True, True, False, False], "of equal scores the lower loss is the best"


@pytest.mark.parametrize(("metric", "whole"), [("log_loss", True), ("accuracy", False)])
def test_of_many_classes_all_outputs_are_kept_where_the_metric_scores_them(fetched, monkeypatch, metric, whole):
    monkeypatch.setattr("kitsolve.evaluation.oof.WIDE", 2)
    facts = fetched.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace('"accuracy"', f'"{metric}"'))
    fetch(fetched, "shades")
    train(fetched, "epochs=1")
    fold = fetched.runs("shades") / "first" / "fold_0"
    header, *_ = (fold / "oof.csv").read_text().splitlines()
    assert header == ("image_id,prob_bright,prob_dark,prob_grey" if whole else "image_id,output,prob")
    history = pd.read_csv(fold / "history.csv")
    assert not whole or history.val_loss[0] == pytest.approx(history.score[0], abs=1e-5)


def test_two_processes_may_train_two_folds_but_not_the_same(fetched):
    run = open_run(fetched, Wanted("shades", run_name="first"))
    with locked(run.lock(0), doing="training fold 0 of run first"):
        with pytest.raises(KitsolveError, match="another process is training fold 0 of run first"):
            train(fetched)
        train(fetched, "epochs=1", folds=(1,), name="second")


def test_checkpoints_within_an_epoch_change_nothing(fetched, undisturbed, monkeypatch):
    monkeypatch.setattr(fold_module, "CHECKPOINT_S", 0.0)
    with monkeypatch.context() as patch:
        stop_at(patch, fold_module, "train_step", 2, die)
        with pytest.raises(Killed):
            train(fetched)
    train(fetched)
    assert results(fetched) == undisturbed


def test_another_seed_gives_another_result(fetched, undisturbed):
    train(fetched, "seed=43")
    assert results(fetched)[0] != undisturbed[0]


# ------------------------------------------------------------------------------------------------ choices and mistakes


@pytest.mark.parametrize(
    "override",
    ["ema_decay=0", "clip_grad=0", "label_smoothing=0.1", "precision=float32", "precision=bfloat16", "augment=heavy",
     "warmup_epochs=0", "tta=d4", "backbone=timm/test_vit", "batch_size=64"],
)  # fmt: skip
def test_every_choice_trains(fetched, override):
    cv = train(fetched, override, "epochs=1")
    assert 0 <= cv.pooled <= 1


def test_folds_that_are_done_are_not_trained_again(fetched, monkeypatch):
    train(fetched, folds=[0])
    monkeypatch.setattr(fold_module, "train_fold", lambda *_, **__: pytest.fail("trained again"))
    assert len(train(fetched, folds=[0]).folds) == 1


def test_a_fold_out_of_range_is_an_error_before_anything_is_trained(fetched):
    with pytest.raises(KitsolveError, match="no fold 2") as caught:
        train(fetched, folds=[0, 2])
    assert "0 to 1" in caught.value.hint
    assert list_runs(fetched, "shades") == []


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["backbone=timm/test_resnt"], "no backbone 'timm/test_resnt'"),
        (["backbone=torchvision/inception_v3"], "refuses image_size = 32"),
        (["pretrained=/nowhere/weights.pth"], "is no file"),
    ],
)
def test_a_recipe_that_cannot_be_built_leaves_no_run(fetched, overrides, problem):
    with pytest.raises(KitsolveError, match=problem):
        train(fetched, *overrides)
    assert list_runs(fetched, "shades") == []


def test_a_loss_that_is_no_number_stops_with_advice(fetched):
    with pytest.raises(KitsolveError, match=r"the loss became nan at step \d \(lr .*, 8 images: \d{4}, ") as caught:
        train(fetched, "lr=1e30", "precision=float32", "clip_grad=0", "ema_decay=0")
    assert "lower lr" in caught.value.hint
    assert not (fetched.runs("shades") / "first" / "fold_0" / "fold.json").exists()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("fold", [0, 1])  # in one of them the image is trained on, in the other validated
def test_an_image_that_vanished_after_the_fetch_is_named(fetched, workers, fold):
    path = fetched.raw("shades") / "train" / "0004.png"
    path.unlink()
    with pytest.raises(KitsolveError) as caught:
        train(fetched, folds=[fold], workers=workers)
    assert caught.value.problem == f"image {path} cannot be read: No such file or directory."
    assert "kitsolve fetch shades --force" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "float16", "bfloat16", "float32"])
def test_a_gpu_trains_in_every_precision(fetched, precision):
    assert train(fetched, f"precision={precision}", folds=(0, 1), workers=2, device="cuda").pooled > 0.4


@pytest.mark.parametrize(
    "overrides",
    [
        ["pool=gem"], ["pool=catavgmax", "loss=arcface"], ["loss=arcface", "mixup=0.4"],
        ["drop_rate=0.2", "dropout_samples=3"], ["image_size=[24, 40]", "resize=letterbox"], ["resize=crop"],
        ["train_sizes=[24, 28]"], ["cache=jpeg"], ["cache=none"], ["augment_ramp_epochs=1", "augment_off_epochs=1"],
        ["warmup_share=0.3"], ["batch_size=auto"], ["soup=2", "epochs=2"], ["optimizer=muon"],
    ],
)  # fmt: skip
def test_every_further_choice_trains_to_a_bundle_that_predicts(fetched, overrides):
    train(fetched, *["epochs=1", *overrides], folds=())
    bundle = export_bundle(fetched, "shades", ["first"])
    assert len(pd.read_csv(predict(fetched, bundle))) == 7


def test_a_compiled_model_gives_the_state_dict_of_a_plain_one(fetched, undisturbed, monkeypatch):
    """With the backend that traces the model and then runs it as it is: the others want a compiler."""
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_with(self, backend="eager"))
    train(fetched, "compile=true")
    assert results(fetched) == undisturbed


def test_all_rows_are_trained_on_after_the_folds_and_join_the_bundle(trained, tmp_path):
    shutil.copytree(trained.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    before = find_run(workspace, "shades")
    cv = train(workspace, folds=[ALL])
    marker = read_json(before.fold(ALL) / "fold.json")
    assert (marker["fold"], marker["score"], marker["epoch"]) == ("all", None, 1)
    assert cv.oof_rows == 36
    files = [spec.file for spec in export_bundle(workspace, "shades", ["first"]).models]
    assert files == [f"first-fold_{name}.safetensors" for name in ("0", "1", "all")]


def test_a_fold_starts_from_the_same_fold_of_another_run(fetched, capsys):
    train(fetched, "epochs=1", name="teacher")
    run = open_run(fetched, Wanted("shades", overrides=("init_from=teacher",), run_name="pupil"))
    machine = choose_machine("cpu", 0)
    state = start_training(settle_fold(fetched, run, read_labelled(fetched, run.competition), 0, machine=machine))
    theirs = load_file(fetched.runs("shades") / "teacher" / "fold_0" / "best.safetensors")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in state.model.state_dict().items())
    assert f"{len(theirs)} of {len(theirs)} tensors from " in capsys.readouterr().err
    with pytest.raises(KitsolveError, match="init_from = 'teacher': its fold 1 is not trained, there is no .*fold_1"):
        train(fetched, "init_from=teacher", folds=[1], name="pupil")


def test_a_fold_does_not_start_from_one_that_is_half_trained_or_damaged(fetched):
    train(fetched, "epochs=1", name="teacher", folds=(0, 1))
    run = open_run(fetched, Wanted("shades", overrides=("init_from=teacher",), run_name="pupil"))
    teacher = fetched.runs("shades") / "teacher"
    (teacher / "fold_0" / "fold.json").unlink()
    shutil.copyfile(teacher / "fold_0" / "best.safetensors", teacher / "fold_1" / "best.safetensors")
    with pytest.raises(KitsolveError, match="its fold 0 is not trained"):
        train_folds(fetched, run, [0], choose_machine("cpu", 0))
    with pytest.raises(KitsolveError, match="fold_1/best.safetensors was changed or damaged after the training"):
        train_folds(fetched, run, [1], choose_machine("cpu", 0))


@pytest.mark.slow
def test_twenty_kills_at_random_moments_end_the_same(fetched):
    """A process is killed after a random time and started again, until it has been killed twenty times."""
    choices = ("epochs=8", "mixup=0.4", "soup=2")
    started = time.monotonic()
    train(fetched, *choices, name="undisturbed")
    whole_s = time.monotonic() - started
    folder, random, kills, steps = fetched.runs("shades") / "first", np.random.default_rng(0), 0, set()
    while kills < 20:
        child = os.fork()
        if child == 0:
            train(fetched, *choices)
            os._exit(0)
        time.sleep(float(random.uniform(0.02, 0.8 * whole_s)))
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if (folder / "fold_0" / "last.pt").is_file():
            steps.add(torch.load(folder / "fold_0" / "last.pt", weights_only=True)["step"])
        if (folder / "fold_0" / "fold.json").is_file():
            assert results(fetched) == results(fetched, "undisturbed")
            shutil.rmtree(folder)
    train(fetched, *choices)
    assert results(fetched) == results(fetched, "undisturbed")
    assert len(steps) > 3, "kills came within the training"
