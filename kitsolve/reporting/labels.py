"""How well each label of a multilabel task is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from kitsolve.reporting.html import Fixed, Share, bar, element, join, table
from kitsolve.reporting.outcome import Outcome
from kitsolve.reporting.page import Section

MOST_LABELS = 40
MEASURES = {
    "AP": "average precision, which is 1 where all rows that have the label come before those that have not",
    "F1": "F1, the harmonic mean of precision and recall",
}


def show_labels(outcome: Outcome) -> Section:
    """Precision and recall of each label, and how well it is ranked; of many labels those found worst."""
    rated, names = rate_labels(outcome), outcome.targets.names
    measures = [measure for measure in MEASURES if measure in rated]
    rows = []
    for label, line in rated[:MOST_LABELS].iterrows():
        numbers = [Fixed(line[measure], 3) for measure in measures]
        found = [Share(line.precision), Share(line.recall)]
        rows.append([names[label], int(line.positives), bar(line[measures[0]]), *numbers, *found])
    more, without = len(rated) - len(rows), len(names) - len(rated)
    notes = [f"{more:,} labels that are found better are left out."] if more else []
    notes += [f"{without:,} labels that no row has are left out."] if without else []
    return Section(
        "errors",
        "Errors",
        f"How well each label is found, the worst first, by {MEASURES[measures[0]]}; what is found depends on the "
        "threshold, 0.5 or, for an F1 metric, the best one of the other folds.",
        "Labels that few rows have gain most from more rows or balanced class weights; where precision and recall are "
        "far apart, another threshold helps.",
        join(
            [
                table(["label", "rows that have it", "", *measures, "precision", "recall"], rows),
                *(element("p", note, class_="note") for note in notes),
            ]
        ),
    )


def rate_labels(outcome: Outcome) -> pd.DataFrame:
    """A row for each label that some row has, the worst first: positives, AP, F1, precision, recall.

    No AP of sparse outputs, most of which are not known exactly.
    """
    true, predicted = outcome.targets.values.astype(bool), outcome.predicted
    both, found, positives = (pairs.sum(axis=0) for pairs in (true & predicted, predicted, true))
    rated = pd.DataFrame(
        {
            "positives": positives,
            "F1": 2 * both / np.maximum(found + positives, 1),
            "precision": both / np.maximum(found, 1),
            "recall": both / np.maximum(positives, 1),
        }
    )[positives > 0]
    if not isinstance(outcome.outputs, csr_array):
        from sklearn.metrics import average_precision_score  # takes a second to import

        labels = rated.index
        rated["AP"] = [average_precision_score(true[:, label], outcome.outputs[:, label]) for label in labels]
    return rated.sort_values(["AP" if "AP" in rated else "F1", "positives"], kind="stable")
