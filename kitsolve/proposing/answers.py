"""Several answers for each image: numbers, or classes and numbers at once, which no single target is."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from kitsolve.data.labels import is_number
from kitsolve.proposing.columns import is_flag

FEW_VALUES = 20


def name_answers(rows: pd.DataFrame, asked: Sequence[str]) -> str:
    """What a sample asks of each image, in words, where it is more than one answer; else nothing.

    One-hot and multi-hot columns, and columns whose numbers are the shares or votes of classes, are one answer.

    Args:
        rows: the train rows.
        asked: the columns of the sample submission that are to be filled.
    """
    columns = [_find_column(rows, name) for name in asked]
    if len(asked) < 2 or None in columns:
        return ""
    cells = rows[[str(name) for name in columns]]
    if all(is_flag(cells[name]) for name in cells) or _are_marks(cells) or _are_shares(cells):
        return ""
    kinds = [_describe(cells[name]) for name in cells]
    shown = ", ".join(f"{name} ({kind})" for name, kind in list(zip(asked, kinds, strict=True))[:4])
    points = all(re.search(r"(?:^|_)[xy]$", name) for name in asked)
    what = "points" if points else "answers"
    return f"the sample submission asks for {len(asked)} {what} an image: {shown}{', …' if len(asked) > 4 else ''}"


def _find_column(rows: pd.DataFrame, name: str) -> str | None:
    """The train column of an asked one: of its name, or the only one that adds a word to it."""
    if name in rows:
        return name
    longer = [str(column) for column in rows if re.match(rf"{re.escape(name)}[_ .-]", str(column))]
    # The mean of a measurement comes with its deviation.
    means = [column for column in longer if not re.search(r"(?:sd|std|se|var)$", column)]
    return means[0] if len(means) == 1 else None


def _are_marks(cells: pd.DataFrame) -> bool:
    """Whether all columns hold the same two values, or 1, 0, -1 for uncertain and nothing for unknown."""
    values = set(cells.to_numpy().ravel())
    return len(values) == 2 or values <= {"-1", "0", "1", "-1.0", "0.0", "1.0", ""}


def _are_shares(cells: pd.DataFrame) -> bool:
    """Whether each row's numbers sum to 1, or are votes: whole, and few in sum."""
    if not all(map(is_number, cells.to_numpy().ravel())):
        return False
    numbers = cells.astype(float)
    sums = numbers.sum(axis=1)
    positive = bool((numbers >= 0).all(axis=None) and (sums > 0).all())
    votes = (
        bool((numbers % 1 == 0).all(axis=None))
        and sums.nunique() <= min(FEW_VALUES, len(sums) / 4)
        and (numbers == 0).any(axis=None)
    )
    return positive and (bool((sums - 1).abs().max() < 0.02) or bool(votes))


def _describe(cells: pd.Series) -> str:
    different = cells[cells != ""].unique()
    if all(map(is_number, different)) and len(different) > FEW_VALUES:
        return "a number"
    return f"{len(different)} values"
