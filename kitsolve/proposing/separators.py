"""Whether the cells of a column hold several labels, and what stands between them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pandas as pd

SEPARATORS = (";", "|", ",", " ")
SEVERAL = re.compile(
    r"(?:label|tag|attribute|target|finding|code|type|categorie|classe|id)s$|list$|set$", re.IGNORECASE
)
REGIONS = re.compile(r"rle|encoded|pixel|mask|box|polygon|segment|prediction_?string", re.IGNORECASE)


@dataclass(frozen=True)
class Separator:
    """What may separate labels in a cell; `splits`: it does, as far as one can see; `is_sure` of that.

    `words`: the labels if it does.
    """

    mark: str = ""
    splits: bool = False
    is_sure: bool = True
    words: frozenset[str] = frozenset()


def find_separator(cells: pd.Series, name: str, shown: Sequence[str], wide: Sequence[str] = ()) -> Separator:
    """How the cells of the column `name` are to be read.

    Args:
        shown: cells of the sample submission.
        wide: its columns, where it has one for each label.
    """
    different = [cell for cell in cells.unique() if cell.strip()]
    for mark in SEPARATORS:
        parts = [split_cell(cell, mark) for cell in different]
        counts = Counter(map(len, parts))
        # As many words in all cells: a name of two words, a box of four numbers.
        if max(counts, default=0) > 1 and len(counts) > 1:
            labels = frozenset(word for words in parts for word in words)
            if labels == set(wide) or set(different) == set(wide):
                return Separator(mark, splits=labels == set(wide), words=labels)
            found = _judge(mark, parts, name, shown)
            # Runs of pixels and corners of boxes are numbers that hardly ever come again.
            rare = all(map(str.isdecimal, labels)) and len(labels) > len(cells) / 2
            drawn = rare or REGIONS.search(name) is not None
            return replace(found, is_sure=found.is_sure and not (found.splits and drawn))
    return Separator()


def split_cell(cell: str, mark: str) -> list[str]:
    """The labels of a cell."""
    return [word.strip() for word in cell.split(mark) if word.strip()]


def _judge(mark: str, parts: Sequence[Sequence[str]], name: str, shown: Sequence[str]) -> Separator:
    """Words of names hardly ever stand in other names; labels of sets come together in many ways."""
    sets = [words for words in parts if len(words) > 1]
    cells_with = Counter(word for words in parts for word in set(words))
    alone = {words[0] for words in parts if len(words) == 1}
    met = [word for words in sets for word in words]
    labels = frozenset(cells_with)
    if all(map(str.isdecimal, labels)) or _shows_set(parts, labels, mark, shown):
        return Separator(mark, splits=True, words=labels)
    again = sum(cells_with[word] > 1 for word in met) / len(met)
    plural = SEVERAL.search(name) is not None
    mostly_alone = sum(map(alone.__contains__, met)) > 0.8 * len(met)
    free = plural or mostly_alone or len({len(words) for words in parts}) > 2
    likely = again > 0.4 if plural else again > 0.7 and mostly_alone
    return Separator(mark, likely, is_sure=again < 0.4 or (likely and again >= 0.9 and free), words=labels)


def _shows_set(parts: Sequence[Sequence[str]], labels: Collection[str], mark: str, shown: Sequence[str]) -> bool:
    """Whether the sample has these labels together as no train row has them."""
    known = {frozenset(words) for words in parts}
    for cell in shown:
        words = split_cell(cell, mark)
        if len(words) > 1 and frozenset(words) not in known and set(words) <= set(labels):
            return True
    return False
