"""After an epoch: the validation rows' score, by the code that Kaggle runs; after the last one the fold's OOF."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import nn

from kitsolve.data.cache import ScaledImages
from kitsolve.errors import translated
from kitsolve.evaluation.decoding import fit_decoder
from kitsolve.evaluation.last_epochs import LAST_OOF
from kitsolve.evaluation.oof import Oof, Outputs, iter_dense, spread_rest, stack_outputs, write_oof
from kitsolve.inference.bundle import TTA
from kitsolve.inference.ensemble import one_member
from kitsolve.inference.images import read_as
from kitsolve.inference.loop import iter_probs
from kitsolve.inference.members import Member, load_member
from kitsolve.training.checkpoint import TrainState, save_best
from kitsolve.training.distributed import Machine, gather_outputs
from kitsolve.training.epochs import is_best
from kitsolve.training.job import FoldData, FoldJob, fold_spec
from kitsolve.training.losses import loss_of_outputs

MOST_CLASSES_SHOWN = 200
BEST, LAST = "best.safetensors", "last.safetensors"
"""The state_dict that a fold leaves, and that of its last epoch where it is another, until the fold is done."""


def evaluate_epoch(job: FoldJob, state: TrainState, images: ScaledImages, *, images_per_s: float) -> np.ndarray | None:
    """Score the validation rows, keep the state_dict that the recipe's `best_epoch` wants, add a line to the history.

    Without validation rows the newest epoch counts as the best. Of "common" see common_epoch.py.

    Args:
        images: where the scaled images come from. What comes from a JPEG cache compares epochs well enough; the OOF
            comes from the files.

    Returns:
        (classes, classes) counts, true class by row, predicted class by column; None where a picture of them says
        nothing.
    """
    data, metric, choice = job.data, job.judge.metric, job.recipe.best_epoch
    outputs = predict_epoch(job, state.evaluated, images) if len(data.val) else None
    rated = {"val_loss": math.nan, "score": math.nan} if outputs is None else rate_outputs(job, outputs)
    best = outputs is None or is_best(metric, rated, state.history)
    state.history.append(
        {
            "epoch": len(state.history),
            "lr": state.optimizer.param_groups[0]["lr"],
            "train_loss": state.loss_sum.item() / (state.step - state.epoch_start),
            **rated,
            "best": best,
            "images_per_s": round(images_per_s, 1),
        }
    )
    state.loss_sum.zero_()
    state.epoch_start = state.step
    if best:
        state.best_score = rated["score"]
    if job.machine.leads and (choice == "last" or (best and choice == "per_fold")):
        save_best(state.evaluated, job.folder / BEST)
    return None if outputs is None else _count_confusion(job, outputs)


def predict_epoch(job: FoldJob, model: nn.Module, images: ScaledImages) -> Outputs:
    """(validation rows, outputs) activated, of one view: enough to compare epochs."""
    member = Member(model.eval(), job.preprocessing, TTA["none"], job.dtype, activation=job.activation)
    with translated(job.image_hint):
        return _predict_own_rows(job, member, images)


def predict_validation(job: FoldJob, file: str) -> Outputs:
    """(validation rows, outputs) by a state_dict, from the original files with all views, as a bundle does."""
    spec = fold_spec(job.run, job.data.fold, job.data.targets, num_features=job.data.num_features)
    with translated('lower lr, or set precision = "float32", and train the fold anew.'):
        member = load_member(replace(spec, file=file), job.folder, job.machine.device)
    with translated(job.image_hint):
        return _predict_own_rows(job, member)


def _predict_own_rows(job: FoldJob, member: Member, images: ScaledImages | None = None) -> Outputs:
    size, whole = job.settled.batch_size, job.judge.needs_all
    return predict_rows(member, job.data, job.machine, batch_size=size, whole=whole, images=images)


def predict_rows(
    member: Member,
    data: FoldData,
    machine: Machine,
    *,
    batch_size: int,
    whole: bool,
    images: ScaledImages | None = None,
) -> Outputs:
    """(validation rows, outputs) by a model; each of several processes predicts its part.

    Args:
        whole: every output counts; see Judge.needs_all.
        images: where scaled images come from; None: the original files.
    """
    part = slice(machine.rank, None, machine.world)
    rows: Any = data.val_paths[part] if images is None else data.val[part]
    if not len(rows):
        return gather_outputs(None, machine)
    batches = iter_probs(
        [one_member(member, machine.device, batch_size=batch_size)],
        rows,
        features=None if data.features is None else data.features[data.val[part]],
        workers=max(1, machine.workers),
        read=read_as if images is None else lambda row, preprocessing: images.read(row),
    )
    return gather_outputs(stack_outputs(batches, whole=whole), machine)


def rate_outputs(job: FoldJob, outputs: Outputs) -> dict[str, float]:
    """What tells epochs apart: the validation rows' `score`, and between equal ones their plain `val_loss`."""
    return {"val_loss": _mean_loss(job, outputs), "score": score_validation(job, outputs)}


def score_validation(job: FoldJob, outputs: Outputs) -> float:
    """The competition's metric of the validation rows; thresholds and the like are fitted on these same rows.

    It compares epochs. The CV score fits them on the other folds' rows.
    """
    targets = job.data.targets.scored[job.data.val]
    hint = 'where a class has no row in this fold: folds.scheme = "stratified" or a lower folds.count; '
    with translated(f"{hint}where the loss exploded (`kitsolve board {job.run.competition.slug}`): a lower lr."):
        return job.judge.score(targets, outputs, fit_decoder(job.judge, targets, outputs))


def _mean_loss(job: FoldJob, outputs: Outputs) -> float:
    """The plain loss of the validation rows that have a known label; of sparse outputs with `spread_rest`."""
    known = job.data.targets.known[job.data.val]
    outputs, targets = outputs[known], job.data.targets.learned[job.data.val][known]
    losses, counts = [], []
    for rows, part in iter_dense(outputs):
        probs = spread_rest(part, job.activation) if isinstance(outputs, csr_array) else part
        losses.append(loss_of_outputs(probs, targets[rows], activation=job.activation))
        counts.append(len(part))
    return float(np.average(losses, weights=counts))


def _count_confusion(job: FoldJob, outputs: Outputs) -> NDArray[np.int64] | None:
    classes, targets = outputs.shape[1], job.data.targets
    if job.activation != "softmax" or classes > MOST_CLASSES_SHOWN:
        return None
    known = targets.known[job.data.val]
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (targets.values[job.data.val][known], outputs[known].argmax(axis=1)), 1)
    return confusion


def write_fold_oof(job: FoldJob) -> float | None:
    """Write what best.safetensors predicts as the fold's oof.csv, and what the last epoch does where it was kept.

    Returns:
        The former's score, None where the fold validates nothing.
    """
    if not len(job.data.val):
        return None
    outputs = predict_validation(job, BEST)
    _write_outputs(job, outputs, "oof.csv")
    if (job.folder / LAST).is_file():
        _write_outputs(job, predict_validation(job, LAST), LAST_OOF)
    return score_validation(job, outputs)


def _write_outputs(job: FoldJob, outputs: Outputs, name: str) -> None:
    data = job.data
    if job.machine.leads:
        oof = Oof(data.image_ids[data.val], np.full(len(data.val), data.fold), outputs)
        write_oof(job.folder / name, oof, data.targets.output_names)
