"""How much rows of one group share their label, beside what chance would give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

MIN_ROWS = 4
"""Of fewer rows the variance of a permutation is not defined."""


@dataclass(frozen=True)
class Agreement:
    """Labels of the rows of one group against those of any two rows.

    `within` and `chance`: the share of pairs with the same label, of classes; None of values and of label sets.
    `excess`: 0 where groups say nothing of the label, 1 where all rows of a group have the same one: Cohen's kappa of
    classes, the intraclass correlation of values. `z`: by how many standard deviations of a random permutation it is
    greater than 0. `rows`: those that share their group with another one; `groups`: what they are in.
    """

    excess: float
    z: float
    rows: int
    groups: int
    within: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class Spread:
    """Moments of the squared distance between two different rows: its mean, and sums over ordered pairs and rows."""

    rows: int
    mean: float
    total: float
    squares: float
    by_row: float

    @classmethod
    def of(cls, labels: sparse.csr_array) -> Spread:
        """The moments, without a loop over pairs: with y centred and a = |y|^2, they follow from a and y^T y."""
        rows = labels.shape[0]
        mean = np.asarray(labels.mean(axis=0)).ravel()
        norms = np.asarray(labels.multiply(labels).sum(axis=1)).ravel()
        a = norms - 2 * (labels @ mean) + mean @ mean
        gram = labels.T @ labels
        length = mean @ mean
        frobenius = float(gram.multiply(gram).sum()) - 2 * rows * float(mean @ (gram @ mean)) + (rows * length) ** 2
        total = 2 * rows * a.sum()
        squares = 2 * rows * (a**2).sum() + 2 * a.sum() ** 2 + 4 * max(frobenius, 0.0)
        by_row = rows**2 * (a**2).sum() + 3 * rows * a.sum() ** 2
        return cls(rows, float(total / (rows * max(1, rows - 1))), float(total), float(squares), float(by_row))


@dataclass(frozen=True)
class Labels:
    """The labels of all rows as numbers: the squared distance of two rows says how different their labels are.

    `values`: (rows, columns). `classes`: (rows,) numbers where a row has one class, which is one-hot in `values`.
    `words`: (rows,) the labels as text, where they are.
    """

    values: sparse.csr_array
    spread: Spread
    classes: NDArray[np.int64] | None = None
    words: pd.Series | None = None

    @classmethod
    def of(cls, values: NDArray[Any], words: pd.Series | None = None) -> Labels:
        """The labels of a table.

        Args:
            values: (rows,) classes of any kind; (rows,) floats, ranked, since one odd value would else be all that
                counts; (rows, labels) numbers, which stay.
        """
        rows = len(values)
        if values.ndim == 2:
            numbers = sparse.csr_array(values).astype(np.float64)
            return cls(numbers, Spread.of(numbers))
        if np.issubdtype(values.dtype, np.floating):
            numbers = sparse.csr_array((pd.Series(values).rank().to_numpy() / max(1, rows))[:, None])
            return cls(numbers, Spread.of(numbers))
        codes, names = pd.factorize(values)
        numbers = sparse.csr_array((np.ones(rows), (np.arange(rows), codes)), shape=(rows, len(names)))
        return cls(numbers, Spread.of(numbers), np.asarray(codes, dtype=np.int64), words)

    def of_rows(self, rows: NDArray[np.int64]) -> Labels:
        """The labels of some of the rows."""
        values = self.values[rows]
        classes = None if self.classes is None else self.classes[rows]
        return Labels(values, Spread.of(values), classes, None if self.words is None else self.words.iloc[rows])

    def is_coarser(self, groups: NDArray[np.int64]) -> bool:
        """Whether a group is a coarser label, a genus of a species: nearly each class lies in one group."""
        if self.classes is None:
            return False
        table = pd.DataFrame({"class": self.classes, "group": groups})[groups >= 0]
        found = table.groupby("class").group.agg(["nunique", "size"])
        found = found[found["size"] > 1]
        return bool(len(found)) and bool((found["nunique"] == 1).mean() > 0.9)

    def are_named_in(self, cells: pd.Series) -> bool:
        """Whether nearly each cell holds the row's label as a word: then it says nothing that rows share theirs."""
        if self.words is None:
            return False
        pairs = pd.DataFrame({"cell": cells.to_numpy(), "word": self.words.to_numpy()}).drop_duplicates()
        named = [
            str(word).casefold() in str(cell).casefold() for cell, word in zip(pairs.cell, pairs.word, strict=True)
        ]
        return bool(named) and float(np.mean(named)) > 0.9


def measure_agreement(groups: NDArray[np.int64], labels: Labels) -> Agreement | None:
    """The agreement of the rows of equal groups; None where no row has another one of its group.

    Every row counts once, whatever the size of its group: it is compared with the mean of the others.

    Args:
        groups: (rows,) at least 0; a row of a negative one is in no group, and counts only among all rows.
    """
    rows, spread = len(groups), labels.spread
    grouped = _keep_groups(groups)
    if rows < MIN_ROWS or not (grouped >= 0).any() or spread.mean <= 0:
        return None
    sizes = np.bincount(grouped[grouped >= 0])
    mean = _mean_within(grouped, sizes, labels.values)
    deviation = math.sqrt(max(_variance(sizes, spread), 0.0)) / sizes.sum()
    z = float((spread.mean - mean) / deviation) if deviation > 0 else 0.0
    within, chance = (None, None) if labels.classes is None else (1 - mean / 2, 1 - spread.mean / 2)
    return Agreement(1 - mean / spread.mean, z, int(sizes.sum()), len(sizes), within, chance)


def measure_smoothness(places: NDArray[np.int64], labels: Labels) -> float:
    """The excess of agreement, see Agreement, between rows of one value and those of the next greater one.

    Of a measurement it is about that of equal values, of numbers that are names about 0.

    Args:
        places: (rows,) the place of a row's value among all different ones, in their order; negative: none.
    """
    spread = labels.spread.mean
    chosen = places >= 0
    if spread <= 0 or not chosen.any() or places.max() < 1:
        return 0.0
    sizes, sums, squares = _sum_groups(places[chosen], labels.values[np.flatnonzero(chosen)])
    means = sums.multiply(1 / sizes[:, None]).tocsr()
    norms = squares / sizes
    products = np.asarray(means[:-1].multiply(means[1:]).sum(axis=1)).ravel()
    distances = norms[:-1] + norms[1:] - 2 * products
    weights = np.minimum(sizes[:-1], sizes[1:])
    return float(1 - np.average(distances, weights=weights) / spread)


def _keep_groups(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups of two rows or more, numbered anew; -1 elsewhere."""
    chosen = groups >= 0
    names, codes, sizes = np.unique(groups[chosen], return_inverse=True, return_counts=True)
    numbers = np.where(sizes > 1, np.cumsum(sizes > 1) - 1, -1)
    kept = np.full(len(groups), -1, dtype=np.int64)
    kept[chosen] = numbers[codes] if len(names) else -1
    return kept


def _sum_groups(
    groups: NDArray[np.int64], labels: sparse.csr_array
) -> tuple[NDArray[np.int64], sparse.csr_array, NDArray[np.float64]]:
    """Of each group its rows, the sum of their labels, and the sum of their squared lengths."""
    sizes = np.bincount(groups).astype(np.int64)
    ones, rows = np.ones(len(groups)), np.arange(len(groups))
    sums = sparse.csr_array((ones, (groups, rows)), shape=(len(sizes), len(groups))) @ labels
    lengths = np.asarray(labels.multiply(labels).sum(axis=1)).ravel()
    return sizes, sums, np.bincount(groups, weights=lengths, minlength=len(sizes)).astype(np.float64)


def _mean_within(grouped: NDArray[np.int64], sizes: NDArray[np.int64], labels: sparse.csr_array) -> float:
    """The mean over rows of the mean squared distance to the others of their group."""
    chosen = np.flatnonzero(grouped >= 0)
    _, sums, squares = _sum_groups(grouped[chosen], labels[chosen])
    lengths = np.asarray(sums.multiply(sums).sum(axis=1)).ravel()
    pairs = 2 * (sizes * squares - lengths)  # over ordered pairs of the group
    return float((pairs / (sizes - 1)).sum() / sizes.sum())


def _variance(sizes: NDArray[np.int64], spread: Spread) -> float:
    """The variance of the summed distance within groups over all permutations of the rows (Mantel 1967).

    A pair of a group of n rows has the weight 1 / (n - 1): so each row weighs 1.
    """
    n = spread.rows
    weight = float(sizes.sum())
    squares = float((sizes / (sizes - 1)).sum())
    pairs, triples = n * (n - 1), n * (n - 1) * (n - 2)
    quadruples = triples * (n - 3)
    one = 2 * squares * spread.squares / pairs
    two = 4 * (weight - squares) * (spread.by_row - spread.squares) / triples
    left = weight**2 + 2 * squares - 4 * weight
    right = spread.total**2 + 2 * spread.squares - 4 * spread.by_row
    return one + two + left * right / quadruples - (weight * spread.total / pairs) ** 2
