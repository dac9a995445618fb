"""What the train rows hold, before anything is learned from it: labels and marks of missing values, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kitsolve.config import Competition, LabelList, Train
from kitsolve.data.groups import group_cells
from kitsolve.data.labels import is_missing, mark_missing, unite_labels
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
    if competition.task == "multilabel" or len(facts.targets) > 1:
        return _drop_missing(rows, competition, note=note) if not isinstance(facts.target, LabelList) else rows
    if competition.task == "regression":
        return _drop_missing(rows, competition, note=note)
    if facts.missing != "class":
        _ask_about_missing(rows, competition, raw)
        rows = _drop_missing(rows, competition, note=note, kept=_known_labels(rows, competition, raw))
    target = facts.targets[0]
    changed, said = unite_labels(rows[target].unique().tolist())
    if changed:
        note(f"{target}: {said}")
        rows = rows.assign(**{target: rows[target].replace(changed)})
    return rows


def _known_labels(rows: pd.DataFrame, competition: Competition, raw: Path) -> set[str]:
    """Labels that look like missing values, but that the facts or the sample submission name."""
    facts = competition.train
    named = {facts.positive, facts.unknown, *(facts.order or ())}
    marks = [label for label in rows[facts.targets[0]].unique() if label and is_missing(label)]
    if not marks:
        return set()
    sample = open_sample(raw, competition)
    return {label for label in marks if label in named or speaks_for(label, sample, competition)}


def _ask_about_missing(rows: pd.DataFrame, competition: Competition, raw: Path) -> None:
    facts = competition.train
    if facts.missing is not None:
        return
    labels = rows[facts.targets[0]]
    known = _known_labels(rows, competition, raw)
    odd = labels[mark_missing(labels) & (labels != "") & ~labels.isin(known)]
    if len(odd):
        raise KitsolveError(
            f"{len(odd)} of {len(rows)} train rows have a {labels.name} that reads as a missing value, first: id "
            f"{rows[facts.id].loc[odd.index[0]]!r} with {odd.iloc[0]!r}.",
            hint='add missing = "class" to [train] if that is a class, or missing = "drop" to leave these rows out.',
        )


def _drop_missing(
    rows: pd.DataFrame, competition: Competition, *, note: Note, kept: set[str] | None = None
) -> pd.DataFrame:
    """The rows without those that have no label, where the facts say so."""
    facts = competition.train
    if facts.missing != "drop":
        return rows
    missing = pd.Series(False, index=rows.index)
    for name in facts.targets:
        missing |= mark_missing(rows[name]) & ~rows[name].isin(kept or ())
    if missing.any():
        first = rows[missing].iloc[0]
        note(
            f'{missing.sum()} of {len(rows)} train rows have no label and are left out, as missing = "drop" says; '
            f"first: id {first[facts.id]!r} with {first[facts.targets[0]]!r}."
        )
    return rows[~missing].reset_index(drop=True)


def clean_features(rows: pd.DataFrame, features: Sequence[str], *, note: Note) -> pd.DataFrame:
    """The rows with empty cells in the place of words that stand for a missing value, in these columns."""
    for name in features:
        cells = rows[name].str.strip()
        missing = mark_missing(cells) & (cells != "")
        if missing.any():
            words = ", ".join(map(repr, cells[missing].unique()[:3]))
            note(f"{name}: {missing.sum()} of {len(rows)} train rows have {words}, which counts as an empty cell.")
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
