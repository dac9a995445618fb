"""Labels that are perhaps wrong: confident learning (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.evaluation.oof import Outputs, iter_dense
from kitsolve.reporting.html import Fixed, Html, element, join, table
from kitsolve.reporting.outcome import Outcome, pick
from kitsolve.reporting.page import Section
from kitsolve.reporting.thumbnails import read_thumbnails

MOST_SHOWN = 50
ROUNDING = 1e-6
"""A mean of equal numbers may be so much larger than they are."""


@dataclass(frozen=True)
class Doubts:
    """Rows whose label is in doubt, the `label` that is suggested, and the probabilities of the given and of that one.

    All (doubts,). Of a multilabel task a doubt is about the label: given is that the row has it, or that it has not.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    given: NDArray[np.float64]
    suggested: NDArray[np.float64]


def find_suspects(outcome: Outcome) -> pd.DataFrame:
    """A line for each label in doubt, the largest margin first; none for a regression.

    Columns: row (of the outcome), image_id, fold, label, suggested, prob_label, prob_suggested, margin.
    """
    doubts, names = _find_doubts(outcome), outcome.train.names
    if outcome.task == "multilabel":
        has = outcome.targets.values[doubts.rows, doubts.labels].astype(bool).tolist()
        pairs = [_say_both(names[label], yes) for label, yes in zip(doubts.labels.tolist(), has, strict=True)]
    else:
        given = outcome.targets.values[doubts.rows].tolist()
        pairs = [(names[one], names[other]) for one, other in zip(given, doubts.labels.tolist(), strict=True)]
    found = pd.DataFrame(
        {
            "row": doubts.rows,
            "image_id": outcome.train.table.image_id.iloc[doubts.rows].to_numpy(),
            "fold": outcome.folds[doubts.rows],
            "label": [given for given, _ in pairs],
            "suggested": [other for _, other in pairs],
            "prob_label": doubts.given,
            "prob_suggested": doubts.suggested,
            "margin": doubts.suggested - doubts.given,
        }
    )
    return found.sort_values("margin", ascending=False, kind="stable", ignore_index=True)


def _say_both(name: str, has: bool) -> tuple[str, str]:
    return (name, f"not {name}") if has else (f"not {name}", name)


def _find_doubts(outcome: Outcome) -> Doubts:
    if outcome.task == "multilabel":
        return doubt_sets(outcome.probs, outcome.targets.values)
    if outcome.task == "regression":
        none = np.empty(0)
        return Doubts(none.astype(np.int64), none.astype(np.int64), none, none)
    known = np.flatnonzero(outcome.targets.known)
    doubts = doubt_classes(outcome.probs[known], outcome.targets.values[known])
    return Doubts(known[doubts.rows], doubts.labels, doubts.given, doubts.suggested)


def doubt_classes(probs: Outputs, values: NDArray[Any]) -> Doubts:
    """Rows that are surely of another class, as rows of that class go, and less of their own than its rows are.

    Class j's threshold is the mean probability of j over the rows that are labelled j. In doubt is a row whose own
    class is below its threshold while another one, the most probable of all, reaches its.

    Args:
        probs: (rows, classes).
        values: (rows,) classes.
    """
    best = np.concatenate([part.argmax(axis=1) for _, part in iter_dense(probs)])
    own, top = pick(probs, values), pick(probs, best)
    counts = np.bincount(values, minlength=probs.shape[1])
    means = np.bincount(values, weights=own, minlength=probs.shape[1]) / np.maximum(counts, 1)
    thresholds = np.where(counts > 0, means, np.inf)
    rows = np.flatnonzero((best != values) & (own < thresholds[values]) & (top >= thresholds[best] - ROUNDING))
    return Doubts(rows, best[rows], own[rows], top[rows])


def doubt_sets(probs: Outputs, values: NDArray[Any]) -> Doubts:
    """The same of each label, as of the two classes of rows that have it and rows that have not.

    Args:
        probs: (rows, labels) in [0, 1].
        values: (rows, labels) 0 or 1.
    """
    have, total = np.zeros(probs.shape[1]), np.zeros(probs.shape[1])
    for rows, part in iter_dense(probs):
        have += (part * values[rows]).sum(axis=0, dtype=np.float64)
        total += part.sum(axis=0, dtype=np.float64)
    count = values.sum(axis=0, dtype=np.int64)
    yes = np.where(count > 0, have / np.maximum(count, 1), np.inf)
    no = np.where(count < len(values), (total - have) / np.maximum(len(values) - count, 1), -np.inf)
    parts = []
    for rows, part in iter_dense(probs):
        true = values[rows].astype(bool)
        lacking = ~true & (part > 0.5) & (part >= yes - ROUNDING) & (part > no)
        wrong = true & (part < 0.5) & (part <= no + ROUNDING) & (part < yes)
        places, labels = np.nonzero(lacking | wrong)
        given = np.where(true, part, 1 - part)[places, labels].astype(np.float64)
        parts.append(np.stack([places + (rows.start or 0), labels, given]))
    found = np.concatenate(parts, axis=1)
    return Doubts(found[0].astype(np.int64), found[1].astype(np.int64), found[2], 1 - found[2])


def show_suspects(outcome: Outcome, suspects: pd.DataFrame, file: str) -> Section | None:
    """The labels that are most in doubt; `file` holds all of them. None for a regression."""
    if outcome.task == "regression":
        return None
    count = len(suspects)
    which = f"The {MOST_SHOWN} of the largest margin; all {count:,}" if count > MOST_SHOWN else "They"
    note = element("p", f"{which} are in {file} beside this page.", class_="note")
    return Section(
        "suspects",
        "Suspected labels",
        f"{count:,} labels of {len(outcome.folds):,} rows are in doubt: the fold that never saw the row gives another "
        "label as much probability as rows of that label get, and the label it has less than its rows get, in the mean "
        "(confident learning, Northcutt et al. 2021).",
        "Look at each of them: correct or drop what is wrong and train again; rows that are only hard are here too.",
        join([_show_table(outcome, suspects[:MOST_SHOWN]), note]) if count else element("p", "None."),
    )


def _show_table(outcome: Outcome, suspects: pd.DataFrame) -> Html:
    pictures = read_thumbnails(outcome.train, suspects.row.tolist())
    rows = []
    for picture, line in zip(pictures, suspects.itertuples(), strict=True):
        own, other = Fixed(line.prob_label, 3), Fixed(line.prob_suggested, 3)
        rows.append([picture, line.image_id, line.fold, line.label, own, line.suggested, other, Fixed(line.margin, 3)])
    return table(["", "image", "fold", "labelled", "probability", "suggested", "probability", "margin"], rows)
