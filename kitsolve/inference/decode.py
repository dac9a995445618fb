"""The ensemble's outputs become predictions: labels, probabilities, ranks or values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kitsolve.inference.bundle import Decoder

Predictions = NDArray[Any]
FORMS = {
    "label": "labels",
    "probability": "probs",
    "class_probabilities": "probs",
    "label_list": "labels",
    "top_k": "ranking",
    "value": "values",
}
"""Kind of submission -> the form of predictions that it shows."""


def decode(outputs: np.ndarray, decoder: Decoder, form: str) -> Predictions:
    """Predictions of the activated outputs.

    Args:
        outputs: (rows, outputs): probabilities of the classes (softmax) or labels (sigmoid); of an ordinal task
            P(class > k) for k = 0..classes-2; of a regression one number.
        form: "probs": (rows, classes) float64. "labels": (rows,) class indices, or (rows, labels) bool of a multilabel
            task. "values": (rows,) float64. "ranking": (rows, top_k) class indices, best first, in which the number of
            classes stands for the unknown label.
    """
    if form == "labels":
        return _label(outputs, decoder)
    if form == "ranking":
        return _rank(outputs, decoder)
    exact: Predictions = outputs.astype(np.float64)
    if form == "probs":
        return _normalise_probs(exact, decoder)
    low, high = decoder.bounds or (-np.inf, np.inf)
    return np.asarray(np.clip(decoder.scale[0] + decoder.scale[1] * exact.sum(axis=1), low, high))


def decode_for_hook(outputs: np.ndarray, decoder: Decoder) -> Predictions:
    """What the `submission` of a competition's own prepare.py is handed, float: (rows, columns).

    Probabilities of the classes or labels as they are; of an ordinal task those of the classes, in the place of
    P(class > k); of a regression one column of values in the target's unit, within its bounds.
    """
    if decoder.task == "ordinal":
        return decode(outputs, decoder, "probs")
    return decode(outputs, decoder, "values")[:, None] if decoder.task == "regression" else outputs


def _label(outputs: Predictions, decoder: Decoder) -> Predictions:
    if decoder.task == "ordinal":
        cuts = decoder.thresholds or np.arange(outputs.shape[1]) + 0.5
        return np.asarray(np.searchsorted(np.asarray(cuts), outputs.sum(axis=1)))
    if decoder.task == "multilabel":
        return np.asarray(outputs > (decoder.thresholds or (0.5,)))
    if decoder.task == "binary" and decoder.thresholds:
        return (outputs[:, 1] > decoder.thresholds[0]).astype(np.int64)
    return np.asarray(outputs.argmax(axis=1))


def _normalise_probs(outputs: Predictions, decoder: Decoder) -> Predictions:
    low, high = decoder.clip, 1 - decoder.clip
    if decoder.task == "multilabel":
        return outputs.clip(low, high)
    if decoder.task == "ordinal":  # P(class > k) falls with k where a model is of one mind
        falling = np.minimum.accumulate(outputs, axis=1)
        edges = np.column_stack([np.ones(len(falling)), falling, np.zeros(len(falling))])
        outputs = edges[:, :-1] - edges[:, 1:]
    # Rows must sum to 1 more exactly than float32 has digits for.
    clipped = (outputs / outputs.sum(axis=1, keepdims=True)).clip(low, high)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))


def _rank(probs: np.ndarray, decoder: Decoder) -> Predictions:
    """The most probable classes, best first; the unknown label stands before those below its threshold."""
    k = min(decoder.top_k, probs.shape[1] + bool(decoder.thresholds))
    if decoder.thresholds:
        probs = np.column_stack([probs, np.full(len(probs), decoder.thresholds[0])])
    best = np.argpartition(-probs, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(probs, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)
