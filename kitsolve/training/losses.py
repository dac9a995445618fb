"""What a task minimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, smooth_l1_loss

from kitsolve.inference.models import COSINE_SCALE

FOCUS = 2.0


@dataclass(frozen=True)
class LossChoices:
    """What a recipe says of the loss.

    `activation`: what makes the logits outputs: cross-entropy for softmax, binary cross-entropy for sigmoid, that of
    `_corn_losses` for corn, else the squared error. `kind`: "focal" makes rows count less the better they are
    predicted, by (1 - p)**2 (Lin et al. 2017, arXiv:1708.02002); "smooth_l1" takes the distance of the activated
    outputs where it is large, else its square; "arcface" see `add_margin`, with `margin` in radians. `smoothing`: share
    of every target that goes to all classes alike (softmax), or to 0.5 (sigmoid). `weights`: (outputs,) of the classes,
    for softmax, and of the positives, for sigmoid: a row has the weight of its true class, whatever is smoothed.
    """

    activation: str
    kind: str = "auto"
    smoothing: float = 0.0
    weights: Tensor | None = None
    margin: float = 0.0


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
    """The loss of a whole batch, for choices as in LossChoices: `sum_losses` divided by `weigh_batch`.

    A batch in parts has the gradient of the whole where the sum of every part is divided by the weight of the whole.
    """
    choices = LossChoices(activation, kind, smoothing, weights, margin)
    return sum_losses(logits, targets, choices) / weigh_batch(targets, choices, outputs=logits.shape[1])


def weigh_batch(targets: Tensor, choices: LossChoices, *, outputs: int) -> Tensor:
    """What the sum of a batch's losses is divided by; it depends on the targets alone, and adds up over parts.

    Softmax: the sum of the rows' weights, so that the size of the weights does not act as a learning rate. Corn: the
    rows that each logit learns from, summed over the logits. Else: the number of targets.
    """
    if choices.activation == "corn":
        return _rows_above(targets.float()).sum()
    if choices.activation != "softmax":
        return torch.full((), float(len(targets) * outputs), device=targets.device)
    if choices.weights is None:
        return torch.full((), float(len(targets)), device=targets.device)
    return (choices.weights[targets] if targets.ndim == 1 else targets @ choices.weights.to(targets.dtype)).sum()


def sum_losses(logits: Tensor, targets: Tensor, choices: LossChoices) -> Tensor:
    """The sum of the losses of a batch's rows, or of a part's.

    It is linear in the targets of softmax (but for arcface's margin), sigmoid and corn: a row that mixes two others
    costs their losses by its shares of them (mixup, Zhang et al. 2017, arXiv:1710.09412), weights and focus included.

    Args:
        logits: (rows, outputs) float32.
        targets: (rows,) int64 classes for softmax, else (rows, outputs), within [0, 1] for softmax and sigmoid.
    """
    activation, kind = choices.activation, choices.kind
    if kind == "smooth_l1":
        outputs = logits.sigmoid() if activation == "sigmoid" else logits
        return smooth_l1_loss(outputs, targets.float(), reduction="sum")
    if activation == "corn":
        return _corn_losses(logits, targets.float()).sum()
    if activation == "softmax":
        return _softmax_losses(logits, targets, choices).sum()
    if activation == "identity":
        return mse_loss(logits, targets.float(), reduction="sum")
    return _sigmoid_losses(logits, targets.to(logits.dtype), choices).sum()


def _softmax_losses(logits: Tensor, targets: Tensor, choices: LossChoices) -> Tensor:
    """(rows,) the true class's weight times its focus times the cross-entropy with the smoothed target.

    Soft targets take the classes' losses by their shares.
    """
    if choices.kind == "arcface":
        logits = add_margin(logits, targets, choices.margin)
    costs = of_class = -logits.log_softmax(1)
    if choices.smoothing:
        of_class = costs.lerp(costs.mean(1, keepdim=True), choices.smoothing)
    if choices.kind == "focal":
        of_class = of_class * (1 - (-costs).exp()) ** FOCUS
    if choices.weights is not None:
        of_class = of_class * choices.weights
    if targets.ndim == 1:
        return of_class.gather(1, targets[:, None])[:, 0]
    return (targets * of_class).sum(1)


def _sigmoid_losses(logits: Tensor, targets: Tensor, choices: LossChoices) -> Tensor:
    """(rows, outputs) of a positive its weight times its focus times the cross-entropy with 1 - smoothing / 2.

    Of a negative the focus times the cross-entropy with smoothing / 2; between the two by the share of the positive.
    """
    positive, negative = (
        binary_cross_entropy_with_logits(logits, torch.full_like(logits, smooth), reduction="none")
        for smooth in (1 - choices.smoothing / 2, choices.smoothing / 2)
    )
    if choices.kind == "focal":
        probs = logits.sigmoid()
        positive, negative = positive * (1 - probs) ** FOCUS, negative * probs**FOCUS
    if choices.weights is not None:
        positive = positive * choices.weights
    return targets * positive + (1 - targets) * negative


def add_margin(logits: Tensor, targets: Tensor, margin: float) -> Tensor:
    """A cosine head's logits with the angle to the true class widened by `margin` (ArcFace, arXiv:1801.07698).

    Of soft targets every angle is widened by its share. Beyond 180 degrees the cosine falls no further.
    """
    shares = targets.float() if targets.ndim == 2 else torch.nn.functional.one_hot(targets, logits.shape[1])
    angles = (logits / COSINE_SCALE).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    return COSINE_SCALE * (angles + margin * shares).clamp(max=torch.pi).cos()


def _corn_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """(rows, outputs): each logit learns P(class > k) on the rows of a class above k - 1 (CORN, arXiv:2111.08851).

    Args:
        targets: (rows, outputs) P(class > k); soft ones weigh the rows.
    """
    above = _rows_above(targets)
    conditional = targets / above.clamp(min=1e-6)
    return above * binary_cross_entropy_with_logits(logits, conditional.clamp(max=1).to(logits.dtype), reduction="none")


def _rows_above(targets: Tensor) -> Tensor:
    """(rows, outputs) P(class > k - 1), by which a row counts for logit k: of the first one 1."""
    return torch.cat([torch.ones_like(targets[:, :1]), targets[:, :-1]], dim=1)


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
