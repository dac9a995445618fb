"""Which classes a run takes for which others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.reporting.html import Html, Share, element, join, table
from kitsolve.reporting.outcome import Outcome
from kitsolve.reporting.page import Section
from kitsolve.reporting.svg import box, draw, write

MOST_CLASSES = 40
"""So many fit into a matrix."""
PAIRS, WORST = 15, 15
WIDE, LETTER, LONGEST = 1050, 7, 26
"""The width of a matrix in px and that of a letter; how many letters of a name are shown."""
PALEST = 0.14
"""The opacity of what is not nothing."""


def show_confusion(outcome: Outcome) -> Section:
    """A matrix of all classes, or of many the pairs that are confused most, and the classes found least often."""
    names, true, predicted = outcome.train.names, outcome.targets.values, outcome.predicted
    classes = int(max(true.max(), predicted.max(), len(names) - 2)) + 1
    wrong = int((true != predicted).sum())
    parts: list[Html] = []
    if classes <= MOST_CLASSES:
        parts.append(draw_matrix(count_pairs(true, predicted, classes), names[:classes]))
    pairs = list_pairs(true, predicted)
    if len(pairs):
        parts.append(element("div", element("h3", "Confused most"), _show_pairs(pairs, names)))
    if classes > MOST_CLASSES:
        parts.append(element("div", element("h3", "Found least often"), _show_worst(true, predicted, names)))
    return Section(
        "errors",
        "Errors",
        f"Which label the {len(true):,} rows have and which one they are given; {wrong:,} are wrong "
        f"({Share(wrong / len(true)):.2%}).",
        "Look at images of the pairs that are confused most: more rows, larger images or other augmentation help where "
        "a person can tell them apart.",
        element("div", *parts, class_="beside"),
    )


def count_pairs(true: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """(classes, classes) rows, the true class by row, the predicted one by column."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def list_pairs(true: NDArray[Any], predicted: NDArray[Any]) -> pd.DataFrame:
    """The PAIRS most frequent pairs of a true class and another one, `rows` and their `share` of the true class's."""
    table = pd.DataFrame({"true": true, "predicted": predicted})
    wrong = table[table.true != table.predicted].value_counts().rename("rows").reset_index()
    wrong["share"] = wrong.rows / wrong.true.map(table.true.value_counts())
    return wrong.sort_values(["rows", "share", "true", "predicted"], ascending=[False, False, True, True])[:PAIRS]


def _show_pairs(pairs: pd.DataFrame, names: Sequence[str]) -> Html:
    rows = [
        [names[pair.true], names[pair.predicted], pair.rows, Share(pair.share)]
        for pair in pairs.itertuples(index=False)
    ]
    return table(["labelled", "predicted", "rows", "of those labelled so"], rows)


def _show_worst(true: NDArray[Any], predicted: NDArray[Any], names: Sequence[str]) -> Html:
    """Classes by the share of their rows that are found; of equal ones those of more rows first."""
    grouped = pd.Series(true == predicted).groupby(true).agg(["mean", "size"])
    worst = grouped.sort_values(["mean", "size"], ascending=[True, False], kind="stable")[:WORST]
    rows = [[names[int(label)], int(size), Share(mean)] for label, mean, size in worst.itertuples()]
    return table(["class", "rows", "found"], rows)


# ------------------------------------------------------------------------------------------------ the matrix


@dataclass(frozen=True)
class Grid:
    """Where the cells of a matrix are: `cell` px wide and high, right of `left` and below `top`."""

    cell: int
    left: int
    top: int

    def place(self, row: float, column: float) -> tuple[float, float]:
        """(x, y) of the upper left corner of a cell; halves are middles."""
        return self.left + column * self.cell, self.top + row * self.cell


def draw_matrix(counts: NDArray[np.int64], names: Sequence[str]) -> Html:
    """Counts in cells, the darker the larger the share of the true class; at the edges the shares that are right."""
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names]
    left, classes = LETTER * max(9, *map(len, names)) + 16, len(names)
    turned = round(0.72 * left)  # what a name takes that is turned by 45 degrees, in height and in width
    grid = Grid(min(46, (WIDE - left - turned) // classes), left, turned + 18)
    side, (right, bottom) = grid.cell * classes, grid.place(classes, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    parts = [
        write("labelled ↓  predicted →", 0, 12, at="start", kind="name"),
        write("recall", right + 8, grid.top - 6, at="start"),
        write("precision", left - 8, bottom + 17, at="end"),
    ]
    parts += _write_edges(counts, names, grid)
    for row, column in np.argwhere(counts).tolist():
        count, share = int(counts[row, column]), float(shares[row, column])
        title = f"{names[row]} predicted as {names[column]}: {count:,} ({share:.1%} of {names[row]})"
        parts.append(_draw_cell(grid, row, column, count=count, share=share, title=title))
    frame = box(left, grid.top, width=side, height=side, kind="frame")
    height, width = round(bottom) + 24, round(right) + turned
    picture = draw(*parts, frame, label="labelled and predicted classes", width=width, height=height)
    return element("div", picture, style=f"width:{width}px;max-width:100%")


def _write_edges(counts: NDArray[np.int64], names: Sequence[str], grid: Grid) -> list[Html]:
    """Names at the left and above, recall at the right, precision below."""
    parts, recall, precision = [], _right_share(counts, axis=1), _right_share(counts, axis=0)
    for label, name in enumerate(names):
        x, y = grid.place(label + 0.5, label + 0.5)
        turned = f"rotate(-45 {x + 4:g} {grid.top - 8:g})"
        parts.append(write(name, grid.left - 8, y + 4, at="end", kind="name"))
        parts.append(write(name, x + 4, grid.top - 8, at="start", kind="name", transform=turned))
        parts.append(write(recall[label], grid.place(0, len(names))[0] + 8, y + 4, at="start"))
        parts.append(write(precision[label], x, grid.place(len(names), 0)[1] + 17))
    return parts


def _draw_cell(grid: Grid, row: int, column: int, *, count: int, share: float, title: str) -> Html:
    x, y = grid.place(row, column)
    middle, size = grid.cell / 2, min(13.0, 1.5 * grid.cell / max(2, len(f"{count:,}")))
    kind, opacity = "fill" if row == column else "gap", round(PALEST + (1 - PALEST) * share, 3)
    shade = box(x, y, width=grid.cell - 1, height=grid.cell - 1, kind=kind, title=title, fill_opacity=opacity)
    text = "count on" if share > 0.5 else "count"
    return join([shade, write(f"{count:,}", x + middle, y + middle + size / 3, kind=text, font_size=f"{size:.3g}")])


def _right_share(counts: NDArray[np.int64], axis: int) -> list[str]:
    totals, right = counts.sum(axis=axis), np.diag(counts)
    return [f"{one / total:.0%}" if total else "–" for one, total in zip(right.tolist(), totals.tolist(), strict=True)]
