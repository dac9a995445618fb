"""Predictions become the file that the competition accepts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from kitsolve.inference.bundle import SubmissionRules
from kitsolve.inference.decode import FORMS
from kitsolve.inference.tables import table_bytes


def make_submission(sample: pd.DataFrame, predictions: np.ndarray, rules: SubmissionRules) -> pd.DataFrame:
    """The sample with its values replaced: columns, order and ids are right by construction.

    Args:
        predictions: as `decode` gives them in the kind's form, a row for each of the sample's.
    """
    submission = sample.copy()
    names = np.array([*rules.class_names, rules.unknown], dtype=object)
    column = sample.columns[1]
    if rules.kind == "label":
        submission[column] = names[predictions]
    elif rules.kind == "probability":
        submission[column] = predictions[:, -1]
    elif rules.kind == "class_probabilities":
        submission[list(rules.class_names)] = predictions
    elif rules.kind == "label_list":
        submission[column] = [rules.separator.join(names[:-1][row]) for row in predictions]
    elif rules.kind == "top_k":
        submission[column] = [rules.separator.join(names[row]) for row in predictions]
    elif rules.kind == "value":
        submission[column] = predictions
    else:
        raise ValueError(f"unknown kind of submission {rules.kind!r}.")
    return submission


def check_submission(submission: pd.DataFrame, sample: pd.DataFrame, rules: SubmissionRules) -> None:
    """Refuse what Kaggle would refuse.

    Args:
        submission: as read from its file, all columns as strings.

    Raises:
        ValueError: names the first offending row.
    """
    if list(submission.columns) != list(sample.columns):
        raise ValueError(
            f"the submission has the columns {list(submission.columns)}, the sample {list(sample.columns)}."
        )
    ids, expected = submission.iloc[:, 0], sample.iloc[:, 0]
    if ids.duplicated().any():
        raise ValueError(f"the submission names id {ids[ids.duplicated()].iloc[0]!r} twice.")
    for problem, odd in (("lacks", set(expected) - set(ids)), ("has the unknown", set(ids) - set(expected))):
        if odd:
            raise ValueError(f"the submission {problem} {len(odd)} of {len(expected)} ids, first: {min(odd)!r}.")
    if rules.kind in FORMS:
        wide = rules.kind == "class_probabilities" and set(rules.class_names) <= set(submission.columns)
        _check_values(ids, submission[list(rules.class_names)] if wide else submission.iloc[:, 1:2], rules)


def _check_values(ids: pd.Series, values: pd.DataFrame, rules: SubmissionRules) -> None:
    if rules.kind in ("label", "label_list", "top_k"):
        problems = _problems_of_labels(values.iloc[:, 0], rules)
    else:
        problems = _problems_of_numbers(values, rules)
    for row, problem in problems:
        raise ValueError(f"row {row + 2}, id {ids.iloc[row]!r}: {problem}.")


def _problems_of_labels(cells: pd.Series, rules: SubmissionRules) -> Iterator[tuple[int, str]]:
    known = {*rules.class_names, *([rules.unknown] if rules.unknown else [])}
    most = {"label": 1, "label_list": len(known), "top_k": rules.top_k}[rules.kind]
    for row, cell in enumerate(cells):
        labels = [cell] if rules.kind == "label" else [label for label in cell.split(rules.separator) if label]
        odd = [label for label in labels if label not in known]
        if odd:
            yield row, f"{odd[0]!r} is none of the classes"
        elif len(set(labels)) < len(labels) or len(labels) > most:
            yield row, f"{cell!r} names a class twice, or more than {most}"
        elif not labels and rules.kind == "top_k":
            yield row, "there is no class"


def _problems_of_numbers(values: pd.DataFrame, rules: SubmissionRules) -> Iterator[tuple[int, str]]:
    low, high = (rules.bounds or (-np.inf, np.inf)) if rules.kind == "value" else (0.0, 1.0)
    numbers = values.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    for row in np.flatnonzero(~((numbers >= low) & (numbers <= high) & np.isfinite(numbers)).all(axis=1)):
        yield int(row), f"{values.iloc[row].tolist()} is not within {low:g} and {high:g}"
    if rules.whole_rows:
        for row in np.flatnonzero(np.abs(numbers.sum(axis=1) - 1) > 1e-6):
            yield int(row), f"the probabilities sum to {numbers[row].sum():.8f}, not 1"


def write_submission(submission: pd.DataFrame, output: Path) -> None:
    """Write the CSV file whole or not at all.

    Raises:
        ValueError: the disk is full, or the folder cannot be written.
    """
    temporary = output.with_name(f".{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(table_bytes(submission))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ValueError(
            f"{output} cannot be written: {error.strerror or error}; what it held before is intact."
        ) from error
    os.replace(temporary, output)
