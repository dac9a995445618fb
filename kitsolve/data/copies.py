"""Image files that are the same, byte for byte, where they should not be."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def describe_copies(contents: Sequence[int], train: pd.DataFrame, test: pd.DataFrame, targets: list[str]) -> list[str]:
    """A sentence about train images of one content with different labels, and one about those that the test set has.

    Args:
        contents: a hash of the file of each train row, then of each test row.
        targets: the columns of the labels.
    """
    labels = train[targets].agg(", ".join, axis=1)
    known = pd.DataFrame({"path": train.path, "label": labels, "content": list(contents[: len(train)])})
    known = known.drop_duplicates("path")  # rows may share an image
    groups = known.groupby("content", sort=False)
    conflicting = known[groups.label.transform("nunique") > 1]
    said = []
    if len(conflicting):
        first = conflicting[conflicting.content == conflicting.content.iloc[0]]
        one = first.iloc[0]
        other = first[first.label != one.label].iloc[0]
        said.append(
            f"{len(conflicting):,} train images are the same file as one with another label, first: {one.path} "
            f"({one.label}) and {other.path} ({other.label})."
        )
    hidden = pd.DataFrame({"path": test.path, "content": list(contents[len(train) :])}).drop_duplicates("path")
    both = hidden.merge(known, on="content", suffixes=("", "_train")).drop_duplicates("path")
    both = both[both.path != both.path_train]
    if len(both):
        one = both.iloc[0]
        said.append(
            f"{len(both):,} of {len(hidden):,} test images are the same file as a train image, first: {one.path} and "
            f"{one.path_train}."
        )
    return said
