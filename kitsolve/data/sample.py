"""What the sample submission says of the labels: their spelling, their order, and whether it knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from kitsolve.config import Competition
from kitsolve.data.labels import canonical, is_missing, is_number, spell_as
from kitsolve.errors import KitsolveError, nearest, translated
from kitsolve.inference.bundle import SubmissionRules
from kitsolve.inference.testset import Note, read_sample

LABEL_KINDS = ("label", "label_list", "top_k")
"""Kinds of submission whose cells hold labels."""


def open_sample(
    raw: Path, competition: Competition, *, spelt: bool = False, note: Note = lambda notice: None
) -> pd.DataFrame:
    """The sample submission of a competition; see `read_sample`.

    Raises:
        KitsolveError: it cannot be one.
    """
    facts = competition.submission
    with translated(f"correct submission.sample in the competition.toml of {competition.slug}."):
        return read_sample(raw, SubmissionRules(facts.kind, facts.sample), spelt=spelt, note=note)


def shown_labels(sample: pd.DataFrame, competition: Competition) -> list[str]:
    """The labels that the sample shows: its columns, or the different ones in the cells of its second column."""
    facts = competition.submission
    if facts.kind == "class_probabilities":
        return [str(name) for name in sample.columns[1:]]
    if facts.kind not in LABEL_KINDS:
        return []
    cells: list[str] = sample.iloc[:, 1].unique().tolist()
    if facts.kind == "label":
        return cells
    return list(dict.fromkeys(label for cell in cells for label in cell.split(facts.separator) if label.strip()))


def speaks_for(label: str, sample: pd.DataFrame, competition: Competition) -> bool:
    """Whether the sample has the label as one of several, so that it does not stand for a missing value."""
    shown = {canonical(other) for other in shown_labels(sample, competition)}
    return len(shown) > 1 and canonical(label) in shown


def order_classes(names: Sequence[str], raw: Path, competition: Competition) -> tuple[str, ...]:
    """The order of the outputs: that of the sample's columns where it has one for each class, else that of `names`.

    Raises:
        KitsolveError: the sample has other classes.
    """
    if competition.submission.kind != "class_probabilities":
        return tuple(names)
    columns = [str(name) for name in open_sample(raw, competition).columns[1:]]
    if set(columns) == set(names):
        return tuple(columns)
    by_key = {canonical(name): name for name in names}
    keys = [canonical(name) for name in columns]
    if len(by_key) < len(names) or sorted(keys) != sorted(by_key):
        odd = sorted(set(keys) ^ set(by_key)) or sorted(set(columns) ^ set(names))
        raise KitsolveError(
            f"the classes of train.csv and of {competition.submission.sample} differ, first: {odd[0]!r}.",
            hint="correct train.target or submission.kind.",
        )
    return tuple(by_key[key] for key in keys)


def spell_classes(rules: SubmissionRules, raw: Path, competition: Competition) -> SubmissionRules:
    """The rules with classes, and the unknown label, as the sample spells them."""
    shown = shown_labels(open_sample(raw, competition, spelt=True), competition)
    names = [*rules.class_names, *([rules.unknown] if rules.unknown else [])]
    spelt = spell_as(names, shown)
    if len(set(spelt)) < len(spelt):  # "1" and "01" are two classes, but the sample has one of them
        return rules
    unknown = spelt[-1] if rules.unknown else None
    return replace(rules, class_names=spelt[: len(rules.class_names)], unknown=unknown)


def describe_sample(names: Sequence[str], raw: Path, competition: Competition) -> list[str]:
    """Sentences about labels of the sample that are no classes, and about columns that no prediction fills."""
    facts, sample = competition.submission, open_sample(raw, competition)
    notices = []
    if facts.kind in ("label", "label_list", "top_k", "probability", "value") and sample.shape[1] > 2:
        others = ", ".join(map(repr, sample.columns[2:5]))
        notices.append(
            f"{facts.sample} has {sample.shape[1]} columns: predictions go to {sample.columns[1]!r}, and {others} stay "
            "as they are."
        )
    known = {canonical(name) for name in (*names, competition.train.unknown or "")}
    shown = [] if facts.kind == "class_probabilities" else shown_labels(sample, competition)
    odd = [label for label in shown if canonical(label) not in known]
    if not odd or (len(odd) == len(shown) == 1 and (is_missing(odd[0]) or is_number(odd[0]))):
        return notices  # it shows labels, or nothing but a placeholder
    close = nearest(odd[0].strip(), names)
    return [
        *notices,
        f"{len(odd)} of the {len(shown)} labels that {facts.sample} shows are no labels of train.csv, first {odd[0]!r} "
        f"(nearest: {close}).",
    ]
