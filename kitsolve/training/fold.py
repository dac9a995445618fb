"""`kitsolve train`: one fold becomes its best state_dict, history and OOF; all folds become a CV score.

Read from top to bottom: `train_folds`, `train_fold`, `train_epoch`; then `train_step` in step.py.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from kitsolve.data.trial import try_metric
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.classes import keep_classes
from kitsolve.evaluation.fold_files import read_fold
from kitsolve.evaluation.lineage import check_lineage
from kitsolve.evaluation.runs import ALL, Run, is_recorded, name_fold, record_run, remove_whole
from kitsolve.evaluation.score import CvScore, score_run
from kitsolve.training.backbones import check_backbone
from kitsolve.training.checkpoint import StopRequest, TrainState, load_last, save_last, stop_requests
from kitsolve.training.common_epoch import finish_together, is_waiting, keep_epoch, mark_trained
from kitsolve.training.distributed import Machine, add_up, agree, share, spread
from kitsolve.training.finish import chosen_epoch, finish_fold, keep_last_epoch
from kitsolve.training.job import FoldJob, Labelled, Settled, read_labelled
from kitsolve.training.journal import Journal
from kitsolve.training.limit import check_limit
from kitsolve.training.optim import freeze_backbone, lr_at
from kitsolve.training.settle import settle_fold, write_settled
from kitsolve.training.soup import cook_soup, keep_ingredient
from kitsolve.training.start import open_images, prefetch, read_batches, start_training
from kitsolve.training.step import train_step
from kitsolve.training.validation import evaluate_epoch
from kitsolve.workspace import Workspace, locked

IDS_SHOWN = 4
CHECKPOINT_S = 600.0
"""Seconds between two checkpoints within an epoch."""
LOOK_EVERY = 20
"""Steps between two looks at the loss: each one makes a GPU wait."""


def train_folds(
    workspace: Workspace,
    run: Run,
    folds: Sequence[int],
    machine: Machine,
    *,
    time_limit_s: float = math.inf,
    force: bool = False,
) -> CvScore:
    """Train the given folds of a run, all where `folds` is empty; those done are skipped, unless `force`.

    Args:
        folds: runs.ALL among them trains on all rows, after the others.
        time_limit_s: for all of them together: as many epochs as fit, the same for all folds.

    Returns:
        The CV score of all folds that are done now.

    Raises:
        KitsolveError: no such fold, another time limit than the run was planned for, whatever stops a training, with
            its repair, or folds that wait for others.
        KeyboardInterrupt: after a checkpoint.
    """
    end = time.monotonic() + time_limit_s
    check_backbone(run.recipe.backbone)
    labelled = read_labelled(workspace, run.competition)
    run = keep_classes(run, labelled.targets)
    try_metric(labelled.judge.metric, labelled.targets, labelled.judge.plain, labelled.folds)
    left = choose_folds(run, labelled, folds, force=force)
    now = pd.Series(labelled.folds, index=labelled.image_ids)
    check_lineage(workspace, run, now, left, quiet=not machine.leads)
    wanted = share(lambda: left, machine)  # another process may have seen less on the disk
    share(lambda: check_limit(run, wanted, time_limit_s), machine)
    if machine.leads:
        check_unused(run)
    for number, fold in enumerate(wanted):
        doing = f"training fold {name_fold(fold)} of run {run.name}"
        with locked(run.lock(fold), doing=doing) if machine.leads else nullcontext():
            share_s = (end - time.monotonic()) / (len(wanted) - number)
            fold_end = time.monotonic() + share_s
            job = settle_fold(workspace, run, labelled, fold, machine=machine, left_s=share_s, limit_s=time_limit_s)
            train_fold(workspace, job, end=fold_end, force=force)
    if run.recipe.best_epoch == "common":
        finish_together(workspace, run, labelled, machine)
    return share(lambda: score_run(workspace, run), machine)


def choose_folds(run: Run, labelled: Labelled, folds: Sequence[int], *, force: bool = False) -> list[int]:
    """Those of the given folds that are not done, of all where none is given; runs.ALL comes last.

    Args:
        force: those that are done too.

    Raises:
        KitsolveError: there is no such fold, or what is done of it is another run's.
    """
    known = sorted(set(labelled.folds.tolist()))
    unknown = [fold for fold in folds if fold not in (*known, ALL)]
    if unknown:
        raise KitsolveError(
            f"there is no fold {unknown[0]}.", hint=f"folds.csv has the folds {known[0]} to {known[-1]}; or say all."
        )
    ordered = sorted(folds, key=lambda fold: fold == ALL) or known
    anew = force or (run.replaces and not is_recorded(run))
    done = [] if anew else [fold for fold in ordered if run.fold_is_done(fold)]
    for fold in done:
        read_fold(run, fold)  # to say after hours of training that the folds do not belong together would be late
    return [fold for fold in ordered if fold not in done]


def check_unused(run: Run) -> None:
    """Raise KitsolveError where another process trains a fold of the run that this one will replace."""
    if run.replaces and not is_recorded(run):
        for folder in run.lock(0).parent.glob(f"{run.name}-fold_*"):
            with locked(folder, doing=f"training {folder.name}"):
                pass


def drop_fold(run: Run, fold: int) -> None:
    """Remove what an earlier training of the fold has left, and the scores that it is part of."""
    for name in ("score.json", "oof.csv"):
        (run.folder / name).unlink(missing_ok=True)
    remove_whole(run.fold(fold))


def train_fold(workspace: Workspace, job: FoldJob, *, end: float = math.inf, force: bool = False) -> None:
    """Train one fold to its end, from last.pt where there is one, and leave its files in the run's folder.

    Where the epoch is chosen for all folds, it is not finished yet.

    Args:
        end: on the monotonic clock, when the training ends where it is.
        force: not from last.pt, but from the start.
    """
    started = time.perf_counter()
    state = start_training(job)
    job = replace(job, settled=share(lambda: begin_fold(workspace, job, force=force), job.machine))
    if share(lambda: is_waiting(job.run, job.data.fold), job.machine):
        return
    load_last(state, job.folder / "last.pt", job.machine)
    images = open_images(workspace, job)
    batches = read_batches(job, images, first_step=state.step)
    with stop_requests() as stop, Journal(job.folder, job.machine, epochs_done=len(state.history)) as journal:
        if state.step == 0 and job.machine.leads:
            journal.write_images(next(read_batches(job, images, workers=0))[0])
        watch = Watch(stop, end)
        while not is_trained(job, state):
            speed = train_epoch(job, state, batches, watch)
            confusion = evaluate_epoch(job, state, images, images_per_s=speed)
            keep_ingredient(job, state)
            keep_epoch(job, state)
            journal.write_epoch(state.history, confusion, job.data.targets.names)
            if job.machine.leads:
                tqdm.write(summarise_epoch(job, state), file=sys.stderr)
            save_last(state, job.folder / "last.pt", job.machine)
            watch.raise_if_asked(job.machine)
    if job.recipe.best_epoch == "common":
        mark_trained(job, seconds=time.perf_counter() - started)
        return
    if not any(agree(job.machine, time.monotonic() > end)):
        keep_last_epoch(job, state)
    if job.recipe.soup > 1:
        cook_soup(job, state, images)
    finish_fold(job, epoch=chosen_epoch(job, state), seconds=time.perf_counter() - started)


def begin_fold(workspace: Workspace, job: FoldJob, *, force: bool) -> Settled:
    """Record the run and what was settled for it, which is given back; what is trained anew gives way now."""
    record_run(workspace, job.run)
    if force:
        drop_fold(job.run, job.data.fold)
    return write_settled(job.run, job.settled)


def is_trained(job: FoldJob, state: TrainState) -> bool:
    """Whether all steps are done, the time was over, or none of the last `patience` epochs was the best."""
    done, patience = len(state.history), job.recipe.patience
    if state.step >= job.schedule().total_steps or state.cut_short:
        return True
    return bool(patience and done > patience and not any(line["best"] for line in state.history[-patience:]))


class Watch:
    """What may interrupt an epoch: a signal, the end of the time, a checkpoint that is due."""

    def __init__(self, stop: StopRequest, end: float = math.inf) -> None:
        self.stop, self.end, self.saved = stop, end, time.monotonic()

    def looks(self, step: int, last: int, machine: Machine) -> bool:
        """Whether to look after this step; several processes can only do so together."""
        due = machine.world == 1 and (self.stop.asked or time.monotonic() - self.saved > CHECKPOINT_S)
        return due or step % LOOK_EVERY == 0 or step == last

    def act(self, job: FoldJob, state: TrainState, *, last: int) -> None:
        """Write a checkpoint where one is due, and stop where that was asked; `cut_short` where the time is over."""
        now = time.monotonic()
        asked, over, old = agree(job.machine, self.stop.asked, now > self.end, now - self.saved > CHECKPOINT_S)
        state.cut_short = over
        if state.step < last and (asked or old):
            save_last(state, job.folder / "last.pt", job.machine)
            self.saved = now
            if asked:
                raise KeyboardInterrupt

    def raise_if_asked(self, machine: Machine) -> None:
        """Raise KeyboardInterrupt where any process was asked to stop."""
        if any(agree(machine, self.stop.asked)):
            raise KeyboardInterrupt


def train_epoch(job: FoldJob, state: TrainState, batches: Iterator[list[Tensor]], watch: Watch) -> float:
    """Train to the end of the running epoch, or of the time.

    Returns:
        Images per second.

    Raises:
        KitsolveError: the loss is no number any more.
        KeyboardInterrupt: asked to stop; last.pt holds the step that was reached.
    """
    schedule, epoch, first = job.schedule(), len(state.history), state.step
    last = min((first // schedule.steps_per_epoch + 1) * schedule.steps_per_epoch, schedule.total_steps)
    state.model.train()
    freeze_backbone(state.model, frozen=epoch < job.recipe.freeze_epochs)
    state.runner = spread(state.model, job.machine)
    started = time.perf_counter()
    title = f"fold {name_fold(job.data.fold)} epoch {epoch + 1}/{job.epochs}"
    quiet = None if job.machine.leads else True
    with tqdm(total=(last - first) * schedule.batch_size, desc=title, unit="img", leave=False, disable=quiet) as bar:
        for batch in prefetch(batches, job.machine.device, count=last - first):
            lr = lr_at(state.step, job.recipe, schedule.steps_per_epoch, schedule.total_steps)
            count_loss(state, train_step(job, state, batch, lr=lr))
            bar.update(schedule.batch_size)
            if watch.looks(state.step, last, job.machine):
                loss = finite_loss(job, state, lr=lr)
                bar.set_postfix(loss=f"{loss:.4f}", lr=f"{lr:.2e}", refresh=False)
                watch.act(job, state, last=last)
            if state.cut_short:
                break
    return (state.step - first) * schedule.batch_size / (time.perf_counter() - started)


def count_loss(state: TrainState, loss: Tensor) -> None:
    """Add up the epoch's losses and count the step; all on the device, since every look would make a GPU wait."""
    state.loss_sum += loss
    state.lost_at = torch.where(loss.isfinite(), state.lost_at, state.lost_at.clamp(max=state.step))
    state.step += 1


def finite_loss(job: FoldJob, state: TrainState, *, lr: float) -> float:
    """Mean loss of the epoch so far.

    Raises:
        KitsolveError: it is infinite or no number; names the step and its images.
    """
    total = add_up(state.loss_sum, state.lost_at, job.machine)
    loss = total / (state.step - state.epoch_start)
    if math.isfinite(loss):
        return loss
    step = int(state.lost_at.item())
    rows = [row for _, row in next(iter(job.schedule(first_step=step)))]
    ids = ", ".join(job.data.image_ids[rows[:IDS_SHOWN]])
    raise KitsolveError(
        f"the loss became {loss} at step {step} (lr {lr:.2e}, {len(rows)} images: {ids}, …).",
        hint='lower lr, or set precision = "float32"; last.pt still holds the state of the last checkpoint before.',
    )


def summarise_epoch(job: FoldJob, state: TrainState) -> str:
    """One line of text about the newest epoch; a star marks the best so far."""
    line = state.history[-1]
    parts = [
        f"fold {name_fold(job.data.fold)}",
        f"epoch {len(state.history):>3}/{job.epochs}",
        f"train loss {line['train_loss']:.4f}",
    ]
    if len(job.data.val):
        parts.append(f"val loss {line['val_loss']:.4f}")
        parts.append(f"{job.run.competition.metric} {line['score']:.5f}{' *' if line['best'] else '  '}")
    return "  ".join([*parts, f"{line['images_per_s']:.0f} img/s"])
