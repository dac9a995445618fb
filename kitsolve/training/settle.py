"""What a recipe leaves to the machine is settled once, for all folds of a run, and then stands in its plan.json.

That is the batch size, the format of the cache, and how many epochs the time suffices for.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice

import numpy as np
import torch
from tqdm import tqdm

from kitsolve.data.cache import choose_format, free_bytes
from kitsolve.data.sampling import sample_rows
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Run, is_recorded
from kitsolve.inference.bundle import TTA
from kitsolve.inference.ensemble import one_member
from kitsolve.inference.loop import iter_probs
from kitsolve.inference.members import Member
from kitsolve.recipe import Recipe
from kitsolve.training.distributed import Machine, share
from kitsolve.training.job import FoldData, FoldJob, Labelled, Settled, plan_fold, split_fold
from kitsolve.training.pseudo import add_pseudo
from kitsolve.training.start import open_images, read_batches, start_training
from kitsolve.training.step import add_parts, train_step
from kitsolve.workspace import Workspace, locked, read_json, write_sealed

SMALLEST_BATCH, LARGEST_BATCH, BATCH_ON_CPU = 8, 512, 32
LEAST_STEPS = 20
"""Steps that an epoch has at least where the batch size is found."""
WARM_STEPS, TIMED_STEPS, TIMED_IMAGES = 3, 8, 64
RESERVE = 0.9
"""Share of the time that is planned with."""


@dataclass(frozen=True)
class Pace:
    """Seconds for a step of the training, and for one view of a validation image."""

    step_s: float
    image_s: float


def settle_fold(
    workspace: Workspace,
    run: Run,
    labelled: Labelled,
    fold: int,
    *,
    machine: Machine,
    left_s: float = math.inf,
    limit_s: float = math.inf,
) -> FoldJob:
    """A fold's data and choices, with what was settled for the run before, else now.

    Args:
        left_s: seconds for the fold.
        limit_s: the time limit that this is a share of.
    """
    data = split_fold(labelled, fold)
    if run.recipe.pseudo:
        data = add_pseudo(workspace, run, data)
    settled = read_settled(run) if is_recorded(run) else None
    job = plan_fold(
        workspace,
        run,
        data,
        labelled.judge,
        machine=machine,
        settled=settled or _settle_images(workspace, run, data, machine),
    )
    if settled is not None:
        return job
    if run.recipe.batch_size == "auto" and machine.device.type == "cuda":
        size = find_batch_size(len(data.train), lambda size: fits_memory(job, size))
        tqdm.write(f"batch_size = {size * machine.world}: fits the memory of {machine.device}", file=sys.stderr)
        job = replace(job, settled=replace(job.settled, batch_size=size * machine.world))
    if math.isfinite(left_s):
        shortened = shorten(job, measure_pace(workspace, job), left_s)
        job = replace(job, settled=replace(shortened, limit_s=limit_s if math.isfinite(limit_s) else None))
    return replace(job, settled=share(lambda: job.settled, machine))


def read_settled(run: Run) -> Settled | None:
    """What was settled for the run before.

    Raises:
        KitsolveError: plan.json is damaged.
    """
    path = run.folder / "plan.json"
    if not path.is_file():
        return None
    hint = f"bring it back from a copy, or train the run anew: --run {run.name} --force."
    values = read_json(path, hint=hint)
    try:
        return Settled(**values)
    except TypeError as error:
        raise KitsolveError(f"{path} is damaged: {error}.", hint) from error


def write_settled(run: Run, settled: Settled) -> Settled:
    """Write plan.json, once; gives what it holds: another process may have settled the run at the same time.

    Raises:
        KitsolveError: that one was given another time limit.
    """
    with locked(run.folder.parent / ".locks" / f"{run.name}-plan", doing="planning the run", waits=True):
        known = read_settled(run)
        if known is None:
            write_sealed(run.folder / "plan.json", asdict(settled))
            return settled
    if known.limit_s != settled.limit_s and known.epochs != settled.epochs:
        raise KitsolveError(
            f"another process has planned run {run.name} with {known.epochs:.3g} epochs, not {settled.epochs:.3g}.",
            hint="give the same --time-limit for all folds of a run.",
        )
    return known


def _settle_images(workspace: Workspace, run: Run, data: FoldData, machine: Machine) -> Settled:
    """The batch size that the recipe says, or a first one; the cache; all epochs."""
    recipe, channels = run.recipe, run.competition.image.channels
    chosen = choose_format(
        recipe.cache, count=len(data.paths), channels=channels, size=recipe.size, free_bytes=free_bytes(workspace)
    )
    automatic = BATCH_ON_CPU if machine.device.type == "cpu" else SMALLEST_BATCH * machine.world
    return Settled(automatic if recipe.batch_size == "auto" else recipe.batch_size, chosen, float(recipe.epochs))


def find_batch_size(rows: int, fits: Callable[[int], bool]) -> int:
    """The largest power of two of which a step fits into the memory and an epoch keeps some steps.

    lr stays as it is: a recipe whose batch grows wants a higher one.
    """
    size = SMALLEST_BATCH
    while 2 * size <= min(LARGEST_BATCH, rows // LEAST_STEPS) and fits(2 * size):
        size *= 2
    return size


def fits_memory(job: FoldJob, size: int) -> bool:
    """Whether one process's step with `size` images does; the others, which try sizes of their own, have no part."""
    job = replace(job, machine=replace(job.machine, rank=0, world=1))
    state = start_training(job)
    height, width = job.preprocessing.image_size
    images = torch.zeros((size, height, width, job.preprocessing.channels), dtype=torch.uint8)
    rows = job.data.train[:1].repeat(size)
    beside = [] if job.data.features is None else [torch.as_tensor(job.data.features[rows])]
    try:
        add_parts(job, state, [images, torch.as_tensor(job.data.learned[rows]), *beside])
        state.optimizer.step()
    except torch.OutOfMemoryError:
        return False
    finally:
        del state
        torch.cuda.empty_cache()
    return True


def measure_pace(workspace: Workspace, job: FoldJob) -> Pace:
    """Train a few steps and predict a few images, on a state that is thrown away."""
    state, images = start_training(job), open_images(workspace, job)
    state.model.train()
    batches = read_batches(job, images)
    for batch in islice(batches, WARM_STEPS):
        train_step(job, state, batch, lr=job.recipe.lr)
    started, steps = time.perf_counter(), 0
    for batch in islice(batches, TIMED_STEPS):
        float(train_step(job, state, batch, lr=job.recipe.lr))
        steps += 1
    step_s = (time.perf_counter() - started) / max(1, steps)
    # By lot: the first images of a table may be all of one size.
    rows = sample_rows(np.zeros(len(job.data.paths)), TIMED_IMAGES, seed=job.seed)
    paths = [os.fsdecode(path) for path in job.data.paths[rows]]
    features = None if job.data.features is None else job.data.features[rows]
    member = Member(state.model.eval(), job.preprocessing, TTA["none"], job.dtype, activation=job.activation)
    started = time.perf_counter()
    batches_of_probs = iter_probs(
        [one_member(member, job.machine.device, batch_size=job.settled.batch_size)],
        paths,
        features=features,
        workers=max(1, job.machine.workers),
    )
    deque(batches_of_probs, maxlen=0)
    return Pace(step_s, (time.perf_counter() - started) / len(paths))


def shorten(job: FoldJob, pace: Pace, left_s: float) -> Settled:
    """What was settled, with as many epochs as fit into the time."""
    epochs = plan_epochs(
        job.recipe,
        pace,
        left_s=left_s,
        steps_per_epoch=job.schedule().steps_per_epoch,
        val_rows=len(job.data.val),
    )
    if epochs < job.recipe.epochs:
        text = f"time limit: {epochs:.3g} of {job.recipe.epochs} epochs fit ({1000 * pace.step_s:.0f} ms a step)"
        tqdm.write(text, file=sys.stderr)
    return replace(job.settled, epochs=epochs)


def plan_epochs(recipe: Recipe, pace: Pace, *, left_s: float, steps_per_epoch: int, val_rows: int) -> float:
    """How many epochs fit into a fold's time, with a validation after each and the OOF of all views at the end.

    Whole ones; where not even one fits, the part of one that does, at least a step.
    """
    room = RESERVE * left_s - len(recipe.views) * val_rows * pace.image_s
    epoch_s = steps_per_epoch * pace.step_s + val_rows * pace.image_s
    if room >= epoch_s:
        return float(min(recipe.epochs, int(room // epoch_s)))
    steps = int((room - val_rows * pace.image_s) / pace.step_s)
    return max(1, steps) / steps_per_epoch
