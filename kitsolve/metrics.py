"""The metrics of competitions: name -> Metric.

Every score takes `targets`, (rows,) class indices in 0..classes-1, and `probs`, (rows, classes) in [0, 1] with
rows that sum to 1, in the class order of the bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Targets = NDArray[np.int64]
Probs = NDArray[np.floating]


@dataclass(frozen=True)
class Metric:
    """How a competition scores: the function and its direction."""

    score: Callable[[Targets, Probs], float]
    greater_is_better: bool

    def is_better(self, score: float, best: float) -> bool:
        """Whether `score` beats `best`; equal scores do not."""
        return score > best if self.greater_is_better else score < best

    @property
    def worst(self) -> float:
        """A score that every other one beats."""
        return float("-inf") if self.greater_is_better else float("inf")


# scikit-learn takes a second to import: each metric does so when it is first asked for a score.


def accuracy(targets: Targets, probs: Probs) -> float:
    """Share of rows whose most probable class is the target, in [0, 1]."""
    return float((probs.argmax(axis=1) == targets).mean())


def log_loss(targets: Targets, probs: Probs) -> float:
    """Mean of -ln(probability of the target), in nats, clipped at the float eps as scikit-learn does."""
    from sklearn.metrics import log_loss as sklearn_log_loss

    probs = probs.astype(np.float64)
    normalised = probs / probs.sum(axis=1, keepdims=True)
    return float(sklearn_log_loss(targets, normalised, labels=np.arange(probs.shape[1])))


def roc_auc(targets: Targets, probs: Probs) -> float:
    """Area under the ROC curve, in [0, 1]; of more than two classes the unweighted mean of one against the rest.

    Raises:
        ValueError: a class has no row, so that its curve does not exist.
    """
    from sklearn.metrics import roc_auc_score

    absent = np.setdiff1d(np.arange(probs.shape[1]), targets)
    if absent.size:
        raise ValueError(f"roc_auc needs every class among the targets; class {absent[0]} has no row.")
    one_hot = np.eye(probs.shape[1])[targets]
    if probs.shape[1] == 2:
        return float(roc_auc_score(targets, probs[:, 1]))
    return float(roc_auc_score(one_hot, probs, average="macro"))


def f1_macro(targets: Targets, probs: Probs) -> float:
    """Unweighted mean of the classes' F1 scores, over the classes that are true or predicted somewhere, in [0, 1]."""
    from sklearn.metrics import f1_score

    return float(f1_score(targets, probs.argmax(axis=1), average="macro", zero_division=0.0))


def qwk(targets: Targets, probs: Probs) -> float:
    """Cohen's kappa with quadratic weights, in [-1, 1]; class indices are the ordinal values (Cohen 1968)."""
    from sklearn.metrics import cohen_kappa_score

    classes = np.arange(probs.shape[1])
    return float(cohen_kappa_score(targets, probs.argmax(axis=1), labels=classes, weights="quadratic"))


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, greater_is_better=True),
    "log_loss": Metric(log_loss, greater_is_better=False),
    "roc_auc": Metric(roc_auc, greater_is_better=True),
    "f1_macro": Metric(f1_macro, greater_is_better=True),
    "qwk": Metric(qwk, greater_is_better=True),
}
