"""The metrics of competitions: name -> Metric.

Targets are (rows,) class indices, of a retrieval task with the number of classes for the unknown label; (rows, labels)
0 or 1 for label sets; (rows,) numbers for values; (rows, classes) in [0, 1] with rows that sum to 1 for distributions.

Predictions come in the form that the metric wants, classes and labels in the order of the bundle:
- "probs": (rows, classes) in [0, 1] with rows that sum to 1, of two classes the last is the positive one; or
  (rows, labels) in [0, 1] for label sets.
- "labels": (rows,) class indices, or (rows, labels) 0 or 1 for label sets.
- "values": (rows,) numbers.
- "ranking": (rows, k) class indices, best first.

Every score takes at least one row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kitsolve.errors import nearest

Targets = NDArray[Any]
Predictions = NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """How a competition scores: the function, its direction and the form of predictions that it takes."""

    score: Callable[[Targets, Predictions], float]
    greater_is_better: bool
    wants: Literal["probs", "labels", "values", "ranking"]

    def is_better(self, score: float, best: float) -> bool:
        """Whether `score` beats `best`; equal scores do not."""
        return score > best if self.greater_is_better else score < best

    @property
    def worst(self) -> float:
        """A score that every other one beats."""
        return float("-inf") if self.greater_is_better else float("inf")


def find_metric(name: str) -> Metric:
    """The metric of that name: a key of METRICS, or "map@K" or "top_error@K" with a whole K of 1 or more.

    Raises:
        ValueError: there is none; names the nearest ones.
    """
    if name in METRICS:
        return METRICS[name]
    ranked = re.fullmatch(r"(map|top_error)@([1-9][0-9]*)", name)
    if ranked is None:
        raise ValueError(f"unknown metric {name!r}; known: {nearest(name, [*METRICS, 'map@5', 'top_error@5'])}")
    k = int(ranked[2])
    if ranked[1] == "map":
        return Metric(partial(mean_average_precision, k=k), greater_is_better=True, wants="ranking")
    return Metric(partial(top_error, k=k), greater_is_better=False, wants="ranking")


# scikit-learn takes a second to import: each metric that needs it does so when it is first asked for a score.


def accuracy(targets: Targets, labels: Predictions) -> float:
    """Share of rows whose label is the target, in [0, 1]; of label sets the share whose labels are all right."""
    _assert_alike(targets, labels)
    right = targets == labels
    return float((right if right.ndim == 1 else right.all(axis=1)).mean())


def log_loss(targets: Targets, probs: Predictions) -> float:
    """Mean of -ln(probability of what is true), in nats, clipped at the float64 eps as scikit-learn does.

    Rows of classes are divided by their sum first. Of label sets it is the mean of the columns' binary log losses.
    """
    if targets.ndim == 2:
        _assert_alike(targets, probs)
        exact = probs.astype(np.float64)
        true = np.where(targets == 1, exact, 1 - exact)
    else:
        true = probs[np.arange(len(targets)), targets] / probs.sum(axis=1, dtype=np.float64)
    eps = np.finfo(np.float64).eps
    return float(-np.log(true.clip(eps, 1 - eps)).mean())


def roc_auc(targets: Targets, probs: Predictions) -> float:
    """Area under the ROC curve, in [0, 1]; of more than two classes the unweighted mean of one against the rest.

    Raises:
        ValueError: a class has no row, so that its curve does not exist; or label sets, which mean_column_auc scores.
    """
    from sklearn.metrics import roc_auc_score

    _check(targets.ndim == 1, "roc_auc is a metric of classes; label sets have mean_column_auc.")
    _check_classes("roc_auc", targets, count=probs.shape[1])
    if probs.shape[1] == 2:
        return float(roc_auc_score(targets, probs[:, 1]))
    return float(np.mean([roc_auc_score(targets == target, column) for target, column in enumerate(probs.T)]))


def mean_column_auc(targets: Targets, probs: Predictions) -> float:
    """Unweighted mean of the labels' areas under the ROC curve, in [0, 1], for label sets.

    A label that all rows have, or none, is left out: its curve does not exist.

    Raises:
        ValueError: that leaves no label, or the targets are no label sets.
    """
    from sklearn.metrics import roc_auc_score

    _check(targets.ndim == 2, "mean_column_auc is a metric of label sets; classes have roc_auc.")
    positives = np.count_nonzero(targets, axis=0)
    columns = np.flatnonzero((positives > 0) & (positives < len(targets)))
    _check(columns.size > 0, "mean_column_auc needs a label that some rows have and others lack; there is none.")
    return float(np.mean([roc_auc_score(targets[:, column], probs[:, column]) for column in columns]))


def weighted_auc(targets: Targets, probs: Predictions) -> float:
    """Area under the ROC curve, twice as heavy where the true positive rate is below 0.4, in [0, 1], of two classes.

    The metric of ALASKA2 (Kaggle 2020). The curve is cut at exactly 0.4, between its points if need be, as mle-bench
    does; the kernel that went round in the competition leaves out what lies between the points around the cut.

    Raises:
        ValueError: a class has no row, or there are not two classes.
    """
    from sklearn.metrics import auc, roc_curve

    positive = _positive_probs("weighted_auc", targets, probs)
    _check_classes("weighted_auc", targets, count=2)
    fpr, tpr, _ = roc_curve(targets, positive)
    cut = int(np.searchsorted(tpr, 0.4))
    edge = np.interp(0.4, tpr[: cut + 1], fpr[: cut + 1])
    below = auc(np.append(fpr[:cut], [edge, 1]), np.append(tpr[:cut], [0.4, 0.4]))
    # Weights 2 and 1 are once the whole area and once more the part below; a perfect curve has 1 and 0.4 of them.
    return float((auc(fpr, tpr) + below) / 1.4)


def average_precision(targets: Targets, probs: Predictions) -> float:
    """Sum over the recalls of (their step) times (precision there), in [0, 1], of two classes; no interpolation.

    Of label sets it is the unweighted mean over the labels that some row has.

    Raises:
        ValueError: there is no positive, or there are not two classes.
    """
    from sklearn.metrics import average_precision_score

    if targets.ndim == 1:
        return float(average_precision_score(targets, _positive_probs("average_precision", targets, probs)))
    columns = np.flatnonzero(targets.any(axis=0))
    _check(columns.size > 0, "average_precision needs a positive among the targets; there is none.")
    return float(np.mean([average_precision_score(targets[:, column], probs[:, column]) for column in columns]))


def pf1(targets: Targets, probs: Predictions) -> float:
    """Probabilistic F1, in [0, 1], of two classes: each row counts as positive by as much as its probability says.

    precision = pTP / (pTP + pFP) and recall = pTP / positives, where pTP and pFP are the sums of the positives' and of
    the negatives' probabilities (Yacouby and Axman 2020, as RSNA Breast Cancer Detection, Kaggle 2022, uses it).

    Raises:
        ValueError: there is no positive, or there are not two classes.
    """
    positive = _positive_probs("pf1", targets, probs).astype(np.float64)
    # The harmonic mean of the two, without the 0 / 0 of a prediction that is 0 everywhere.
    return float(2 * positive[targets == 1].sum() / (positive.sum() + np.count_nonzero(targets)))


def f1_micro(targets: Targets, labels: Predictions) -> float:
    """F1 of all labels of all rows together, in [0, 1]; 1 where none is true and none predicted.

    Of single labels it is the accuracy: a wrong row is one false positive and one false negative.
    """
    if targets.ndim == 1:
        return accuracy(targets, labels)
    return float(_f1(*_count_pairs(targets, labels, axis=None)))


def f1_macro(targets: Targets, labels: Predictions) -> float:
    """Unweighted mean of the classes' F1, over the classes that are true or predicted somewhere, in [0, 1].

    1 for label sets without any label, true or predicted.
    """
    if targets.ndim == 2:
        both, each = _count_pairs(targets, labels, axis=0)
    else:
        both, each = _count_classes(targets, labels)
    seen = each > 0
    return float(_f1(both[seen], each[seen]).mean()) if seen.any() else 1.0


def f1_sample(targets: Targets, labels: Predictions) -> float:
    """Mean of the rows' F1, in [0, 1], for label sets; a row without a label, true or predicted, counts 1.

    Raises:
        ValueError: the targets are no label sets.
    """
    _check(targets.ndim == 2, "f1_sample is a metric of label sets; classes have f1_micro and f1_macro.")
    return float(_f1(*_count_pairs(targets, labels, axis=1)).mean())


def qwk(targets: Targets, labels: Predictions) -> float:
    """Cohen's kappa with quadratic weights, in [-1, 1]; class indices are the ordinal values (Cohen 1968).

    1 where targets and predictions are all the same one class, for which the formula is 0 / 0.
    """
    _check(targets.ndim == 1, "qwk is a metric of ordered classes, not of label sets.")
    _assert_alike(targets, labels)
    true, predicted = targets.astype(np.float64), labels.astype(np.float64)
    # With quadratic weights the confusion matrix is not needed: the expected squared distance of two independent
    # variables is the sum of their variances and the squared distance of their means.
    expected = true.var() + predicted.var() + (true.mean() - predicted.mean()) ** 2
    return float(1 - np.square(true - predicted).mean() / expected) if expected > 0 else 1.0


def rmse(targets: Targets, values: Predictions) -> float:
    """Root of the mean squared error, in the targets' unit."""
    _assert_alike(targets, values)
    return float(np.sqrt(np.square(targets - values).mean()))


def mae(targets: Targets, values: Predictions) -> float:
    """Mean absolute error, in the targets' unit."""
    _assert_alike(targets, values)
    return float(np.abs(targets - values).mean())


def kl_divergence(targets: Targets, probs: Predictions) -> float:
    """Mean over rows of the sum of p · ln(p / q), in nats, of distributions p among the targets and q among the probs.

    q is clipped at 1e-15 as Kaggle does (HMS Harmful Brain Activity 2024); where p is 0 the term is 0.
    """
    _assert_alike(targets, probs)
    true, predicted = targets.astype(np.float64), probs.astype(np.float64).clip(min=1e-15)
    return float((true * np.log(np.where(true > 0, true, 1) / predicted)).sum(axis=1).mean())


def mean_average_precision(targets: Targets, ranking: Predictions, *, k: int) -> float:
    """MAP@K of one true label: mean of 1 / rank of its first occurrence in the first `k`, else 0; in [0, 1]."""
    hits = ranking[:, :k] == targets[:, None]
    return float((hits.any(axis=1) / (hits.argmax(axis=1) + 1)).mean())


def top_error(targets: Targets, ranking: Predictions, *, k: int) -> float:
    """Share of rows whose label is not among the first `k`, in [0, 1]."""
    return float((ranking[:, :k] != targets[:, None]).all(axis=1).mean())


def _positive_probs(metric: str, targets: Targets, probs: Predictions) -> Predictions:
    """(rows,) probability of the positive class."""
    _check(
        targets.ndim == 1 and probs.shape[1] == 2,
        f"{metric} is a metric of two classes, not of targets {targets.shape} and probs {probs.shape}.",
    )
    _check(bool(targets.any()), f"{metric} needs a positive among the targets; there is none.")
    return probs[:, 1]


def _count_classes(targets: Targets, labels: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each class: rows where it is true and predicted; rows where it is true plus rows where it is predicted."""
    _assert_alike(targets, labels)
    count = int(max(targets.max(), labels.max())) + 1
    both, true, predicted = (
        np.bincount(classes, minlength=count) for classes in (targets[targets == labels], targets, labels)
    )
    return both, true + predicted


def _count_pairs(targets: Targets, labels: Predictions, *, axis: int | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of label sets, along the axis: labels that are true and predicted; labels that are true plus predicted ones."""
    _assert_alike(targets, labels)
    true, predicted = targets.astype(bool), labels.astype(bool)
    both, *each = (np.asarray(np.count_nonzero(pairs, axis=axis)) for pairs in (true & predicted, true, predicted))
    return both, each[0] + each[1]


def _f1(both: NDArray[Any], each: NDArray[Any]) -> NDArray[np.float64]:
    """Harmonic mean of precision both / predicted and recall both / true; `each` is true + predicted."""
    return np.where(each > 0, 2 * both / np.maximum(each, 1), 1.0)


def _check_classes(metric: str, targets: Targets, *, count: int) -> None:
    absent = np.flatnonzero(np.bincount(targets, minlength=count) == 0)
    if absent.size:
        raise ValueError(f"{metric} needs every class among the targets; class {absent[0]} has no row.")


def _check(fits: bool, problem: str) -> None:
    if not fits:
        raise ValueError(problem)


def _assert_alike(targets: Targets, predictions: Predictions) -> None:
    # (rows,) against (rows, 1) would be broadcast to (rows, rows), silently.
    assert targets.shape == predictions.shape, f"targets are {targets.shape}, predictions {predictions.shape}"


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, greater_is_better=True, wants="labels"),
    "log_loss": Metric(log_loss, greater_is_better=False, wants="probs"),
    "roc_auc": Metric(roc_auc, greater_is_better=True, wants="probs"),
    "mean_column_auc": Metric(mean_column_auc, greater_is_better=True, wants="probs"),
    "weighted_auc": Metric(weighted_auc, greater_is_better=True, wants="probs"),
    "average_precision": Metric(average_precision, greater_is_better=True, wants="probs"),
    "pf1": Metric(pf1, greater_is_better=True, wants="probs"),
    "f1_micro": Metric(f1_micro, greater_is_better=True, wants="labels"),
    "f1_macro": Metric(f1_macro, greater_is_better=True, wants="labels"),
    "f1_sample": Metric(f1_sample, greater_is_better=True, wants="labels"),
    "qwk": Metric(qwk, greater_is_better=True, wants="labels"),
    "rmse": Metric(rmse, greater_is_better=False, wants="values"),
    "mae": Metric(mae, greater_is_better=False, wants="values"),
    "kl_divergence": Metric(kl_divergence, greater_is_better=False, wants="probs"),
}
"""The metrics with fixed names; `find_metric` knows map@K and top_error@K as well."""
