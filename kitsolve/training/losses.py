"""What a task minimises."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, smooth_l1_loss

FOCUS = 2.0


def compute_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    activation: str,
    kind: str = "auto",
    smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean loss of a batch: cross-entropy for softmax, binary cross-entropy for sigmoid, else the squared error.

    Args:
        logits: (rows, outputs) float32.
        targets: (rows,) int64 classes for softmax, else (rows, outputs), within [0, 1] for softmax and sigmoid.
        kind: "focal" makes rows count less the better they are predicted, by (1 - p)**2 (Lin et al. 2017,
            arXiv:1708.02002); "smooth_l1" takes the distance of the activated outputs where it is large, else its
            square.
        smoothing: share of every target that goes to all classes alike (softmax), or to 0.5 (sigmoid).
        weights: (outputs,) of the classes, for softmax and sigmoid.
    """
    if kind == "smooth_l1":
        return smooth_l1_loss(logits.sigmoid() if activation == "sigmoid" else logits, targets.float())
    if activation == "softmax":
        return _softmax_loss(logits, targets, focal=kind == "focal", smoothing=smoothing, weights=weights)
    targets = targets.float()
    if activation == "identity":
        return mse_loss(logits, targets)
    smooth = targets * (1 - smoothing) + smoothing / 2
    losses = binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights, reduction="none")
    if kind == "focal":
        probs = logits.sigmoid()
        losses = losses * (probs * (1 - targets) + (1 - probs) * targets) ** FOCUS
    return losses.mean()


def _softmax_loss(logits: Tensor, targets: Tensor, *, focal: bool, smoothing: float, weights: Tensor | None) -> Tensor:
    if not focal:
        return cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
    losses = cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="none")
    probs = logits.softmax(1)
    right = probs.gather(1, targets[:, None])[:, 0] if targets.ndim == 1 else (probs * targets).sum(1)
    return (losses * (1 - right) ** FOCUS).mean()


def loss_of_outputs(outputs: NDArray[Any], targets: NDArray[Any], *, activation: str) -> float:
    """The plain loss of activated outputs; probabilities are clipped at 1e-7."""
    if activation == "identity":
        return float(((outputs - targets) ** 2).mean())
    probs = outputs.astype(np.float64).clip(1e-7, 1 - 1e-7)
    if activation == "softmax" and targets.ndim == 2:
        return float(-(targets * np.log(probs)).sum(axis=1).mean())
    if activation == "softmax":
        return float(-np.log(probs[np.arange(len(targets)), targets]).mean())
    return float(-(targets * np.log(probs) + (1 - targets) * np.log(1 - probs)).mean())


def balance_classes(targets: NDArray[Any], outputs: int) -> NDArray[np.float32]:
    """(outputs,) weights that make all classes count alike: rows / (classes * rows of the class).

    Of sets, (rows, labels), the weight of a label's positives: rows without it / rows with it. A class without a row
    has the weight of a class with one.
    """
    if targets.ndim == 2:
        positives = np.maximum(targets.sum(axis=0, dtype=np.float64), 1)
        return np.asarray(((len(targets) - positives) / positives).clip(min=1e-3), dtype=np.float32)
    counts = np.maximum(np.bincount(targets, minlength=outputs), 1)
    return (len(targets) / (outputs * counts)).astype(np.float32)


def as_tensor(weights: NDArray[np.float32] | None, device: torch.device) -> Tensor | None:
    """The weights on a device."""
    return None if weights is None else torch.from_numpy(weights).to(device)
