"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kitsolve.evaluation.oof import Outputs, iter_dense
from kitsolve.pictures.charts import Axis
from kitsolve.reporting.html import Html, element, join
from kitsolve.reporting.outcome import Outcome
from kitsolve.reporting.page import Section
from kitsolve.reporting.svg import box, draw, draw_axes, write

BINS = 15
SMALL = 0.02
"""A smaller ECE is not worth doing something about it."""
WIDTH, HEIGHT, COUNTS = 760, 490, 80
"""Of the picture in px, and of the counts beneath."""


@dataclass(frozen=True)
class Calibration:
    """Probabilities in BINS bins of equal width: how many, the mean probability, and the share that came true.

    `ece`: the expected calibration error, the mean over all of |mean probability - share| of their bin (Guo et al.
    2017, arXiv:1706.04599). `brier`: the mean squared difference between a row's probabilities and its label as 0 and
    1, summed over the classes where these exclude each other (Brier 1950), else of each label.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    ece: float
    brier: float


def show_calibration(outcome: Outcome) -> Section | None:
    """A reliability diagram; None for a regression, which has no probabilities."""
    if outcome.task == "regression":
        return None
    found = calibrate(outcome)
    single = outcome.targets.activation == "softmax"
    of = "the most probable class of each row" if single else "every label of every row"
    brier = (
        "the squared differences of a row's probabilities from 0 and 1, summed over the classes, their mean over rows"
        if single
        else "the mean squared difference of a probability from 0 or 1"
    )
    note = (
        f"ECE {found.ece:.4f}: how far probability and share are apart in a bin, the mean over all probabilities "
        f"({BINS} bins of equal width). Brier score {found.brier:.4f}: {brier}. Both are best at 0. Orange is what was "
        "promised and did not come true, pale blue what came true beyond the promise."
    )
    return Section(
        "calibration",
        "Calibration",
        f"How often {of} is true, by the probability it was given; on the line both are equal.",
        _advise(found),
        join([element("p", note), element("div", draw_reliability(found), style=f"max-width:{WIDTH}px")]),
    )


def _advise(found: Calibration) -> str:
    gap = float((found.counts * (found.confidence - found.accuracy)).sum() / found.counts.sum())
    if found.ece < SMALL:
        return f"They can be trusted: on average they are {found.ece:.3f} off."
    if gap > found.ece / 2:
        return (
            f"On the whole they are {gap:.3f} too high: label smoothing, mixup or fewer epochs help where the "
            "metric is of probabilities, and a higher --min-confidence for pseudo-labels."
        )
    if gap < -found.ece / 2:
        return f"On the whole they are {-gap:.3f} too low: train longer, or with less smoothing, mixup or augmentation."
    return "They are too high here and too low there: bins of few rows say little, the others name thresholds to try."


def calibrate(outcome: Outcome) -> Calibration:
    """The calibration of the top class (softmax; rows of a known label) or of all labels (sigmoid)."""
    targets = outcome.targets
    known = targets.known
    if targets.activation == "softmax":
        truth = targets.values if targets.shares is None else targets.shares
        return rate_classes(outcome.outputs[known], truth[known])
    return rate_probs(outcome.outputs, targets.learned)


def rate_classes(probs: Outputs, truth: NDArray[Any]) -> Calibration:
    """The calibration of the most probable classes.

    Args:
        probs: (rows, classes) that sum to 1.
        truth: (rows,) classes, or (rows, classes) shares that sum to 1.
    """
    sums, squares = np.zeros((3, BINS)), 0.0
    for rows, part in iter_dense(probs):
        best, wanted = part.argmax(axis=1), truth[rows]
        sums += _add_up(part.max(axis=1), best == (wanted if wanted.ndim == 1 else wanted.argmax(axis=1)))
        # (p - t)² = p² - 2pt + t², without an array of what is 0.
        shared = part[np.arange(len(part)), wanted].sum(dtype=float) if wanted.ndim == 1 else _product(part, wanted)
        squares += _product(part, part) - 2 * shared + (len(part) if wanted.ndim == 1 else _product(wanted, wanted))
    return _finish(sums, squares / probs.shape[0])


def rate_probs(probs: Outputs, truth: NDArray[Any]) -> Calibration:
    """The calibration of all labels together.

    Args:
        probs: (rows, labels) in [0, 1].
        truth: (rows, labels) 0 or 1.
    """
    sums, squares = np.zeros((3, BINS)), 0.0
    for rows, part in iter_dense(probs):
        sums += _add_up(part.ravel(), truth[rows].ravel() > 0)
        squares += float(np.square(part - truth[rows], dtype=np.float64).sum())
    return _finish(sums, squares / (probs.shape[0] * probs.shape[1]))


def _product(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The sum of the products of what stands in equal places."""
    return float(np.einsum("ij,ij->", one, other, dtype=np.float64))


def _add_up(probs: NDArray[Any], true: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(3, BINS): how many, the sum of the probabilities, how many came true."""
    bins = np.minimum((probs * BINS).astype(np.int64), BINS - 1)
    return np.stack([np.bincount(bins, weights=weights, minlength=BINS) for weights in (None, probs, true)])


def _finish(sums: NDArray[np.float64], brier: float) -> Calibration:
    counts, probs, true = sums
    some = np.maximum(counts, 1)
    ece = float(np.abs(probs - true).sum() / counts.sum())
    return Calibration(counts.astype(np.int64), probs / some, true / some, ece, brier)


# ------------------------------------------------------------------------------------------------ the picture


def draw_reliability(found: Calibration) -> Html:
    """The share that came true as a bar for each bin, the gap to the mean probability, and the counts beneath."""
    x = Axis(0, 1, 46, WIDTH - 10, "probability")
    y = Axis(0, 1, HEIGHT - COUNTS - 96, 30, "share that is true")
    under = Axis(0, int(found.counts.max()), HEIGHT - 22, HEIGHT - 22 - COUNTS, "how many")
    parts = [draw_axes(x, y), element("path", d=f"M{x.start} {y.start}L{x.end} {y.end}", class_="ideal")]
    parts += [_draw_bin(number, found, (x, y, under)) for number in np.flatnonzero(found.counts).tolist()]
    parts.append(write(under.name, 0, under.end - 6, at="start", kind="name"))
    parts.append(element("path", d=f"M{x.start} {under.start}H{x.end}", class_="axis"))
    return draw(*parts, label="reliability diagram", width=WIDTH, height=HEIGHT)


def _draw_bin(number: int, found: Calibration, axes: tuple[Axis, Axis, Axis]) -> Html:
    x, y, under = axes
    count, sure, true = int(found.counts[number]), float(found.confidence[number]), float(found.accuracy[number])
    left, right = x.place(number / BINS) + 1, x.place((number + 1) / BINS) - 1
    title = f"{count:,} with a mean probability of {sure:.3f}: {true:.3f} are true"
    said, came, solid = y.place(sure), y.place(true), y.place(min(sure, true))
    box_of = partial(box, left, width=right - left, title=title)
    promised = "gap" if sure > true else "fill"
    return join(
        [
            box_of(solid, height=y.start - solid, kind="fill"),
            box_of(min(said, came), height=abs(said - came), kind=promised, fill_opacity=0.4),
            box_of(under.place(count), height=under.start - under.place(count), kind="quiet"),
            write(f"{count:,}", (left + right) / 2, under.start + 15),
        ]
    )
