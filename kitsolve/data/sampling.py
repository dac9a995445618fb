"""Samples of a table's rows: drawn, never every n-th one, and alike in their targets.

Tables have periods: pairs of an original and its copy, left and right eyes, frames of a scene. Every n-th row may be
all of one kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BANDS = 10
"""Parts of equally many rows into which the range of a number is divided."""

Rows = NDArray[np.int64]


def sample_rows(targets: NDArray[Any], most: int, *, seed: int) -> Rows:
    """At most so many rows, in their order: all where there are no more, else a stratified sample.

    Every class (see `find_strata`) has its share of the sample, and at least one row where there is room for all
    classes.

    Args:
        targets: (rows,) classes or numbers; (rows, labels) integers 0 or 1 of sets, or floats of distributions.
    """
    if len(targets) <= most:
        return np.arange(len(targets))
    rng = np.random.default_rng(seed)
    order, strata = _shuffle_strata(targets, rng)
    first = np.flatnonzero(np.diff(strata, prepend=strata[0] - 1))
    if len(first) > most:
        return np.sort(order[rng.choice(first, most, replace=False)])
    others = np.delete(order, first)
    count = most - len(first)
    # Within a stratum the order is random: equal steps over it are a draw by strata.
    places = ((np.arange(count) + rng.random()) * len(others) / max(1, count)).astype(np.int64)
    return np.sort(np.concatenate([order[first], others[places]]))


def sample_cells(cells: pd.Series, most: int) -> pd.Series:
    """At most so many cells of a column, drawn, in their order; of columns of one length from the same rows."""
    if len(cells) <= most:
        return cells
    return cells.iloc[np.sort(np.random.default_rng(0).choice(len(cells), most, replace=False))]


def deal_rows(targets: NDArray[Any], parts: int, *, seed: int) -> Rows:
    """(rows,) the part, from 0 on, that each row falls into: random, with the same share of every class in all."""
    order, _ = _shuffle_strata(targets, np.random.default_rng(seed))
    dealt = np.empty(len(order), dtype=np.int64)
    dealt[order] = np.arange(len(order)) % parts
    return dealt


def find_strata(targets: NDArray[Any]) -> Rows:
    """(rows,) a number for each row's class.

    That is of a set its rarest label, of a distribution the most probable class, of numbers a band of equally many
    rows; a set without a label has a number of its own.
    """
    if targets.ndim == 2 and np.issubdtype(targets.dtype, np.floating):
        return np.asarray(targets.argmax(axis=1))
    if targets.ndim == 2:
        counts = np.append(np.count_nonzero(targets, axis=0), len(targets) + 1)
        rarest = np.argsort(counts, kind="stable")
        has = np.column_stack([targets.astype(bool), np.ones(len(targets), dtype=bool)])
        return np.asarray(rarest[has[:, rarest].argmax(axis=1)])
    if np.issubdtype(targets.dtype, np.floating):
        ranks = np.searchsorted(np.sort(targets), targets, side="left")
        return np.asarray(ranks * BANDS // max(1, len(targets)))
    return targets.astype(np.int64)


def _shuffle_strata(targets: NDArray[Any], rng: np.random.Generator) -> tuple[Rows, Rows]:
    """All rows stratum by stratum, in random order within each, and their strata."""
    strata, order = find_strata(targets), rng.permutation(len(targets))
    order = order[np.argsort(strata[order], kind="stable")]
    return order, strata[order]
