"""Raw files -> the rows of train.csv and test.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kitsolve.config import Competition
from kitsolve.errors import KitsolveError, nearest, translated
from kitsolve.inference import SubmissionRules, image_paths, read_sample
from kitsolve.workspace import read_csv


def make_train_table(raw: Path, competition: Competition) -> pd.DataFrame:
    """image_id, path (relative to raw), the target and all further columns; a row an image, all strings.

    Raises:
        KitsolveError: a file or column is missing, an id stands twice, a label is empty.
    """
    facts = competition.train
    source = raw / facts.rows.csv
    if not source.is_file():
        raise KitsolveError(
            f"{source} is missing.", hint=f"run `kitsolve fetch {competition.slug} --force`, or correct train.rows."
        )
    rows = read_csv(source)
    for fact, column in (("id", facts.id), ("target", facts.target)):
        if column not in rows.columns:
            raise KitsolveError(
                f"{source} has no column {column!r}.", hint=f"correct train.{fact}: {nearest(column, rows.columns)}."
            )
    _check_rows(rows, source=source, id_column=facts.id, target=facts.target)
    with translated(f"correct train.image in the competition.toml of {competition.slug}."):
        paths = image_paths(rows, facts.image)
    table = pd.DataFrame({"image_id": rows[facts.id], "path": paths})
    return pd.concat([table, rows.drop(columns=[facts.id, "image_id", "path"], errors="ignore")], axis=1)


def _check_rows(rows: pd.DataFrame, *, source: Path, id_column: str, target: str) -> None:
    ids = rows[id_column]
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise KitsolveError(
            f"{source} names {repeated.nunique()} ids more than once, first: {repeated.iloc[0]!r}.",
            hint="remove the repeated rows, or choose another train.id.",
        )
    empty = ids[rows[target].str.strip() == ""]
    if len(empty):
        raise KitsolveError(
            f"{source}: {len(empty)} of {len(rows)} rows have no {target}, first: id {empty.iloc[0]!r}.",
            hint="fill in or remove these rows.",
        )


def make_test_table(raw: Path, competition: Competition) -> pd.DataFrame:
    """image_id and path of the sample submission's ids, in its order."""
    rules = SubmissionRules(competition.submission.kind, competition.submission.sample, class_names=())
    with translated(f"correct submission.sample or test.image in the competition.toml of {competition.slug}."):
        sample = read_sample(raw, rules)
        paths = image_paths(sample, competition.test.image)
    return pd.DataFrame({"image_id": sample.iloc[:, 0], "path": paths})


def class_names(train: pd.DataFrame, competition: Competition, raw: Path) -> tuple[str, ...]:
    """The classes in the order of the probabilities.

    The sample's columns where the submission has one for each class; else the sorted labels of the whole train set,
    as numbers where all of them are numbers. A binary task's positive class is the last.

    Raises:
        KitsolveError: the sample's columns and the labels differ, or a binary task has not two classes.
    """
    labels = set(train[competition.train.target])
    if competition.task == "binary" and len(labels) != 2:
        raise KitsolveError(
            f"a binary task has 2 classes, train.csv has {len(labels)}.", hint='set task = "multiclass".'
        )
    if competition.submission.kind != "class_probabilities":
        return tuple(sorted(labels, key=_label_order(labels)))
    names = tuple(read_csv(raw / competition.submission.sample).columns[1:])
    if set(names) != labels:
        odd = sorted(set(names) ^ labels)[0]
        raise KitsolveError(
            f"the classes of train.csv and of {competition.submission.sample} differ, first: {odd!r}.",
            hint="correct train.target or submission.kind.",
        )
    return names


def _label_order(labels: set[str]) -> type[float] | type[str]:
    try:
        for label in labels:
            float(label)
    except ValueError:
        return str
    return float


def label_indices(labels: pd.Series, names: tuple[str, ...]) -> np.ndarray:
    """(rows,) int64: the index of every label in `names`, the class order of the probabilities."""
    class2target = {name: target for target, name in enumerate(names)}
    return np.array([class2target[label] for label in labels], dtype=np.int64)
