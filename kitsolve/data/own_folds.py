"""Folds that the user has chosen: by `kitsolve folds` with options, or by hand. New tables keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.config import Competition, check_facts
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import file_sha256
from kitsolve.workspace import read_json, write_csv, write_sealed


@dataclass(frozen=True)
class FoldChoices:
    """What `kitsolve folds` was told: fields of config.Folds, and COLUMN or COLUMN:PATTERN as group; else the facts."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None

    def __str__(self) -> str:
        """As they were said."""
        told = {**self.changes, **({"group": self.group} if self.group else {})}
        return " ".join(f"--{name} {value}" for name, value in told.items())

    def apply(self, competition: Competition, train: pd.DataFrame) -> Competition:
        """The facts with these choices in their place.

        Raises:
            KitsolveError: they do not fit together, or the train table has no such column.
        """
        if not self.changes and self.group is None:
            return competition
        facts = competition.model_dump()
        facts["folds"] |= self.changes
        if self.group is not None:
            facts["train"]["group"] = _parse_group(self.group, train)
        return check_facts(facts)


def _parse_group(text: str, train: pd.DataFrame) -> str | dict[str, str]:
    """A column, or a column and a pattern after a colon, as facts have them."""
    if text in train or f"given_{text}" in train:
        return text
    column, _, pattern = text.partition(":")
    if column not in train or not pattern:
        raise KitsolveError(f"train.csv has no column {column!r}.", hint=f"take one of: {', '.join(train)}.")
    return {"column": column, "pattern": pattern}


def write_folds(tables: Path, image_ids: pd.Series, folds: NDArray[np.int64], choices: FoldChoices | None) -> None:
    """Write folds.csv, and folds.json with the choices that made it; None: folds that the user has edited.

    The former record stays beside the new one, so that a kill between the two files leaves no folds without a record.
    """
    path, table = tables / "folds.csv", pd.DataFrame({"image_id": image_ids, "fold": folds})
    known = [record for record in _read_records(tables) if path.is_file() and record["sha256"] == file_sha256(path)]
    coming = tables / ".coming.csv"
    write_csv(coming, table)
    made = [] if choices is None else [{"sha256": file_sha256(coming), **asdict(choices)}]
    write_sealed(tables / "folds.json", {"records": made + known})
    coming.replace(path)


def read_choices(tables: Path) -> FoldChoices | None:
    """The choices that made folds.csv as it is; None: it was edited since, or no record tells."""
    path = tables / "folds.csv"
    made = file_sha256(path) if path.is_file() else None
    for record in _read_records(tables):
        if record["sha256"] == made:
            return FoldChoices(record["changes"], record["group"])
    return None


def has_record(tables: Path) -> bool:
    """Whether it is on record what folds.csv was made by: not where an older version has made it."""
    return (tables / "folds.json").is_file()


def _read_records(tables: Path) -> list[dict[str, Any]]:
    path = tables / "folds.json"
    try:
        records: list[dict[str, Any]] = read_json(path)["records"] if path.is_file() else []
    except (KitsolveError, KeyError):
        return []  # then folds.csv counts as edited, and is kept
    return records
