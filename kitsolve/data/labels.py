"""Labels as words: their order, which of them are one, which are none, and how a sample submission spells them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import Decimal

import pandas as pd

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
MISSING = frozenset(
    ["", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "#null!", "nil", "none", "unknown"]
    + ["unk", "undefined", "missing", "not available", "?", "??", "???", "-", "--", "---", "."]
)
"""Words that stand for a missing value, in lower case: those of pandas, R, SQL, Excel, WEKA and people."""


def is_number(text: str) -> bool:
    """Whether a word is a finite number: "1e999" and "nan", which have no place among numbers, are words."""
    return NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def sorted_labels(labels: Collection[str]) -> list[str]:
    """Sorted as numbers where all of them are numbers, else as text: an order that no process or locale changes."""
    if all(map(is_number, labels)):
        return sorted(labels, key=lambda label: (Decimal(label), label))
    return sorted(labels)


def is_missing(label: str) -> bool:
    """Whether a word stands for a missing value, or is empty."""
    return label.strip().lower() in MISSING


def mark_missing(cells: pd.Series) -> pd.Series:
    """(rows,) whether each cell is empty or stands for a missing value."""
    marks = {cell for cell in cells.unique() if is_missing(cell)}
    return cells.isin(marks)


def canonical(label: str) -> str:
    """What equal labels have in common: "1" of "1.0" and "01"; composed letters (NFC) without blanks around."""
    text = unicodedata.normalize("NFC", label.strip())
    return plain_number(text) if is_number(text) else text


def plain_number(text: str) -> str:
    """A number without a sign, zeros or an exponent that it does not need."""
    value = Decimal(text)
    return format(value.normalize() if value else Decimal(0), "f")


def unite_labels(cells: pd.Series) -> tuple[pd.Series, list[str]]:
    """The labels of a column, equal ones spelt alike, and sentences about those that were not.

    Blanks around them are left out; numbers are equal by their value where all labels are numbers; letters with their
    accents however these are encoded.
    """
    cells = cells.str.strip()
    spellings: dict[str, list[str]] = {}
    numbers = all(map(is_number, cells.unique()))
    for label in sorted(cells.unique()):
        key = canonical(label) if numbers else unicodedata.normalize("NFC", label)
        spellings.setdefault(key, []).append(label)
    doubled = [(key, labels) for key, labels in spellings.items() if len(labels) > 1]
    if not doubled:
        return cells, []
    key, labels = doubled[0]
    renamed = {label: key for key, labels in (spellings.items() if numbers else doubled) for label in labels}
    what = "numbers are written in several ways" if numbers else "labels differ only in how letters are encoded"
    return cells.map(renamed).where(cells.isin(list(renamed)), cells), [
        f"{len(doubled)} {what} in {cells.name}, first {' and '.join(map(repr, labels))}: they are one class, {key!r}."
    ]


def spell_as(names: Sequence[str], shown: Iterable[str]) -> tuple[str, ...]:
    """The names as a sample submission spells them.

    Args:
        shown: the labels of the sample. A name among them is spelt as there; for the others the first way of writing
            numbers and accents counts by which those that are shown come from their names; else they stay.
    """
    spelt: dict[str, str] = {}
    for label in shown:
        spelt.setdefault(canonical(label), label)
    known = {name: spelt[canonical(name)] for name in names if canonical(name) in spelt}
    style = next((style for style in _styles(known) if all(style(name) == label for name, label in known.items())), str)
    return tuple(known.get(name) or style(name) for name in names)


def _styles(known: dict[str, str]) -> list[Callable[[str], str]]:
    """Ways to write a label, the plainest change first."""
    first = next(iter(known.values()), "")
    before, after = first[: len(first) - len(first.lstrip())], first[len(first.rstrip()) :]
    digits = len(first.strip())

    def for_numbers(write: Callable[[str], str]) -> Callable[[str], str]:
        return lambda name: write(plain_number(name)) if is_number(name) else name

    def with_point(number: str) -> str:
        return number if "." in number else f"{number}.0"

    words: list[Callable[[str], str]] = [
        str,
        lambda name: unicodedata.normalize("NFC", name),
        lambda name: unicodedata.normalize("NFD", name),
        for_numbers(str),
        for_numbers(with_point),
        for_numbers(lambda number: number.zfill(digits)),
    ]
    padded: list[Callable[[str], str]] = [lambda name, word=word: f"{before}{word(name)}{after}" for word in words]
    return words + padded
