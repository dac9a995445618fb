"""`kitsolve lr`: the loss while the learning rate rises, a picture of it, and a suggestion.

The range test of Smith 2015 (arXiv:1506.01186).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Run
from kitsolve.pictures.charts import draw_curve
from kitsolve.pictures.drawing import Heading
from kitsolve.training.distributed import Machine
from kitsolve.training.job import FoldJob, read_labelled
from kitsolve.training.settle import settle_fold
from kitsolve.training.start import open_images, read_batches, start_training
from kitsolve.training.step import train_step
from kitsolve.workspace import Workspace, write_whole

LOWEST, HIGHEST = 1e-6, 1.0
STEPS = 100
SMOOTHING = 3.0
"""Standard deviation, in steps, of the weights with which neighbouring losses are averaged."""
EXPLODED = 4.0
"""The test ends where the loss is this times its lowest mean."""


@dataclass(frozen=True)
class LrRange:
    """The learning rates that were tried, the mean loss around each, and what they suggest for `lr`."""

    lrs: list[float]
    losses: list[float]
    suggested: float
    picture: Path


def find_lr(workspace: Workspace, run: Run, machine: Machine, *, steps: int = STEPS) -> LrRange:
    """Train the first fold for a few steps, each with a higher learning rate; nothing of it is kept.

    Raises:
        KitsolveError: the loss never falls.
    """
    labelled = read_labelled(workspace, run.competition)
    lasting = replace(run, recipe=run.recipe.model_copy(update={"epochs": 10_000}))  # as many batches as the test wants
    job = settle_fold(workspace, lasting, labelled, int(labelled.folds.min()), machine=machine)
    lrs, losses = _raise_lr(workspace, job, steps)
    smooth = smooth_losses(losses)
    suggested = suggest_lr(lrs[: len(smooth)], smooth)
    title = f"{run.competition.title}: lr range of {run.recipe.backbone}"
    note = f"mean loss over {len(smooth)} steps of rising lr  ·  the line marks lr = {suggested:.1e}"
    names = ("lr as a power of 10", "loss")
    picture = draw_curve(
        np.log10(lrs[: len(smooth)]), smooth, Heading(title, note), names=names, mark=math.log10(suggested)
    )
    path = workspace.pictures(run.competition.slug) / f"lr-{run.recipe_name}.png"
    write_whole(path, partial(picture.save, format="PNG"))
    return LrRange(lrs[: len(smooth)].tolist(), smooth.tolist(), suggested, path)


def _raise_lr(workspace: Workspace, job: FoldJob, steps: int) -> tuple[NDArray[np.float64], list[float]]:
    state, images = start_training(job), open_images(workspace, job)
    state.model.train()
    lrs, losses = np.geomspace(LOWEST, HIGHEST, steps), []
    batches = islice(read_batches(job, images), steps)
    for lr, batch in zip(tqdm(lrs, desc="lr range", unit="step", leave=False, disable=None), batches, strict=True):
        losses.append(float(train_step(job, state, batch, lr=float(lr))))
        state.step += 1
        if not losses[-1] <= EXPLODED * smooth_losses(losses).min(initial=math.inf):
            break
    return lrs, losses


def smooth_losses(losses: Sequence[float]) -> NDArray[np.float64]:
    """The losses up to the first that is no number, each averaged with its neighbours; a running mean would lag."""
    finite = list(itertools.takewhile(math.isfinite, losses))
    return np.asarray(gaussian_filter1d(finite, SMOOTHING, mode="nearest")) if finite else np.zeros(0)


def suggest_lr(lrs: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    """Where the loss falls most steeply over the logarithm of lr, before its lowest point.

    Raises:
        KitsolveError: it never falls.
    """
    lowest = int(losses.argmin()) if len(losses) else 0
    if lowest < 2:
        raise KitsolveError(
            "the loss falls at no learning rate.", hint="look at the labels with `kitsolve show`, or take more --steps."
        )
    slopes = np.gradient(losses[: lowest + 1], np.log(lrs[: lowest + 1]))
    return float(lrs[int(slopes.argmin())])
