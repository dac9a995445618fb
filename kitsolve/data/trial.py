"""A metric of one's own scores made-up predictions, so that what is wrong with it shows before a training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kitsolve.data.targets import Targets
from kitsolve.errors import KitsolveError
from kitsolve.hooks import OwnMetric
from kitsolve.inference.bundle import Decoder
from kitsolve.inference.decode import decode
from kitsolve.metrics import Metric

SURE = 0.9
"""How near the made-up outputs are to the truth; a logarithm of 0 is no fault of the metric."""
MOST_NUMBERS = 10_000_000
"""Outputs that are made up: with thousands of classes only some rows of a fold."""


def try_metric(metric: Metric, targets: Targets, plain: Decoder, folds: NDArray[np.int64]) -> list[str]:
    """Score outputs near the truth, fold by fold as a training will, and all together the same ones shuffled.

    Metrics of the house are not tried.

    Args:
        plain: the decoder that has nothing fitted.
        folds: (rows,) of the targets.

    Returns:
        What a user should know, a sentence each.

    Raises:
        KitsolveError: see hooks.OwnMetric; or shuffled predictions score better than nearly right ones.
    """
    if not isinstance(metric.score, OwnMetric):
        return []
    most = max(2, MOST_NUMBERS // len(targets.output_names) // len(np.unique(folds)))
    parts = [np.flatnonzero(folds == fold)[:most] for fold in np.unique(folds)]
    rows = np.concatenate(parts)
    outputs, shuffled = _make_outputs(targets, rows), np.random.default_rng(0).permutation(len(rows))

    def score(own: NDArray[np.int64], predicted: NDArray[Any]) -> float:
        return metric.score(targets.scored[own], decode(predicted, plain, metric.wants))

    for part, end in zip(parts, np.cumsum([len(part) for part in parts]), strict=True):
        score(part, outputs[end - len(part) : end])
    right, wrong = score(rows, outputs), score(rows, outputs[shuffled])
    if metric.is_better(wrong, right):
        raise KitsolveError(
            f"metric in {metric.score.path} gives {right:.5g} for nearly right predictions and {wrong:.5g} for "
            f"shuffled ones, and says greater_is_better = {metric.greater_is_better}.",
            hint=f"write `metric.greater_is_better = {not metric.greater_is_better}`, or correct what it compares.",
        )
    if wrong == right and len(np.unique(targets.scored[rows], axis=0)) > 1:
        return [f"metric in {metric.score.path} gives {right:.5g} for nearly right and for shuffled predictions alike."]
    return []


def _make_outputs(targets: Targets, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(rows, outputs) activated, near the truth: a tenth of the way to the mean, or to what says nothing."""
    learned, count = targets.learned[rows], len(targets.output_names)
    if learned.ndim == 1:  # the unknown label is none of the columns
        learned = np.eye(count + 1, count, dtype=np.float32)[learned]
    if targets.task == "regression":
        nothing: Any = learned.mean(axis=0)
    else:
        nothing = 1 / count if targets.activation == "softmax" else 0.5
    return np.asarray(SURE * learned + (1 - SURE) * nothing, dtype=np.float32)
