"""Columns of train and test that a model takes beside the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kitsolve.data.labels import is_number
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


def describe_features(features: Sequence[Feature], train: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """A sentence for each column in which the test rows hold what the model cannot take, or numbers count as words."""
    told = []
    for feature in features:
        name, words, cells = feature.name, feature.categories, test[feature.name].str.strip()
        example = next((word for word in words if "," in word), None)
        if example and all(is_number(word.replace(",", "")) for word in words):
            told.append(
                f"{name}: numbers like {example!r} count as words, {len(words)} different ones in {len(train)} train "
                f"rows: write them as {example.replace(',', '')} in the fetch(raw) of a prepare.py, or remove {name} "
                "from train.features."
            )
        odd = cells[(cells != "") & ~(cells.isin(words) if words else cells.map(is_number))]
        if len(odd):
            what = "values that no train row has" if words else "words where the train rows have numbers"
            told.append(
                f"{name}: {len(odd)} of {len(test)} test rows have {what}, first {odd.iloc[0]!r}: the model takes them "
                "for empty cells."
            )
    return told
