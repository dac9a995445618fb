"""Several runs' outputs become one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from kitsolve.inference.bundle import Blend

LEAST = 1e-7
"""No float32 is nearer to 1 than 6e-8; the same at 0, so that no run can veto a class."""


def combine(outputs: Sequence[Any], blend: Blend, *, activation: str) -> Any:  # noqa: ANN401  (arrays, or sparse ones)
    """The runs' outputs as one: the weighted mean of them, of their logarithms or of their ranks.

    Of sigmoids "geometric" takes the mean of the logits, which is the geometric mean of yes and of no, divided by their
    sum, as it does of a softmax's classes.

    Args:
        outputs: (rows, outputs) of each run, activated; sparse ones for "mean" and "weighted".

    Returns:
        (rows, outputs) in the range of the activation; of "rank" in [0, 1].
    """
    if blend.method == "rank":
        outputs = [_take_ranks(own, grid) for own, grid in zip(outputs, blend.quantiles, strict=True)]
    if blend.method == "geometric":
        outputs = [_to_logits(own, activation) for own in outputs]
    mixed = reduce(add, (own * np.float32(w) for own, w in zip(outputs, blend.weights, strict=True) if w))
    return _from_logits(mixed, activation) if blend.method == "geometric" else mixed


def _to_logits(outputs: np.ndarray, activation: str) -> np.ndarray:
    """The inverse of `_from_logits`; of a softmax up to a constant for each row."""
    logits = np.log(outputs.clip(LEAST, 1))
    return np.asarray(logits - np.log((1 - outputs).clip(LEAST, 1)) if activation != "softmax" else logits)


def _from_logits(logits: np.ndarray, activation: str) -> np.ndarray:
    if activation != "softmax":
        return np.asarray(1 / (1 + np.exp(-logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _take_ranks(outputs: np.ndarray, quantiles: Sequence[Sequence[float]]) -> np.ndarray:
    """(rows, outputs) float32, the share of the fitted rows below each value; of rows that are equal half."""
    ranks = np.empty(outputs.shape, dtype=np.float32)
    shares = np.linspace(0, 1, len(quantiles[0]))
    for column, grid in enumerate(quantiles):
        values, places = np.unique(grid, return_inverse=True)
        ranks[:, column] = np.interp(outputs[:, column], values, np.bincount(places, shares) / np.bincount(places))
    return ranks
