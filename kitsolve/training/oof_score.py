"""Why the score of a fold's OOF is not the one that was printed after its epoch."""

from __future__ import annotations

import math

import torch

from kitsolve.evaluation.runs import name_fold
from kitsolve.training.job import FoldJob
from kitsolve.workspace import read_csv


def read_epoch_score(job: FoldJob, epoch: int) -> float | None:
    """The score that history.csv has for a 0-based epoch; None where the fold validates nothing."""
    cell = read_csv(job.folder / "history.csv").score[epoch] if len(job.data.val) else ""
    return float(cell) if cell and math.isfinite(float(cell)) else None


def list_differences(job: FoldJob) -> list[str]:
    """What the prediction of the OOF does otherwise than that after an epoch, each a few words."""
    recipe, found = job.recipe, []
    if recipe.soup > 1:
        found.append("the mean of the best epochs' weights")
    if len(recipe.views) > 1:
        found.append(f"the mean of {len(recipe.views)} views")
    elif recipe.views != ("identity",):
        found.append(f"the view {recipe.views[0]}")
    if job.settled.cache == "jpeg":
        found.append("the original files in place of the JPEG cache")
    if job.dtype is not torch.float32:
        found.append(f"another rounding ({str(job.dtype).removeprefix('torch.')} in merged layers)")
    if recipe.compile:
        found.append("no torch.compile")
    return found


def describe_fold(job: FoldJob, *, epoch: int, epoch_score: float | None, score: float | None) -> str | None:
    """A line about the fold's OOF score beside that of its epoch, with what differs; None where there is no score.

    Args:
        epoch: 0-based.
    """
    if score is None or epoch_score is None:
        return None
    line = f"fold {name_fold(job.data.fold)}  OOF {job.run.competition.metric} {score:.5f}"
    if f"{score:.5f}" != f"{epoch_score:.5f}":
        why = ", ".join(list_differences(job)) or "another rounding (merged layers)"
        line += f", after epoch {epoch + 1} it was {epoch_score:.5f}: the OOF takes {why}"
    if job.judge.fits:
        line += "; thresholds and the like are fitted to these same rows, in the CV to those of the other folds"
    return line
