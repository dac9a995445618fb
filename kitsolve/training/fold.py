"""`kitsolve train`: one fold becomes its best state_dict, history and OOF; all folds become a CV score.

Read from top to bottom: `train_folds`, `train_fold`, `train_epoch`; then `train_step` in step.py.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from tqdm import tqdm

from kitsolve.data.dataset import TrainImages, load_batches
from kitsolve.data.fetch import read_train_table
from kitsolve.errors import KitsolveError, translated
from kitsolve.evaluation.decoding import find_judge, fit_decoder
from kitsolve.evaluation.oof import Oof, Outputs, iter_dense, stack_outputs, write_oof
from kitsolve.evaluation.runs import Run, record_run
from kitsolve.evaluation.score import CvScore, score_run
from kitsolve.inference import (
    Member,
    iter_probs,
    load_member,
)
from kitsolve.training.backbones import build_backbone, check_backbone
from kitsolve.training.checkpoint import (
    StopRequest,
    TrainState,
    load_last,
    previous_path,
    save_best,
    save_last,
    stop_requests,
)
from kitsolve.training.job import FoldJob, Machine, fold_spec, plan_fold, split_fold
from kitsolve.training.journal import Journal
from kitsolve.training.losses import loss_of_outputs
from kitsolve.training.optim import build_optimizer, freeze_backbone, lr_at, needs_scaler
from kitsolve.training.step import train_step
from kitsolve.workspace import Workspace, locked, write_json

MOST_CLASSES_SHOWN, IDS_SHOWN = 200, 4
CHECKPOINT_S = 600.0
"""Seconds between two checkpoints within an epoch."""
LOOK_EVERY = 20
"""Steps between two looks at the loss: each one makes a GPU wait."""


def train_folds(workspace: Workspace, run: Run, folds: Sequence[int], machine: Machine) -> CvScore:
    """Train the given folds of a run, all where `folds` is empty; those done are skipped.

    Returns:
        The CV score of all folds that are done now.

    Raises:
        KitsolveError: no such fold, or whatever stops a training, with its repair.
        KeyboardInterrupt: after a checkpoint.
    """
    train = read_train_table(workspace, run.competition.slug)
    known = sorted(train.fold.unique().tolist())
    unknown = [fold for fold in folds if fold not in known]
    if unknown:
        raise KitsolveError(
            f"there is no fold {unknown[0]}.", hint=f"folds.csv has the folds {known[0]} to {known[-1]}."
        )
    check_backbone(run.recipe.backbone)
    for fold in folds or known:
        if not run.fold_is_done(fold):
            with locked(run.lock(fold), doing=f"training fold {fold} of run {run.name}"):
                data = split_fold(workspace, run, train, fold)
                train_fold(plan_fold(run, data, find_judge(workspace, run.competition, data.targets), machine))
    return score_run(workspace, run)


def train_fold(job: FoldJob) -> None:
    """Train one fold to its end, from last.pt where there is one, and leave its files in the run's folder."""
    started = time.perf_counter()
    state = start_training(job)
    record_run(job.run)
    load_last(state, job.folder / "last.pt", job.machine.device)
    images = TrainImages(
        job.data.paths,
        job.data.targets.learned,
        features=job.data.features,
        preprocessing=job.preprocessing,
        augment=job.recipe.augment,
        seed=job.seed,
    )
    batches = read_batches(job, images, workers=job.machine.workers, first_step=state.step)
    with stop_requests() as stop, Journal(job.folder, epochs_done=len(state.history)) as journal:
        if state.step == 0:
            journal.write_images(next(read_batches(job, images, workers=0))[0])
        while not is_trained(job, state):
            speed = train_epoch(job, state, batches, stop)
            confusion = evaluate_epoch(job, state, images_per_s=speed)
            journal.write_epoch(state.history, confusion, job.data.targets.names)
            tqdm.write(summarise_epoch(job, state), file=sys.stderr)
            save_last(state, job.folder / "last.pt")
            if stop.asked:
                raise KeyboardInterrupt
    finish_fold(job, state, seconds=time.perf_counter() - started)


def is_trained(job: FoldJob, state: TrainState) -> bool:
    """Whether all epochs are done, or none of the last `patience` was the best."""
    done, patience = len(state.history), job.recipe.patience
    return done >= job.recipe.epochs or bool(
        patience and done > patience and not any(line["best"] for line in state.history[-patience:])
    )


def read_batches(job: FoldJob, images: TrainImages, *, workers: int, first_step: int = 0) -> Iterator[list[Tensor]]:
    """The batches from `first_step` on to the end of the training."""
    on_gpu = job.machine.device.type == "cuda"
    schedule = job.schedule(first_step=first_step)
    return load_batches(images, schedule, workers=workers, pin_memory=on_gpu, hint=job.image_hint)


def start_training(job: FoldJob) -> TrainState:
    """A new model and optimizer; the same for the same seed."""
    device, recipe = job.machine.device, job.recipe
    torch.manual_seed(job.seed)
    model = build_backbone(
        recipe,
        len(job.data.targets.output_names),
        channels=job.preprocessing.channels,
        num_features=job.data.num_features,
    )
    model = model.to(device).to(memory_format=torch.channels_last)
    return TrainState(
        model=model,
        optimizer=build_optimizer(model, recipe),
        scaler=torch.amp.GradScaler(device.type, enabled=needs_scaler(job.dtype)),
        ema=ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None,
        loss_sum=torch.zeros((), device=device),
        lost_at=torch.full((), math.inf, device=device),
        parts=recipe.accumulate,
        best_score=job.judge.metric.worst,
    )


def train_epoch(job: FoldJob, state: TrainState, batches: Iterator[list[Tensor]], stop: StopRequest) -> float:
    """Train to the end of the running epoch.

    Returns:
        Images per second.

    Raises:
        KitsolveError: the loss is no number any more.
        KeyboardInterrupt: asked to stop; last.pt holds the step that was reached.
    """
    schedule, epoch, first = job.schedule(), len(state.history), state.step
    end = (epoch + 1) * schedule.steps_per_epoch
    state.model.train()
    freeze_backbone(state.model, frozen=epoch < job.recipe.freeze_epochs)
    started, saved = time.perf_counter(), time.monotonic()
    title = f"fold {job.data.fold} epoch {epoch + 1}/{job.recipe.epochs}"
    with tqdm(total=(end - first) * schedule.batch_size, desc=title, unit="img", leave=False, disable=None) as bar:
        while state.step < end:
            batch = next(batches)
            lr = lr_at(state.step, job.recipe, schedule.steps_per_epoch)
            count_loss(state, train_step(job, state, batch, lr=lr))
            asked = stop.asked
            saves = state.step < end and (asked or time.monotonic() - saved > CHECKPOINT_S)
            if saves or state.step % LOOK_EVERY == 0 or state.step == end:
                loss = finite_loss(job, state, steps=state.step - end + schedule.steps_per_epoch, lr=lr)
                bar.set_postfix(loss=f"{loss:.4f}", lr=f"{lr:.2e}", refresh=False)
            bar.update(len(batch[0]))
            if saves:
                save_last(state, job.folder / "last.pt")
                saved = time.monotonic()
            if saves and asked:
                raise KeyboardInterrupt
    return (end - first) * schedule.batch_size / (time.perf_counter() - started)


def count_loss(state: TrainState, loss: Tensor) -> None:
    """Add up the epoch's losses and count the step; all on the device, since every look would make a GPU wait."""
    state.loss_sum += loss
    state.lost_at = torch.where(loss.isfinite(), state.lost_at, state.lost_at.clamp(max=state.step))
    state.step += 1


def finite_loss(job: FoldJob, state: TrainState, *, steps: int, lr: float) -> float:
    """Mean loss of the epoch's `steps` so far.

    Raises:
        KitsolveError: it is infinite or no number; names the step and its images.
    """
    loss = state.loss_sum.item() / steps
    if math.isfinite(loss):
        return loss
    step = int(state.lost_at.item())
    rows = [row for _, row in next(iter(job.schedule(first_step=step)))]
    ids = ", ".join(job.data.image_ids.iloc[rows[:IDS_SHOWN]])
    raise KitsolveError(
        f"the loss became {loss} at step {step} (lr {lr:.2e}, {len(rows)} images: {ids}, …).",
        hint='lower lr, or set precision = "float32"; last.pt still holds the state of the last checkpoint before.',
    )


def evaluate_epoch(job: FoldJob, state: TrainState, *, images_per_s: float) -> np.ndarray | None:
    """Score the validation rows by the code that Kaggle runs, keep the best state_dict, add a line to the history.

    Returns:
        (classes, classes) counts, true class by row, predicted class by column; None where a picture of them says
        nothing.
    """
    data, epoch = job.data, len(state.history)
    activation = data.targets.activation
    # One view an epoch is enough to compare epochs; the OOF of the best one gets all views.
    member = Member(state.evaluated.eval(), job.preprocessing, "none", job.dtype, activation=activation)
    outputs = predict_validation(job, member)
    score = score_validation(job, outputs)
    best = job.judge.metric.is_better(score, state.best_score)
    if best:
        save_best(state.evaluated, job.folder / "best.safetensors")
        state.best_score = score
    known = data.targets.known[data.val]
    state.history.append(
        {
            "epoch": epoch,
            "lr": state.optimizer.param_groups[0]["lr"],
            "train_loss": state.loss_sum.item() / job.schedule().steps_per_epoch,
            "val_loss": mean_loss(outputs[known], data.targets.learned[data.val][known], activation=activation),
            "score": score,
            "best": best,
            "images_per_s": round(images_per_s, 1),
        }
    )
    state.loss_sum.zero_()
    drawn = activation == "softmax" and outputs.shape[1] <= MOST_CLASSES_SHOWN
    return count_confusion(data.targets.values[data.val][known], outputs[known]) if drawn else None


def score_validation(job: FoldJob, outputs: Outputs) -> float:
    """The competition's metric of the validation rows; thresholds and the like are fitted on these same rows.

    It compares epochs. The CV score fits them on the other folds' rows.
    """
    targets = job.data.targets.scored[job.data.val]
    with translated(f"see `kitsolve board {job.run.competition.slug}`; lower lr where the loss exploded."):
        return job.judge.score(targets, outputs, fit_decoder(job.judge, targets, outputs))


def mean_loss(outputs: Outputs, targets: np.ndarray, *, activation: str) -> float:
    """The loss of all rows."""
    parts = [(rows, loss_of_outputs(part, targets[rows], activation=activation)) for rows, part in iter_dense(outputs)]
    sizes = [len(targets[rows]) for rows, _ in parts]
    return float(np.average([loss for _, loss in parts], weights=sizes))


def count_confusion(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """(classes, classes) counts."""
    classes = outputs.shape[1]
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (targets, outputs.argmax(axis=1)), 1)
    return confusion


def predict_validation(job: FoldJob, member: Member) -> Outputs:
    """(validation rows, outputs) activated."""
    data = job.data
    with translated(job.image_hint):
        batches = iter_probs(
            [member],
            data.val_paths,
            features=None if data.features is None else data.features[data.val],
            device=job.machine.device,
            batch_size=job.recipe.batch_size,
            workers=max(1, job.machine.workers),
        )
        return stack_outputs(batches, data.targets.output_names)


def summarise_epoch(job: FoldJob, state: TrainState) -> str:
    """One line of text about the newest epoch; a star marks the best so far."""
    line = state.history[-1]
    return (
        f"fold {job.data.fold}  epoch {len(state.history):>3}/{job.recipe.epochs}  "
        f"train loss {line['train_loss']:.4f}  val loss {line['val_loss']:.4f}  "
        f"{job.run.competition.metric} {line['score']:.5f}{' *' if line['best'] else '  '}  "
        f"{line['images_per_s']:.0f} img/s"
    )


def finish_fold(job: FoldJob, state: TrainState, *, seconds: float) -> None:
    """Predict the validation rows with the best state_dict as the bundle will, then mark the fold done."""
    targets = job.data.targets
    spec = fold_spec(job.run, job.data.fold, targets, num_features=job.data.num_features)
    outputs = predict_validation(job, load_member(spec, job.folder, job.machine.device))
    ids = pd.Index(job.data.image_ids.iloc[job.data.val])
    oof = Oof(ids, np.full(len(ids), job.data.fold), outputs)
    write_oof(job.folder / "oof.csv", oof, targets.output_names)
    best = max(line["epoch"] for line in state.history if line["best"])
    score = score_validation(job, outputs)
    previous_path(job.folder / "last.pt").unlink(missing_ok=True)
    write_json(
        job.folder / "fold.json", {"fold": job.data.fold, "score": score, "epoch": best, "seconds": round(seconds, 1)}
    )
