"""What turns outputs into predictions, fitted on out-of-fold rows: thresholds, cut points, clipping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kitsolve.config import Competition
from kitsolve.data.sampling import sample_rows
from kitsolve.data.targets import Targets
from kitsolve.evaluation.oof import Outputs, decode_rows, iter_dense
from kitsolve.hooks import find_competition_metric
from kitsolve.inference.bundle import Decoder
from kitsolve.metrics import Metric
from kitsolve.workspace import Workspace

MOST_ROWS = 50_000
"""Rows that a fit looks at; a few parameters do not get better with more."""
THRESHOLDS = np.concatenate([np.geomspace(0.01, 0.3, 15), np.linspace(0.35, 0.95, 13)])
SEED = 0
"""Of the sample."""
NO_CLASS = -1
"""Stands in a ranking that is shorter than others."""
CLIPS = (1e-6, 1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02)

Array = NDArray[Any]


@dataclass(frozen=True)
class Judge:
    """How a competition scores: its metric, and the decoder that has nothing fitted."""

    name: str
    metric: Metric
    plain: Decoder

    def score(self, targets: Array, outputs: Outputs, decoder: Decoder) -> float:
        """The metric of the decoded outputs.

        Args:
            targets: (rows,) or (rows, labels), see data.targets.Targets.scored.
            outputs: (rows, outputs) activated.
        """
        return self.metric.score(targets, decode_rows(outputs, decoder, self.metric.wants))

    @property
    def needs_all(self) -> bool:
        """Whether every output counts: as a probability, or in the sum of P(class > k) that tells an ordinal class.

        For other labels and for rankings the largest outputs of a row are enough.
        """
        return self.metric.wants == "probs" or self.plain.task == "ordinal"

    @property
    def fits(self) -> bool:
        """Whether the decoder has something that OOF rows can tell for this metric."""
        task, name = self.plain.task, self.name
        return bool(
            (task in ("binary", "multilabel") and name.startswith("f1"))
            or (task == "ordinal" and self.metric.wants == "labels")
            or (task in ("binary", "multiclass", "multilabel") and name == "log_loss")
            or (task == "retrieval" and self.metric.wants == "ranking")
        )


def find_judge(workspace: Workspace, competition: Competition, targets: Targets) -> Judge:
    """The judge of a competition.

    Raises:
        KitsolveError: a metric of its own is missing or wrong; see hooks.find_own_metric.
    """
    metric = find_competition_metric(workspace, competition)
    return Judge(competition.metric, metric, targets.default_decoder(competition))


def fit_decoder(judge: Judge, targets: Array, outputs: Outputs) -> Decoder:
    """The decoder whose predictions score best on these rows; the plain one where nothing beats it.

    Of many rows a sample is fitted to; the plain decoder is then compared on all of them.
    """
    if not judge.fits:
        return judge.plain
    if len(targets) <= MOST_ROWS:
        return _fit_to_all(judge, targets, outputs)
    rows = sample_rows(targets, MOST_ROWS, seed=SEED)
    found = _fit_to_all(judge, targets[rows], outputs[rows])
    scores = [judge.score(targets, outputs, decoder) for decoder in (found, judge.plain)]
    return found if judge.metric.is_better(*scores) else judge.plain


def _fit_to_all(judge: Judge, targets: Array, outputs: Outputs) -> Decoder:
    best, best_score = judge.plain, judge.score(targets, outputs, judge.plain)
    for candidate in _candidates(judge, targets, outputs):
        score = judge.score(targets, outputs, candidate)
        if judge.metric.is_better(score, best_score):
            best, best_score = candidate, score
    return best


def decode_out_of_fold(judge: Judge, targets: Array, outputs: Outputs, folds: NDArray[np.int64]) -> Array:
    """Predictions of every row by a decoder fitted on the rows of the other folds: no row decides on itself."""
    if len(np.unique(folds)) == 1 or not judge.fits:
        return decode_rows(outputs, judge.plain, judge.metric.wants)
    owns = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    decoded = []
    for own in owns:
        others = np.setdiff1d(np.arange(len(folds)), own)
        decoder = fit_decoder(judge, targets[others], outputs[others])
        decoded.append(decode_rows(outputs[own], decoder, judge.metric.wants))
    return join_rows(owns, decoded)


def join_rows(owns: Sequence[NDArray[np.int64]], parts: Sequence[Array]) -> Array:
    """What stands in `parts` for the rows `owns`, in the order of all rows.

    Of fewer classes than ranks, the unknown label makes a ranking longer: others are filled up with NO_CLASS.
    """
    width = max(part.shape[-1] for part in parts)
    if parts[0].ndim == 2:
        parts = [np.pad(own, ((0, 0), (0, width - own.shape[1])), constant_values=NO_CLASS) for own in parts]
    return np.concatenate(parts)[np.argsort(np.concatenate(owns))]


def _candidates(judge: Judge, targets: Array, outputs: Outputs) -> Iterator[Decoder]:
    plain = judge.plain
    if judge.name == "log_loss":
        yield from (replace(plain, clip=clip) for clip in CLIPS)
    elif plain.task == "ordinal":
        yield from _fit_cut_points(judge, targets, outputs)
    else:
        yield from (replace(plain, thresholds=(float(threshold),)) for threshold in THRESHOLDS)
        if plain.task == "multilabel" and judge.name == "f1_macro":
            yield replace(plain, thresholds=_fit_thresholds(targets, outputs))


def _fit_thresholds(targets: Array, outputs: Outputs) -> tuple[float, ...]:
    """For each label the threshold of its own best F1: the macro average is their mean."""
    true, scores = targets.astype(bool), []
    for threshold in THRESHOLDS:
        both, predicted = np.zeros(true.shape[1]), np.zeros(true.shape[1])
        for rows, part in iter_dense(outputs):
            both += ((part > threshold) & true[rows]).sum(axis=0)
            predicted += (part > threshold).sum(axis=0)
        scores.append(2 * both / np.maximum(predicted + true.sum(axis=0), 1))
    return tuple(float(threshold) for threshold in THRESHOLDS[np.argmax(scores, axis=0)])


def _fit_cut_points(judge: Judge, targets: Array, outputs: Outputs) -> Iterator[Decoder]:
    """Cut points that give each class its share of the rows, and the best ones near them and near the plain ones.

    The former do not care on which scale the outputs are: of a model that has learned little they lie close together,
    on one side of every plain cut point. From both the simplex of Nelder and Mead (1965) goes on.
    """
    from scipy.optimize import minimize

    sign = -1.0 if judge.metric.greater_is_better else 1.0
    grades = np.concatenate([part.sum(axis=1) for _, part in iter_dense(outputs)])
    count = outputs.shape[1]
    shares = np.cumsum(np.bincount(targets, minlength=count + 1))[:-1] / len(targets)
    spread = max(float(grades.std()), 1e-6)

    def make(cuts: NDArray[np.float64]) -> Decoder:
        return replace(judge.plain, thresholds=tuple(np.sort(cuts).tolist()))

    by_shares = np.quantile(grades, shares)
    yield make(by_shares)
    for start, step in ((np.arange(count) + 0.5, 0.15), (by_shares, 0.15 * spread)):
        found = minimize(
            lambda cuts: sign * judge.score(targets, outputs, make(cuts)),
            start,
            method="Nelder-Mead",
            options={
                "initial_simplex": np.vstack([start, start + step * np.eye(count)]),
                "maxfev": 60 * count,
                "xatol": 1e-3 * min(1.0, spread),
            },
        )
        yield make(found.x)
