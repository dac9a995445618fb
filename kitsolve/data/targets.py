"""Labels as a competition writes them -> what a model learns, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.config import Competition, LabelList
from kitsolve.data.labels import find_label, is_number, sorted_labels
from kitsolve.data.sample import order_classes, spell_classes
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Decoder, SubmissionRules


@dataclass(frozen=True)
class Targets:
    """The labels of a table's rows.

    `values`: (rows,) int64 indices into `names`, where the number of names stands for the unknown label of a retrieval
    task; (rows, names) uint8 of a multilabel task; (rows,) float64 of a regression. `shares`: (rows, names) float32
    that sum to 1, where a row's label is a distribution; `values` is then its largest. `scale`: a regression's value is
    the first plus the second times the model's output; a level of an ordinal task that is submitted as value likewise
    times its place.
    """

    task: str
    names: tuple[str, ...]
    values: NDArray[Any]
    scale: tuple[float, float] = (0.0, 1.0)
    bounds: tuple[float, float] | None = None
    shares: NDArray[np.float32] | None = None

    @property
    def scored(self) -> NDArray[Any]:
        """What the metric compares with."""
        return self.values if self.shares is None else self.shares

    @property
    def output_names(self) -> tuple[str, ...]:
        """A name for each output of the model: of an ordinal task's classes all but the first, see `learned`."""
        return self.names[1:] if self.task == "ordinal" else self.names

    @property
    def label_names(self) -> tuple[str, ...]:
        """A name for each number that `values` holds; none for a regression."""
        if self.task == "regression":
            return ()
        return self.names if self.known.all() else (*self.names, "(unknown)")

    @property
    def activation(self) -> str:
        """What makes the model's logits outputs: a key of inference.ACTIVATIONS."""
        if self.task == "regression":
            return "sigmoid" if self.bounds else "identity"
        return "sigmoid" if self.task in ("multilabel", "ordinal") else "softmax"

    @property
    def known(self) -> NDArray[np.bool_]:
        """(rows,) whether there is something to learn: not for the unknown label."""
        if self.task == "retrieval":
            return np.asarray(self.values < len(self.names))
        return np.ones(len(self.values), dtype=bool)

    @property
    def learned(self) -> NDArray[Any]:
        """What the loss compares with: (rows,) int64 classes, or (rows, outputs) float32 in [0, 1] (regression: any).

        An ordinal task learns "greater than class k" for every class but the last (Frank and Hall 2001).
        """
        if self.task == "ordinal":
            return (self.values[:, None] > np.arange(len(self.output_names))).astype(np.float32)
        if self.task == "regression":
            return ((self.values.astype(np.float64) - self.scale[0]) / self.scale[1]).astype(np.float32)[:, None]
        return self.scored

    def default_decoder(self, competition: Competition) -> Decoder:
        """The decoder without anything fitted."""
        return Decoder(self.task, top_k=competition.submission.top_k, scale=self.scale, bounds=self.bounds)

    def rules(self, competition: Competition, raw: Path | None = None) -> SubmissionRules:
        """What the competition accepts; with the raw folder the classes as its sample submission spells them."""
        facts = competition.submission
        rules = SubmissionRules(
            kind=facts.kind,
            sample=facts.sample,
            class_names=self.names,
            separator=facts.separator,
            top_k=facts.top_k,
            unknown=competition.train.unknown,
            bounds=self.bounds,
            whole_rows=facts.kind == "class_probabilities" and self.task != "multilabel",
        )
        return rules if raw is None else spell_classes(rules, raw, competition)


def encode_targets(train: pd.DataFrame, competition: Competition, raw: Path) -> Targets:
    """The labels of the whole train set, so that no class is lost where a fold lacks it.

    Raises:
        KitsolveError: labels that do not fit the task or the sample's columns; names the first.
    """
    task, facts = competition.task, competition.train
    if task == "regression":
        return _encode_values(train, competition)
    if task == "multilabel":
        names, sets = _label_sets(train, facts.target)
        order = order_classes(names, raw, competition)
        return Targets(task, order, sets[:, [names.index(name) for name in order]])
    if competition.metric == "kl_divergence":
        shares = _read_shares(train, facts.targets)
        order = order_classes(facts.targets, raw, competition)
        shares = shares[:, [facts.targets.index(name) for name in order]]
        return Targets(task, order, shares.argmax(axis=1), shares=shares)
    labels = _one_hot_labels(train, facts.targets) if len(facts.targets) > 1 else train[facts.targets[0]]
    unknown = find_label(facts.unknown, set(labels)) if task == "retrieval" and facts.unknown else None
    names = facts.targets if len(facts.targets) > 1 else sorted_labels(set(labels) - {unknown})
    if task == "binary":
        names = _binary_names(names, facts.positive)
    if task == "ordinal":
        names = _ordinal_names(names, facts.order)
    order = order_classes(names, raw, competition)
    class2target = {name: target for target, name in enumerate(order)} | ({unknown: len(order)} if unknown else {})
    scale = _level_scale(order) if task == "ordinal" and competition.submission.kind == "value" else (0.0, 1.0)
    return Targets(task, order, labels.map(class2target).to_numpy(dtype=np.int64), scale)


def _level_scale(names: tuple[str, ...]) -> tuple[float, float]:
    """The lowest level of an ordinal task and the step between two, in the labels' unit: a value is no class index.

    Raises:
        KitsolveError: the labels are no numbers, or not at equal steps.
    """
    levels = np.array([float(name) if is_number(name) else np.nan for name in names])
    steps = np.diff(levels)
    if not (np.isfinite(levels).all() and np.allclose(steps, steps[:1])):
        raise KitsolveError(
            f"the labels of an ordinal task that is submitted as value are numbers at equal "
            f"steps, not {', '.join(names)}.",
            hint='set submission.kind = "label", or task = "regression".',
        )
    return (float(levels[0]), float(steps[0]) if len(steps) else 1.0)


LARGEST = 1e30
"""Values beyond it overflow where they are squared."""


def _encode_values(train: pd.DataFrame, competition: Competition) -> Targets:
    column, bounds = competition.train.targets[0], competition.train.range
    values = pd.to_numeric(train[column], errors="coerce").to_numpy(dtype=np.float64)
    low, high = bounds or (-LARGEST, LARGEST)
    odd = np.flatnonzero(~(np.isfinite(values) & (values >= low) & (values <= high)))
    if len(odd):
        raise KitsolveError(
            f"{len(odd)} of {len(values)} rows have no {column} that is a number from {low:g} to {high:g}, first: id "
            f"{train.image_id.iloc[odd[0]]!r} with {train[column].iloc[odd[0]]!r}.",
            hint='correct train.range or train.target; missing = "drop" in [train] leaves out rows without a value.',
        )
    scale = (low, high - low) if bounds else (float(values.mean()), float(values.std()) or 1.0)
    return Targets("regression", (column,), values, scale, (low, high) if bounds else None)


def _label_sets(train: pd.DataFrame, target: str | list[str] | LabelList) -> tuple[list[str], NDArray[np.uint8]]:
    """Names and (rows, names) 0 or 1."""
    if isinstance(target, LabelList):
        return _split_cells(train[target.column], target.separator)
    columns = [target] if isinstance(target, str) else target
    numbers = train[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    odd = np.flatnonzero(~np.isin(numbers, (0, 1)).all(axis=1))
    if len(odd):
        raise KitsolveError(
            f"id {train.image_id.iloc[odd[0]]!r}: {train[columns].iloc[odd[0]].tolist()} are not all 0 or 1.",
            hint=_NOT_ZERO_OR_ONE if len(columns) > 1 else _NO_SET,
        )
    return columns, numbers.astype(np.uint8)


_NOT_ZERO_OR_ONE = (
    'correct train.target: votes or shares of the classes have metric = "kl_divergence"; of columns of numbers a '
    "regression takes one alone."
)
_NO_SET = (
    'correct train.target: one column of labels is task = "multiclass", one of numbers task = "regression", one of '
    'several labels a cell target = { column = "…", separator = " " }.'
)


def _split_cells(cells: pd.Series, separator: str) -> tuple[list[str], NDArray[np.uint8]]:
    labels = cells.str.split(separator).explode()
    labels = labels[labels.str.strip().astype(bool)].str.strip()
    names = sorted_labels(set(labels))
    columns = labels.map({name: column for column, name in enumerate(names)}).to_numpy(dtype=np.int64)
    sets = np.zeros((len(cells), len(names)), dtype=np.uint8)
    sets[cells.index.get_indexer(labels.index), columns] = 1
    return names, sets


def _read_shares(train: pd.DataFrame, columns: list[str]) -> NDArray[np.float32]:
    """(rows, columns) that sum to 1, of votes or probabilities."""
    numbers = train[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    odd = np.flatnonzero(~((numbers >= 0).all(axis=1) & (numbers.sum(axis=1) > 0)))
    if len(odd):
        raise KitsolveError(
            f"id {train.image_id.iloc[odd[0]]!r}: {train[columns].iloc[odd[0]].tolist()} are no shares of the classes.",
            hint="kl_divergence compares distributions: train.target lists the columns of votes or probabilities.",
        )
    return np.asarray(numbers / numbers.sum(axis=1, keepdims=True), dtype=np.float32)


def _one_hot_labels(train: pd.DataFrame, columns: list[str]) -> pd.Series:
    names, sets = _label_sets(train, columns)
    odd = np.flatnonzero(sets.sum(axis=1) != 1)
    if len(odd):
        raise KitsolveError(
            f"{len(odd)} of {len(train)} rows have not exactly one label, first: id {train.image_id.iloc[odd[0]]!r}.",
            hint='set task = "multilabel", whose submission.kind is label_list or class_probabilities.',
        )
    return pd.Series(np.array(names, dtype=object)[sets.argmax(axis=1)], index=train.index)


def _binary_names(names: list[str], positive: str | None) -> list[str]:
    """The negative label, then the positive one."""
    if len(names) != 2:
        raise KitsolveError(
            f"a binary task has 2 classes, train.csv has {len(names)}: {', '.join(names[:4])}.",
            hint='set task = "multiclass", whose submission.kind is label, class_probabilities or top_k.'
            if len(names) > 2
            else "correct train.target or train.rows: there is nothing to tell apart.",
        )
    if positive is None:
        return names
    positive = find_label(positive, names)
    if positive not in names:
        raise KitsolveError(f"train.positive = {positive!r} is no label.", hint=f"take one of: {', '.join(names)}.")
    return [name for name in names if name != positive] + [positive]


def _ordinal_names(names: list[str], order: list[str] | None) -> list[str]:
    """The labels from the lowest to the highest."""
    order = order and [find_label(label, names) for label in order]
    if order is not None and set(order) != set(names):
        odd = sorted(set(order) ^ set(names))[0]
        raise KitsolveError(f"train.order and the labels of train.csv differ, first: {odd!r}.", "correct train.order.")
    if order is None and not all(is_number(name) for name in names):
        raise KitsolveError(
            f"an ordinal task needs the order of its labels: {', '.join(names)}.",
            'add order = ["lowest", …] to [train].',
        )
    return order or sorted_labels(set(names))
