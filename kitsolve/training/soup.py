"""A greedy soup: the mean of the state_dicts of the best epochs, as long as it scores no worse (arXiv:2203.05482)."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from kitsolve.data.cache import ScaledImages
from kitsolve.evaluation.runs import name_fold
from kitsolve.training.checkpoint import TrainState, save_best
from kitsolve.training.epochs import Line, rank_epoch
from kitsolve.training.job import FoldJob
from kitsolve.training.validation import predict_epoch, rate_outputs

Weights = dict[str, Tensor]


def keep_ingredient(job: FoldJob, state: TrainState) -> None:
    """Keep the newest epoch's state_dict where it is among the best so far; those that are no more are removed."""
    if job.recipe.soup == 1 or not job.machine.leads:
        return
    best = rank_epochs(job, state)
    newest = len(state.history) - 1
    if newest in best:
        save_best(state.evaluated, ingredient(job.folder, newest))
    for epoch in range(newest):
        if epoch not in best:
            ingredient(job.folder, epoch).unlink(missing_ok=True)


def ingredient(folder: Path, epoch: int) -> Path:
    """Where an epoch's state_dict is kept until the end of the training."""
    return folder / f"epoch_{epoch}.safetensors"


def rank_epochs(job: FoldJob, state: TrainState) -> list[int]:
    """The epochs that may go into the soup, the best first; without validation the last ones."""
    epochs = [line["epoch"] for line in state.history]
    if not len(job.data.val):
        return epochs[::-1][: job.recipe.soup]
    return sorted(epochs, key=lambda epoch: rank_epoch(job.judge.metric, state.history[epoch]))[: job.recipe.soup]


def cook_soup(job: FoldJob, state: TrainState, images: ScaledImages) -> None:
    """Make best.safetensors the soup of the kept epochs, one after the other, best first.

    Without validation rows all of them are. BatchNorm's averages are means as well.
    """
    best, *others = rank_epochs(job, state)
    soup, eaten = load_file(ingredient(job.folder, best)), 1
    model, metric = state.evaluated, job.judge.metric
    rated: Line = state.history[best]
    for epoch in others:
        tried = stir(soup, load_file(ingredient(job.folder, epoch)), share=1 / (eaten + 1))
        model.load_state_dict(tried)
        found = rate_outputs(job, predict_epoch(job, model, images)) if len(job.data.val) else rated
        if rank_epoch(metric, found) <= rank_epoch(metric, rated):
            soup, rated, eaten = tried, found, eaten + 1
    model.load_state_dict(soup)
    if job.machine.leads:
        save_best(model, job.folder / "best.safetensors")
        shown = f"  {job.run.competition.metric} {rated['score']:.5f}" if len(job.data.val) else ""
        tqdm.write(f"fold {name_fold(job.data.fold)}  soup of {eaten} epochs{shown}", file=sys.stderr)


def drop_ingredients(folder: Path) -> None:
    """Remove what was kept."""
    for path in folder.glob("epoch_*.safetensors"):
        path.unlink()


def stir(soup: Weights, more: Weights, *, share: float) -> Weights:
    """Both state_dicts' mean, `more` with this share; what is no floating-point number stays as it is."""
    return {
        name: torch.lerp(tensor, more[name], share) if tensor.is_floating_point() else tensor
        for name, tensor in soup.items()
    }
