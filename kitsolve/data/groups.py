"""The facts and the train table -> what must stay in one fold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.config import GroupPattern, Train
from kitsolve.data.labels import mark_missing
from kitsolve.errors import KitsolveError

ID, PATH = "image_id", "path"


def group_cells(train: pd.DataFrame, facts: Train) -> pd.Series | None:
    """(rows,) the group of each row as text, empty where it has none; None where the facts name no group.

    Raises:
        KitsolveError: the pattern of a group is found in no row.
    """
    if facts.group is None or facts.group_column is None:
        return None
    if isinstance(facts.group, str):
        own = facts.column(facts.group)
        return train[own if own in train else facts.group]
    name = ID if facts.group_column == facts.id else facts.group_column
    cells = pd.Series(match_pattern(train[name], facts.group.pattern), index=train.index)
    if (cells == "").all():
        raise KitsolveError(
            f"train.group finds {facts.group.pattern!r} in no {facts.group_column}, first: {train[name].iloc[0]!r}.",
            hint="correct its pattern: the parentheses hold what rows of one group have in common.",
        )
    return cells


def match_pattern(cells: Iterable[str], pattern: str) -> list[str]:
    """What the first group of the pattern matches in each cell; empty where it is not found."""
    search = re.compile(pattern).search
    return [(found[1] or "") if (found := search(cell)) else "" for cell in cells]


def encode_groups(cells: pd.Series) -> NDArray[np.int64]:
    """(rows,) a number for each group, -1 for a cell that is empty or a mark of a missing value."""
    codes, found = pd.factorize(cells)
    words = pd.Series(found, dtype=str).str.strip()  # of each different cell once
    numbers = np.where(mark_missing(words), -1, pd.factorize(words)[0])
    return np.asarray(np.append(numbers, -1)[codes], dtype=np.int64)


def separate_missing(cells: pd.Series) -> NDArray[Any]:
    """(rows,) a number for each group; a row without one is a group of its own."""
    codes = encode_groups(cells)
    alone = codes < 0
    codes[alone] = len(codes) + np.arange(alone.sum())
    return codes


def describe_group(group: str | GroupPattern) -> str:
    """The value of train.group as competition.toml has it."""
    if isinstance(group, str):
        return f'"{group}"'
    return f"{{ column = \"{group.column}\", pattern = '{group.pattern}' }}"
