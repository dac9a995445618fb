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


def unite_labels(labels: Collection[str]) -> tuple[dict[str, str], str]:
    """Labels that want another spelling, since they are equal to others, with it; and a sentence about the first.

    Numbers are equal by their value where all labels, but for missing ones, are numbers; letters with accents are
    however these are encoded.
    """
    spellings: dict[str, list[str]] = {}
    known = sorted_labels([label for label in labels if not is_missing(label)])
    numbers = all(map(is_number, known))
    for label in known:
        key = plain_number(label) if numbers else unicodedata.normalize("NFC", label)
        spellings.setdefault(key, []).append(label)
    doubled = {key: labels for key, labels in spellings.items() if len(labels) > 1}
    if not doubled:
        return {}, ""
    changed = spellings if numbers else doubled  # "1" beside "1.0" makes "2.0" a "2"
    key, first = next(iter(doubled.items()))
    what = "numbers are" if numbers else "labels, equal but for the encoding of accents, are"
    said = f"{len(doubled)} {what} written in several ways, first {', '.join(map(repr, first))}: one class, {key!r}."
    return {label: key for key, labels in changed.items() for label in labels if label != key}, said


def differ_in_case(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Words that differ in upper and lower case alone; single letters and codes with digits may well do so."""
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        if len(label) > 1 and not any(map(str.isdigit, label)):
            groups.setdefault(label.casefold(), []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def find_label(label: str, names: Collection[str]) -> str:
    """The name that a fact means: the label itself, or the one that is equal to it."""
    if label in names:
        return label
    return next((name for name in names if canonical(name) == canonical(label)), label)


def spell_as(names: Sequence[str], shown: Iterable[str]) -> tuple[str, ...]:
    """The names as a sample submission spells them.

    Args:
        shown: the labels of the sample. A name among them is spelt as there; for the others the first way of writing
            numbers and accents counts by which those that are shown come from their names; else they stay.
    """
    spelt: dict[str, str] = {}
    for label in sorted(shown, key=lambda label: label != label.strip()):
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

    def with_blanks(word: Callable[[str], str]) -> Callable[[str], str]:
        return lambda name: f"{before}{word(name)}{after}"

    return words + [with_blanks(word) for word in words]
