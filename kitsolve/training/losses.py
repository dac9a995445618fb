"""What a task minimises."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, smooth_l1_loss

from kitsolve.inference.models import COSINE_SCALE

FOCUS = 2.0


def compute_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    activation: str,
    kind: str = "auto",
    smoothing: float = 0.0,
    weights: Tensor | None = None,
    margin: float = 0.0,
) -> Tensor:
    """Mean loss of a batch: cross-entropy for softmax, binary cross-entropy for sigmoid, else the squared error.

    Args:
        logits: (rows, outputs) float32.
        targets: (rows,) int64 classes for softmax, else (rows, outputs), within [0, 1] for softmax and sigmoid.
        kind: "focal" makes rows count less the better they are predicted, by (1 - p)**2 (Lin et al. 2017,
            arXiv:1708.02002); "smooth_l1" takes the distance of the activated outputs where it is large, else its
            square; "corn" and "arcface": see below.
        smoothing: share of every target that goes to all classes alike (softmax), or to 0.5 (sigmoid).
        weights: (outputs,) of the classes, for softmax and sigmoid.
        margin: of arcface, in radians.
    """
    if kind == "smooth_l1":
        return smooth_l1_loss(logits.sigmoid() if activation == "sigmoid" else logits, targets.float())
    if kind == "arcface":
        logits = add_margin(logits, targets, margin)
    if activation == "corn":
        return _corn_loss(logits, targets.float())
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


def add_margin(logits: Tensor, targets: Tensor, margin: float) -> Tensor:
    """A cosine head's logits with the angle to the true class widened by `margin` (ArcFace, arXiv:1801.07698).

    Of soft targets every angle is widened by its share. Beyond 180 degrees the cosine falls no further.
    """
    shares = targets.float() if targets.ndim == 2 else torch.nn.functional.one_hot(targets, logits.shape[1])
    angles = (logits / COSINE_SCALE).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    return COSINE_SCALE * (angles + margin * shares).clamp(max=torch.pi).cos()


def _corn_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Each logit learns P(class > k) on the rows of a class above k - 1 (CORN, arXiv:2111.08851).

    Args:
        targets: (rows, outputs) P(class > k); soft ones weigh the rows.
    """
    above = torch.cat([torch.ones_like(targets[:, :1]), targets[:, :-1]], dim=1)
    conditional = targets / above.clamp(min=1e-6)
    losses = binary_cross_entropy_with_logits(logits, conditional.clamp(max=1), reduction="none")
    return (above * losses).sum() / above.sum().clamp(min=1e-6)


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
