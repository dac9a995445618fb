"""The ids, rows and images of the test set, as they are when this runs."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from kitsolve.inference.bundle import Feature, Split, SubmissionRules
from kitsolve.inference.decode import FORMS
from kitsolve.inference.encodings import decode_file
from kitsolve.inference.filetree import FileTree, folder_lister
from kitsolve.inference.tables import read_table

Note: TypeAlias = Callable[[str], object]
"""Is called with a sentence that a user should know, and that is no error."""


def read_sample(
    input_dir: Path, rules: SubmissionRules, *, spelt: bool = False, note: Note = lambda notice: None
) -> pd.DataFrame:
    """The sample submission as strings; its first column holds the test ids.

    Args:
        spelt: as it is written, blanks and all: what a submission has to repeat.
        note: called with what is unusual about the file.

    Raises:
        ValueError: missing, without rows or without a column for the values, or with the same id twice.
    """
    path = input_dir / rules.sample
    if not path.is_file():
        raise ValueError(f"the sample submission {path} is missing.")
    table = read_table(path, spelt=spelt)
    for notice in table.notices:
        note(notice)
    sample = table.rows
    if sample.empty:
        raise ValueError(f"the sample submission {path} has no rows.")
    if rules.kind in FORMS and sample.shape[1] < 2:
        raise ValueError(
            f"the sample submission {path} has the column {sample.columns[0]!r} alone, and none to predict: "
            "a list of the test images is no sample."
        )
    ids = sample.iloc[:, 0]
    if ids.duplicated().any():
        raise ValueError(f"the sample submission {path} names id {ids[ids.duplicated()].iloc[0]!r} twice.")
    return sample


def read_rows(
    path: Path, encoding: str | None = "utf-8", key: str = "images", *, note: Note = lambda notice: None
) -> pd.DataFrame:
    """A CSV table, or the objects of a JSON list, as strings: 0012 and 1e5 are names, an empty cell is "".

    A JSON object stands for the list under `key`, or for columns.

    Args:
        encoding: None: see `decode_file`.
        note: called with what is unusual about the file.

    Raises:
        ValueError: see `read_table` and `read_json_text`.
    """
    if path.suffix.lower() != ".json":
        table = read_table(path, encoding)
        for notice in table.notices:
            note(notice)
        return table.rows
    value = read_json_text(path, encoding)
    return as_text(value.get(key, value) if isinstance(value, dict) else value)


def read_json_text(path: Path, encoding: str | None = "utf-8") -> Any:  # noqa: ANN401  (parsed JSON)
    """What a JSON file holds.

    Raises:
        ValueError: another encoding, or no JSON; names file and line.
    """
    text, _ = decode_file(path, encoding)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}, column {error.colno}: this is no JSON: {error.msg}.") from error


def as_text(records: Any) -> pd.DataFrame:  # noqa: ANN401  (parsed JSON)
    """A list of JSON objects, or an object of columns, as a table of strings; lists and objects in cells are left out.

    Raises:
        ValueError: it is neither.
    """
    table = pd.DataFrame(records, dtype=object)
    nested = [name for name in table if isinstance(next(iter(table[name]), None), (list, dict))]
    return table.drop(columns=nested).map(lambda cell: "" if cell is None or cell != cell else str(cell))


def join_rows(sample: pd.DataFrame, input_dir: Path, test: Split, *, note: Note = lambda notice: None) -> pd.DataFrame:
    """The sample's ids, and the columns that the test set's files add; without files the sample itself.

    Raises:
        ValueError: a file is missing, or lacks an id.
    """
    ids = sample.iloc[:, [0]]
    if not test.files:
        return sample
    missing = [name for name in test.files if not (input_dir / name).is_file()]
    if missing:
        raise ValueError(f"{input_dir / missing[0]} is missing.")
    tables = [read_rows(input_dir / name, test.encoding, note=note) for name in test.files]
    added = pd.concat(tables, ignore_index=True)
    if test.id not in added:
        raise ValueError(f"{test.files[0]} has no column {test.id!r}, only {list(added)}.")
    added = added.drop_duplicates()
    repeated = added[test.id][added[test.id].duplicated()]
    if len(repeated):
        note(
            f"{test.files[0]} has several rows for {repeated.nunique()} ids, of which the first is taken; "
            f"first: id {repeated.iloc[0]!r}."
        )
    added = added.drop_duplicates(test.id).set_index(test.id)
    lacking = ~ids.iloc[:, 0].isin(added.index)
    if lacking.any():
        raise ValueError(
            f"{test.files[0]} lacks {lacking.sum()} of {len(ids)} ids, first: {ids[lacking].iloc[0, 0]!r}."
        )
    rows = added.loc[ids.iloc[:, 0]].reset_index().drop(columns=ids.columns, errors="ignore")
    return pd.concat([ids.reset_index(drop=True), rows], axis=1)


def image_paths(rows: pd.DataFrame, template: str) -> list[str]:
    """The template filled with each row's columns: "{image_id}.png", "{id[0]}/{id}.npy".

    Raises:
        ValueError: the template names a column that the rows lack.
    """
    try:
        return [template.format_map(row) for row in rows.to_dict("records")]
    except (KeyError, IndexError) as error:
        raise ValueError(
            f"the image template {template!r} does not fit the columns {list(rows.columns)}: {error}."
        ) from error


def find_images(
    input_dir: Path, paths: Sequence[str], archives: Sequence[str], scratch: Path, *, test: Split | None = None
) -> list[Path]:
    """The images' files; those inside of an archive, which Kaggle leaves packed, or of JSON go to `scratch` first.

    A path that means no file, or several, is taken as it is written.
    """
    folders = {}
    for name in archives:
        place = re.sub(r"(\.tar)?\.\w+$", "", name)
        needed = any(path.startswith(f"{place}/") for path in paths)
        if needed and not (input_dir / place).is_dir() and (input_dir / name).is_file():
            folders[f"{place}/"] = _unpack(input_dir / name, scratch / place)
    if test is not None and test.arrays and not (input_dir / ARRAYS).is_dir():
        folders[f"{ARRAYS}/"] = scratch / ARRAYS
        for name in test.files:
            write_arrays(input_dir / name, scratch / ARRAYS, test)
    trees = {place: FileTree(folder_lister(folder)) for place, folder in (folders | {"": input_dir}).items()}

    def find(path: str) -> Path:
        place = next(place for place in trees if path.startswith(place))
        return folders.get(place, input_dir) / trees[place].resolve(path.removeprefix(place))

    return [find(path) for path in paths]


ARRAYS = "arrays"
"""The folder of images that come out of JSON records."""


def write_arrays(path: Path, folder: Path, split: Split) -> None:
    """Images that are numbers in JSON records become FOLDER/ID.npy: (keys, height, width); a flat list is a square.

    Raises:
        ValueError: a record without one of the keys, or a list that is no image; names the record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for record in read_json_text(path, split.encoding):
        try:
            planes = [np.asarray(record[key], dtype=np.float32) for key in split.arrays]
            side = math.isqrt(planes[0].size)
            planes = [plane.reshape(side, side) if plane.ndim == 1 else plane for plane in planes]
            np.save(folder / f"{record[split.id]}.npy", np.stack(planes))
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: the record {record.get(split.id)!r} holds no image: {error}.") from error


def _unpack(archive: Path, target: Path) -> Path:
    """Unpack a zip or tar archive; gives the folder inside that is named like it, where it has one."""
    # A zip's members cannot leave the target; a tar's need the filter.
    options: dict[str, Any] = {} if archive.suffix == ".zip" else {"filter": "data"}
    shutil.unpack_archive(archive, target, **options)
    inner = target / target.name
    return inner if inner.is_dir() and len(os.listdir(target)) == 1 else target


def encode_features(rows: pd.DataFrame, features: Sequence[Feature]) -> np.ndarray:
    """(rows, numbers) float32; see Feature.

    Raises:
        ValueError: the rows lack a column.
    """
    columns = []
    for feature in features:
        if feature.name not in rows:
            raise ValueError(f"the test rows have no column {feature.name!r}, only {list(rows)}.")
        if feature.categories:
            columns += [(rows[feature.name] == category).to_numpy() for category in feature.categories]
        else:
            numbers = pd.to_numeric(rows[feature.name], errors="coerce").to_numpy(dtype=float)
            known = np.isfinite(numbers)
            columns += [np.where(known, (numbers - feature.mean) / feature.std, 0.0), known]
    return np.stack(columns, axis=1).astype(np.float32)
