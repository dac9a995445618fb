"""Raw files -> the rows of train.csv and test.csv."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import pandas as pd

from kitsolve.config import Competition, GroupPattern, LabelList, Rows
from kitsolve.data.cleaning import clean_features, clean_labels, describe_groups, offer_folds
from kitsolve.data.sample import open_sample
from kitsolve.errors import KitsolveError, nearest, translated
from kitsolve.inference.bundle import Split
from kitsolve.inference.filetree import IMAGE_SUFFIXES, resolve_images
from kitsolve.inference.testset import (
    ARRAYS,
    Note,
    as_text,
    image_paths,
    join_rows,
    read_json_text,
    read_rows,
    write_arrays,
)


def make_train_table(raw: Path, competition: Competition, *, note: Note = lambda notice: None) -> pd.DataFrame:
    """image_id, path (the real one, relative to raw), the target and all further columns; a row an image, all strings.

    A column of the rows that has a name of ours becomes given_NAME; see `Train.column`.

    Args:
        note: called with what a user should know of the rows, a sentence at a time.

    Raises:
        KitsolveError: a file or column is missing, an id stands twice, a label is empty or reads as a missing value.
    """
    facts = competition.train
    rows = read_train_rows(raw, facts.rows, slug=competition.slug, note=note)
    if rows.empty:
        raise KitsolveError(
            f"{', '.join(facts.rows.files)} has no rows below its header.",
            hint=f"run `kitsolve fetch {competition.slug} --force`, or correct train.rows.",
        )
    wanted = [("id", facts.id), *(("target", name) for name in facts.targets)]
    group = facts.group_column
    if isinstance(facts.group, GroupPattern) and group in ("image_id", "path"):
        group = None  # of the table that is made here
    wanted += [("group", group)] if group else []
    wanted += [("features", name) for name in facts.features]
    for fact, column in wanted:
        if column not in rows.columns:
            raise KitsolveError(
                f"the train rows have no column {column!r}.",
                hint=f"correct train.{fact}: {nearest(column, rows.columns)}.",
            )
    _check_names(rows, competition)
    offer_folds(rows, competition, note=note)
    rows = clean_labels(rows, competition, raw, note=note)
    rows = clean_features(rows, facts.features, split="train", note=note)
    _check_rows(rows, competition)
    with translated(f"correct train.image in the competition.toml of {competition.slug}."):
        paths = resolve_images(raw, image_paths(rows, facts.image))
    table = pd.DataFrame({"image_id": rows[facts.id], "path": paths})
    further = rows.drop(columns=facts.id)
    table = pd.concat([table, further.rename(columns={name: facts.column(name) for name in further})], axis=1)
    describe_groups(table, facts, note=note)
    return table


def _check_names(rows: pd.DataFrame, competition: Competition) -> None:
    """Refuse facts about columns whose names train.csv itself has."""
    facts = competition.train
    used = [*facts.targets, *facts.features]
    taken = next((name for name in used if facts.column(name) != name), None)
    if taken is not None:
        what = "is train.id, too" if taken == facts.id else "has a name that train.csv itself uses"
        where = ", ".join(facts.rows.files) or "the pattern of train.rows"
        raise KitsolveError(
            f"the column {taken!r} {what}: it cannot be a target or a feature.",
            hint=f'rename it in {where}, say to "{taken}_of_host", and in the competition.toml.',
        )
    doubled = next((name for name in rows if facts.column(name) != name and facts.column(name) in rows), None)
    if doubled is not None and doubled != facts.id:
        raise KitsolveError(
            f"the train rows have both {doubled!r} and {facts.column(doubled)!r}.", hint="rename one of them."
        )


def read_train_rows(raw: Path, rows: Rows, *, slug: str, note: Note = lambda notice: None) -> pd.DataFrame:
    """The rows that the facts name, all cells as strings.

    Raises:
        KitsolveError: a file is missing or not of its kind, or a file name does not match the pattern.
    """
    if rows.glob is not None:
        return _list_files(raw, rows.glob, rows.pattern, slug=slug)
    tables = []
    for name in rows.files:
        if not (raw / name).is_file():
            raise KitsolveError(
                f"{raw / name} is missing.", hint=f"run `kitsolve fetch {slug} --force`, or correct train.rows."
            )
        with translated(f"correct train.rows in the competition.toml of {slug}."):
            table = _join_coco(raw / name, rows) if rows.coco else read_rows(raw / name, rows.encoding, note=note)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _list_files(raw: Path, wanted: str, pattern: str | None, *, slug: str) -> pd.DataFrame:
    found = sorted(path.replace("\\", "/") for path in glob.glob(wanted, root_dir=raw, recursive=True))
    # Browsers of files leave their own ones among images: Thumbs.db, desktop.ini.
    paths = [path for path in found if path.lower().endswith(IMAGE_SUFFIXES)]
    paths = paths or [path for path in found if (raw / path).is_file()]
    if not paths:
        raise KitsolveError(f"no file of {raw} matches {wanted!r}.", hint=f"correct train.rows.glob of {slug}.")
    groups = []
    for path in paths if pattern else ():
        match = re.search(pattern or "", path)
        if match is None:
            raise KitsolveError(
                f"{path} does not match the pattern {pattern!r}.", hint=f"correct train.rows.pattern of {slug}."
            )
        groups.append(match.groupdict())
    table = pd.DataFrame(groups, index=range(len(paths)))
    table["path"] = paths
    return table


def _join_coco(path: Path, rows: Rows) -> pd.DataFrame:
    """A row an annotation, with the columns of its image."""
    value = read_json_text(path, rows.encoding)
    if not isinstance(value, dict) or not {"images", "annotations"} <= set(value):
        raise ValueError(f"{path} has no images and annotations; rows of a bare list are `records`.")
    images, annotations = as_text(value["images"]), as_text(value["annotations"])
    image_key, annotation_key = rows.on or ("id", "image_id")
    for table, key in ((images, image_key), (annotations, annotation_key)):
        if key not in table:
            raise ValueError(f"{path}: no key {key!r}, only {list(table)}.")
    return annotations.merge(
        images, left_on=annotation_key, right_on=image_key, suffixes=("", "_image"), validate="many_to_one"
    )


def _check_rows(rows: pd.DataFrame, competition: Competition) -> None:
    facts = competition.train
    ids = rows[facts.id]
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise KitsolveError(
            f"the train rows name {repeated.nunique()} ids more than once, first: {repeated.iloc[0]!r}.",
            hint="remove the repeated rows, or choose another train.id.",
        )
    for target in () if isinstance(facts.target, LabelList) else facts.targets:
        empty = ids[rows[target].str.strip() == ""]
        if len(empty):
            raise KitsolveError(
                f"{len(empty)} of {len(rows)} train rows have no {target}, first: id {empty.iloc[0]!r}.",
                hint='fill in or remove these rows, or add missing = "drop" to [train].',
            )


def make_test_table(raw: Path, competition: Competition, *, note: Note = lambda notice: None) -> pd.DataFrame:
    """image_id and path of the sample submission's ids, in its order, and the columns that the test rows add.

    Raises:
        KitsolveError: a file or id is missing, or a feature that the test rows do not have.
    """
    sample = open_sample(raw, competition, note=note)
    with translated(f"correct [test] in the competition.toml of {competition.slug}."):
        split = test_split(competition, sample)
        rows = join_rows(sample, raw, split, note=note)
        paths = resolve_images(raw, image_paths(rows, split.image))
    lacking = [name for name in competition.train.features if name not in rows or not split.files]
    if lacking:
        raise KitsolveError(
            f"the test rows have no column {lacking[0]!r}: a model that takes it would know what it cannot know.",
            hint=f"remove it from train.features of {competition.slug}, or name the file that has it in test.rows.",
        )
    rows = clean_features(rows, competition.train.features, split="test", note=note)
    table = pd.DataFrame({"image_id": sample.iloc[:, 0], "path": paths})
    further = rows.iloc[:, 1:] if split.files else rows.iloc[:, :0]
    return pd.concat([table, further.drop(columns=["image_id", "path", split.id], errors="ignore")], axis=1)


def test_split(competition: Competition, sample: pd.DataFrame) -> Split:
    """The test split's facts as the bundle holds them."""
    rows = competition.test.rows
    return Split(
        image=competition.test.image,
        files=tuple(rows.files) if rows else (),
        id=competition.test.id or str(sample.columns[0]),
        encoding=rows.encoding if rows else "utf-8",
        arrays=tuple(rows.arrays) if rows else (),
    )


def unpack_arrays(raw: Path, competition: Competition) -> None:
    """Write the images that are numbers inside of JSON records as raw/arrays/ID.npy, unless they are there.

    Raises:
        KitsolveError: a record without an image.
    """
    train, test = competition.train, competition.test
    wanted = [(train.rows, train.id), *([(test.rows, test.id)] if test.rows else [])]
    if (raw / ARRAYS).is_dir() or not any(rows.arrays for rows, _ in wanted):
        return
    scratch = raw / f".{ARRAYS}"
    with translated(f"correct the arrays of rows in the competition.toml of {competition.slug}."):
        for rows, key in wanted:
            for name in rows.files:
                write_arrays(raw / name, scratch, Split("", (), key or train.id, rows.encoding, tuple(rows.arrays)))
    scratch.rename(raw / ARRAYS)
