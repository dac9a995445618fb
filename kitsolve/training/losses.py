"""What a task minimises."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss


def compute_loss(logits: Tensor, targets: Tensor, *, activation: str, smoothing: float = 0.0) -> Tensor:
    """Mean loss of a batch: cross-entropy for softmax, binary cross-entropy for sigmoid, else the squared error.

    Args:
        logits: (rows, outputs) float32.
        targets: (rows,) int64 classes for softmax, else (rows, outputs), within [0, 1] for sigmoid.
        smoothing: share of every target that goes to all classes alike (softmax), or to 0.5 (sigmoid).
    """
    if activation == "softmax":
        return cross_entropy(logits, targets, label_smoothing=smoothing)
    targets = targets.float()
    if activation == "sigmoid":
        return binary_cross_entropy_with_logits(logits, targets * (1 - smoothing) + smoothing / 2)
    return mse_loss(logits, targets)


def loss_of_outputs(outputs: NDArray[Any], targets: NDArray[Any], *, activation: str) -> float:
    """The same loss of activated outputs, without smoothing; probabilities are clipped at 1e-7."""
    if activation == "identity":
        return float(((outputs - targets) ** 2).mean())
    probs = outputs.astype(np.float64).clip(1e-7, 1 - 1e-7)
    if activation == "softmax":
        return float(-np.log(probs[np.arange(len(targets)), targets]).mean())
    return float(-(targets * np.log(probs) + (1 - targets) * np.log(1 - probs)).mean())
