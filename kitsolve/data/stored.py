"""train.csv, test.csv and folds.csv on the disk: read back only where they are what kitsolve wrote, or fit together."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from kitsolve.config import Competition
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import file_sha256
from kitsolve.provenance import list_changes, text_sha256
from kitsolve.workspace import Workspace, read_csv, read_json

TABLES = ("train.csv", "test.csv")


def read_marker(workspace: Workspace, slug: str) -> dict[str, Any]:
    """tables.json: the facts that the tables were made from, what was fetched, and the sha256 of the tables.

    Raises:
        KitsolveError: `kitsolve fetch` has not finished, or the file is damaged.
    """
    path, hint = workspace.finished_tables(slug) / "tables.json", f"run `kitsolve fetch {slug}`."
    values = read_json(path, hint=hint)
    if not all(isinstance(values.get(key), dict) for key in ("facts", "fetched")):
        raise KitsolveError(f"{path} is damaged: it lacks facts or fetched.", hint)
    return values


def hash_tables(workspace: Workspace, slug: str) -> dict[str, str]:
    """The sha256 of train.csv and test.csv, for tables.json."""
    return {name: file_sha256(workspace.tables(slug) / name) for name in TABLES}


def read_earlier(workspace: Workspace, slug: str) -> dict[str, Any]:
    """tables.json as an earlier `kitsolve fetch` left it; empty where there is none, or a damaged one."""
    try:
        return read_marker(workspace, slug)
    except KitsolveError:
        return {}


def list_edited(workspace: Workspace, slug: str, marker: Mapping[str, Any]) -> list[str]:
    """Which of the tables are not any more what the marker says; none where it does not say."""
    tables, recorded = workspace.tables(slug), marker.get("files", {})
    return [str(tables / name) for name, made in recorded.items() if _content(tables / name) != made]


def _content(path: Path) -> str | None:
    return file_sha256(path) if path.is_file() else None


def hash_raw_tables(workspace: Workspace, competition: Competition) -> dict[str, str]:
    """The sha256 of each raw file that rows come from, or of the list of files where they are the rows."""
    raw, train, test = workspace.raw(competition.slug), competition.train, competition.test
    names = [*train.rows.files, *(test.rows.files if test.rows else ()), competition.submission.sample]
    found = {name: file_sha256(raw / name) for name in dict.fromkeys(names) if (raw / name).is_file()}
    if train.rows.glob is not None:
        found[train.rows.glob] = text_sha256(*sorted(glob.glob(train.rows.glob, root_dir=raw, recursive=True)))
    return found


def list_stale(workspace: Workspace, competition: Competition) -> list[str]:
    """The raw files that have changed since the tables were made from them; none where that is not on record."""
    recorded = read_earlier(workspace, competition.slug).get("made_from")
    return [] if recorded is None else list_changes(recorded, hash_raw_tables(workspace, competition))


def require_fresh_tables(workspace: Workspace, competition: Competition) -> None:
    """Raise KitsolveError where the tables were made from other facts or raw files than there are now."""
    slug = competition.slug
    recorded, facts = read_marker(workspace, slug)["facts"], competition.for_training().model_dump(mode="json")
    decisive = {key: recorded[key] for key in ("archives", "image", "train", "test", "folds") if key in recorded}
    changes = list_fact_changes(decisive, facts) or list_stale(workspace, competition)
    if changes:
        raise KitsolveError(
            f"the tables of {slug} were made from other facts or files: {changes[0]}.",
            hint=f"run `kitsolve fetch {slug}`: it makes them anew.",
        )


def read_table(workspace: Workspace, slug: str, name: str) -> pd.DataFrame:
    """train.csv or test.csv as `kitsolve fetch` wrote it: all cells as strings, each id once, paths inside of raw.

    Raises:
        KitsolveError: it was edited or is damaged.
    """
    path = workspace.finished_tables(slug) / name
    hint = f"run `kitsolve fetch {slug}`: it makes the table anew; corrections belong into the raw files or the facts."
    recorded = read_marker(workspace, slug).get("files", {}).get(name)
    if not path.is_file():
        raise KitsolveError(f"{path} is missing.", hint)
    if recorded is not None and file_sha256(path) != recorded:
        raise KitsolveError(f"{path} was changed after `kitsolve fetch` wrote it.", hint)
    table = _read_rows(path, hint)
    for problem in _odd_rows(table):
        raise KitsolveError(f"{path} {problem}.", hint)
    return table


def _read_rows(path: Path, hint: str) -> pd.DataFrame:
    try:
        return read_csv(path)
    except (KitsolveError, ValueError, OSError) as error:
        raise KitsolveError(f"{path} is damaged: {str(error).splitlines()[0]}", hint) from error


def _odd_rows(table: pd.DataFrame) -> list[str]:
    """What is wrong with the rows of a table."""
    lacking = [name for name in ("image_id", "path") if name not in table]
    if lacking or table.empty:
        return [f"has no column {lacking[0]!r}" if lacking else "has no rows"]
    twice = table.image_id[table.image_id.duplicated()]
    outside = table.path[[_leaves_folder(path) for path in table.path]]
    found = [f"names id {twice.iloc[0]!r} twice"] if len(twice) else []
    return found + ([f"names an image outside of the raw files: {outside.iloc[0]}"] if len(outside) else [])


def _leaves_folder(path: str) -> bool:
    plain = PurePosixPath(path.replace("\\", "/") if os.sep == "\\" else path)
    return plain.is_absolute() or ".." in plain.parts


def read_folds(workspace: Workspace, slug: str, image_ids: pd.Series) -> pd.DataFrame:
    """folds.csv, one of the user's own too: image_id and fold (int, 0-based), a row for each of the ids.

    Raises:
        KitsolveError: it cannot be read, rows are missing, doubled or unknown, or the folds are not 0, 1, … in a row.
    """
    path = workspace.tables(slug) / "folds.csv"
    hint = f"correct {path}, or run `kitsolve folds {slug}`: it writes it anew."
    table = _read_rows(path, hint)
    for problem in _odd_folds(table, image_ids):
        raise KitsolveError(f"{path}: {problem}.", hint)
    return table[["image_id", "fold"]].astype({"fold": int})


def _odd_folds(table: pd.DataFrame, image_ids: pd.Series) -> list[str]:
    """What is wrong with folds for these ids, the gravest first."""
    if not {"image_id", "fold"} <= set(table):
        return [f"the columns are {', '.join(map(repr, table))}, not 'image_id' and 'fold'"]
    odd = table[[re.fullmatch(r"[0-9]{1,6}", str(fold)) is None for fold in table.fold]]
    twice, unknown = table.image_id[table.image_id.duplicated()], table.image_id[~table.image_id.isin(image_ids)]
    missing = image_ids[~image_ids.isin(table.image_id)]
    found = []
    if len(odd):
        first = f"id {odd.image_id.iloc[0]!r} has {odd.fold.iloc[0]!r}"
        found.append(f"{len(odd)} rows have no fold from 0 on, first: {first}")
    for ids, what in ((twice, "stand twice"), (unknown, "are not in train.csv"), (missing, "of train.csv are missing")):
        if len(ids):
            found.append(f"{len(ids)} ids {what}, first: {ids.iloc[0]!r}")
    return found or _odd_numbers(sorted({int(fold) for fold in table.fold}))


def _odd_numbers(folds: list[int]) -> list[str]:
    if len(folds) < 2:
        return ["all rows are in one fold: no row is left to learn from"]
    gap = next((fold for fold in range(folds[-1]) if fold not in set(folds)), None)
    return [] if gap is None else [f"there is a fold {folds[-1]}, but no fold {gap}"]


def list_fact_changes(recorded: Mapping[str, Any], present: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where facts that tables were made from differ from those of today: "train.target: 'a', not 'b'".

    What was not recorded is younger than the record, and no change.
    """
    changes = []
    for key, before in recorded.items():
        now = present.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            changes += list_fact_changes(before, now, f"{prefix}{key}.")
        elif before != now:
            changes.append(f"{prefix}{key}: {before!r}, not {now!r}")
    return changes
