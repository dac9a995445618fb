"""What the train rows hold, before anything is learned from it: labels and marks of missing values, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kitsolve.config import Competition, LabelList, Train
from kitsolve.data.groups import group_cells
from kitsolve.data.labels import differ_in_case, mark_missing, unite_labels
from kitsolve.data.sample import open_sample, speaks_for
from kitsolve.errors import KitsolveError
from kitsolve.inference.testset import Note

GIVEN_FOLDS = re.compile(r"(?:\w+_)?(?:k_?)?folds?(?:_?(?:id|idx|no|nr|num|number|k))?", re.IGNORECASE)
MOST_FOLDS = 50


def clean_labels(rows: pd.DataFrame, competition: Competition, raw: Path, *, note: Note) -> pd.DataFrame:
    """The rows that have a label, equal labels spelt alike.

    Raises:
        KitsolveError: labels that read as missing values, and the facts do not say what becomes of them.
    """
    facts = competition.train
    rows = rows.assign(**{name: rows[name].str.strip() for name in facts.targets})
    missing = _find_missing(rows, competition, raw)
    if facts.missing == "drop" and missing.any():
        first = rows[missing].iloc[0]
        note(
            f'{missing.sum()} of {len(rows)} train rows have no label and are left out, as missing = "drop" says; '
            f"first: id {first[facts.id]!r} with {first[facts.targets[0]]!r}."
        )
        rows = rows[~missing].reset_index(drop=True)
    if competition.task == "regression" or not isinstance(facts.target, (str, LabelList)):
        return rows  # numbers, which are refused by what reads them
    if facts.missing is None:
        _ask_about(rows[missing & (rows[facts.targets[0]] != "")], competition, count=len(rows))
    return _unite_labels(rows, competition, note=note)


def _find_missing(rows: pd.DataFrame, competition: Competition, raw: Path) -> pd.Series:
    """(rows,) whether there is no label, or one that reads so and that neither facts nor sample submission name."""
    facts = competition.train
    missing = pd.Series(False, index=rows.index)
    for name in facts.targets:
        missing |= mark_missing(rows[name])
    if isinstance(facts.target, LabelList):
        missing &= rows[facts.target.column] != ""  # no label is an answer there
    if competition.task == "regression" or len(facts.targets) > 1 or not missing.any():
        return missing
    named, sample = {facts.positive, facts.unknown, *(facts.order or ())}, open_sample(raw, competition)
    labels = rows[facts.targets[0]]
    known = {label for label in labels[missing].unique() if label in named or speaks_for(label, sample, competition)}
    return missing & ~labels.isin(known)


def _ask_about(odd: pd.DataFrame, competition: Competition, *, count: int) -> None:
    """Raise KitsolveError where there are rows whose label reads as a missing value."""
    facts = competition.train
    if len(odd):
        target, first = facts.targets[0], odd.iloc[0]
        raise KitsolveError(
            f"{len(odd)} of {count} train rows have a {target} that reads as a missing value, first: id "
            f"{first[facts.id]!r} with {first[target]!r}.",
            hint='add missing = "class" to [train] if that is a class, or missing = "drop" to leave these rows out.',
        )


def _unite_labels(rows: pd.DataFrame, competition: Competition, *, note: Note) -> pd.DataFrame:
    """The rows with one spelling for equal labels."""
    facts = competition.train
    name, separator = facts.targets[0], facts.target.separator if isinstance(facts.target, LabelList) else None
    words = {cell: [cell] if separator is None else _split(cell, separator) for cell in rows[name].unique()}
    known = {label for labels in words.values() for label in labels}
    if cases := [] if competition.task == "regression" else differ_in_case(known):
        first = ", ".join(map(repr, cases[0]))
        note(f"{name}: {len(cases)} labels differ in case alone, first {first}: they are different classes.")
    changed, said = unite_labels(known)
    if not changed:
        return rows
    note(f"{name}: {said}")
    united = {
        cell: (separator or "").join(dict.fromkeys(changed.get(label, label) for label in labels))
        for cell, labels in words.items()
    }
    return rows.assign(**{name: rows[name].map(united).astype(str)})


def _split(cell: str, separator: str) -> list[str]:
    return [label.strip() for label in cell.split(separator) if label.strip()]


def clean_features(rows: pd.DataFrame, features: Sequence[str], *, split: str, note: Note) -> pd.DataFrame:
    """The rows with empty cells in the place of words that stand for a missing value, in these columns."""
    for name in features:
        cells = rows[name].str.strip()
        missing = mark_missing(cells) & (cells != "")
        if missing.any():
            words = ", ".join(map(repr, cells[missing].unique()[:3]))
            note(f"{name}: {missing.sum()} of {len(rows)} {split} rows have {words}, which counts as an empty cell.")
        rows = rows.assign(**{name: cells.mask(missing, "")})
    return rows


def describe_groups(table: pd.DataFrame, facts: Train, *, note: Note) -> None:
    """Say how many rows of the train table have a group that stands for a missing value."""
    cells = group_cells(table, facts)
    if cells is None:
        return
    missing = mark_missing(cells) & (cells.str.strip() != "")
    if missing.any():
        words = ", ".join(map(repr, cells[missing].unique()[:3]))
        rows = f"{missing.sum()} of {len(table)} train rows"
        note(f"{facts.group_column}: {rows} have {words}: each is a group of its own.")


def offer_folds(rows: pd.DataFrame, competition: Competition, *, note: Note) -> None:
    """Say that the train rows bring folds of their own, where a column looks like that and the facts do not use it."""
    facts = competition.train
    for name in rows.columns:
        if not GIVEN_FOLDS.fullmatch(str(name)) or name in {
            facts.id,
            facts.group_column,
            *facts.targets,
            *facts.features,
        }:
            continue
        count = rows[name].nunique()
        if 1 < count <= min(MOST_FOLDS, len(rows) // 2) and rows[name].str.fullmatch(r"-?\d+(?:\.0)?").all():
            note(
                f"the train rows have folds of their own, the {count} values of {name!r}: to validate on these, write "
                f'group = "{name}" into [train], scheme = "group" and count = {count} into [folds].'
            )
