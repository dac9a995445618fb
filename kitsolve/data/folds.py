"""Rows -> the fold in which each one is validated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold

from kitsolve.errors import KitsolveError


def make_folds(targets: NDArray[np.object_], *, scheme: str, count: int, seed: int, shuffle: bool) -> NDArray[np.int64]:
    """The 0-based fold of every row.

    Args:
        targets: (rows,) labels.
        scheme: "stratified": every fold has each class's share; "plain": rows alone.
        shuffle: with `seed`; without it folds are blocks of consecutive rows (of each class, where stratified).

    Raises:
        KitsolveError: fewer rows than folds, in all or of one class.
    """
    if len(targets) < count:
        raise KitsolveError(f"{len(targets)} rows cannot make {count} folds.", hint="lower folds.count.")
    if scheme == "stratified":
        _check_classes(targets, count)
    splitter = (StratifiedKFold if scheme == "stratified" else KFold)(
        count, shuffle=shuffle, random_state=seed if shuffle else None
    )
    folds = np.full(len(targets), -1, dtype=np.int64)
    for fold, (_, rows) in enumerate(splitter.split(np.zeros(len(targets)), targets.astype(str))):
        folds[rows] = fold
    return folds


def _check_classes(targets: NDArray[np.object_], count: int) -> None:
    labels, sizes = np.unique(targets.astype(str), return_counts=True)
    rare = labels[sizes < count]
    if len(rare):
        raise KitsolveError(
            f"{len(rare)} of {len(labels)} classes have fewer rows than the {count} folds, "
            f"first: {str(rare[0])!r} with {sizes[sizes < count][0]}.",
            hint='lower folds.count, or set folds.scheme = "plain".',
        )
