"""A row has one answer so far: a sample submission that wants several is refused, not filled in part."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from kitsolve.config import Competition
from kitsolve.errors import KitsolveError

ONE_COLUMN = ("label", "probability", "value", "label_list", "top_k")
"""Kinds of submission that fill the sample's second column."""
WAY_OUT = 'kind = "prepare:submission" lets the submission(sample, outputs, class_names) of a prepare.py fill them.'


def check_outputs(sample: pd.DataFrame, competition: Competition, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Refuse a sample submission in which a row has several answers.

    Args:
        sample: as strings; its first column holds the ids.
        train: the train table.
        test: the table of the sample's rows with their `path`.

    Raises:
        KitsolveError: further columns that want a prediction each, or a line for each row and output.
    """
    if competition.submission.kind not in ONE_COLUMN:
        return
    further = list(_list_answers(sample, competition, train=train, test=test))
    if further:
        named = ", ".join(map(repr, [sample.columns[1], *further][:6]))
        raise KitsolveError(
            f"{competition.submission.sample} wants {1 + len(further)} columns filled: {named}; "
            f"a {competition.submission.kind} fills {sample.columns[1]!r} alone.",
            hint=f"several outputs are not supported yet; {WAY_OUT}",
        )
    lines = test.path.value_counts(sort=False)
    if competition.submission.kind == "value" and lines.iloc[0] > 1 and (lines == lines.iloc[0]).all():
        first = ", ".join(map(repr, sample.iloc[:, 0][test.path.to_numpy() == lines.index[0]][:3]))
        raise KitsolveError(
            f"{competition.submission.sample} has {lines.iloc[0]} lines for each of the {len(lines)} test images, "
            f"first {first}: all would get one and the same value.",
            hint=f"several outputs are not supported yet; {WAY_OUT}",
        )


def _list_answers(
    sample: pd.DataFrame, competition: Competition, *, train: pd.DataFrame, test: pd.DataFrame
) -> Iterator[str]:
    """The columns after the second that want a prediction as well; what test rows know, or a mere remark, does not."""
    numbers = competition.submission.kind in ("probability", "value") or _is_numeric(sample.iloc[:, 1])
    words = set(sample.iloc[:, 1])
    for place in range(2, sample.shape[1]):
        name, cells = str(sample.columns[place]), sample.iloc[:, place]
        if name in test.columns:
            continue
        if name in train.columns or (numbers and _is_numeric(cells)) or set(cells) <= words:
            yield name


def _is_numeric(cells: pd.Series) -> bool:
    return bool(pd.to_numeric(cells, errors="coerce").notna().all())
