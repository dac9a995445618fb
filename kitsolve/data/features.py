"""Columns of train and test that a model takes beside the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Feature

MOST_CATEGORIES = 100


def fit_features(train: pd.DataFrame, names: Sequence[str]) -> tuple[Feature, ...]:
    """How each column becomes numbers, learned from the train rows.

    A column whose filled cells are all numbers is standardised; any other has a number for each of its values.

    Raises:
        KitsolveError: no such column, nothing in it, or too many values for categories.
    """
    return tuple(_fit_feature(train, name) for name in names)


def _fit_feature(train: pd.DataFrame, name: str) -> Feature:
    if name not in train:
        raise KitsolveError(f"the train rows have no column {name!r}.", hint="correct train.features.")
    filled = train[name][train[name].str.strip() != ""]
    if filled.empty:
        raise KitsolveError(f"the column {name!r} is empty.", hint="remove it from train.features.")
    numbers = pd.to_numeric(filled, errors="coerce")
    if numbers.notna().all() and np.isfinite(numbers).all():
        return Feature(name, float(numbers.mean()), float(numbers.std(ddof=0)) or 1.0, categories=())
    categories = tuple(sorted(set(filled)))
    if len(categories) > MOST_CATEGORIES:
        raise KitsolveError(
            f"the column {name!r} has {len(categories)} different values, more than {MOST_CATEGORIES}.",
            hint="remove it from train.features.",
        )
    return Feature(name, 0.0, 1.0, categories)
