"""From the cells of the label and of the sample submission to the task and the kind of submission."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import pandas as pd

from kitsolve.data.labels import is_number
from kitsolve.proposing.amounts import FEW_CLASSES, ORDER_WORDS, find_binary_kind, form_of_numbers, has_fractions
from kitsolve.proposing.columns import MOST_COMPARED, is_flag
from kitsolve.proposing.forms import Form, Hints
from kitsolve.proposing.proposal import Guess
from kitsolve.proposing.separators import SEPARATORS, Separator, find_separator, split_cell

FEW_ROWS = 10
"""With fewer rows a class, labels are rather looked up among all known ones than classified."""
UNKNOWN_WORDS = re.compile(r"(?:new|unknown|unseen|unidentified)(?:[_ -].*)?", re.IGNORECASE)


def find_form(rows: pd.DataFrame, target: Guess, sample: pd.DataFrame | None, hints: Hints) -> Form:
    """What is to be predicted of the target column or columns, and how it is to be written."""
    wide = [str(name) for name in sample.columns[1:]] if sample is not None and sample.shape[1] > 2 else []
    shown = [] if sample is None or sample.shape[1] < 2 else sample.iloc[:MOST_COMPARED, 1].unique().tolist()
    if isinstance(target.value, list):
        return _form_of_columns(rows[target.value], target, shown, wide=bool(wide))
    hints = replace(hints, asked=() if sample is None else tuple(map(str, sample.columns[1:])))
    cells = rows[target.value]
    separator = find_separator(cells, target.value, [] if wide else shown, wide)
    if separator.splits:
        return _form_of_sets(target, separator, shown, wide=bool(wide))
    if not separator.is_sure:
        listed = {"column": target.value, "separator": separator.mark}
        choices = (target.value, listed, *target.choices[1:])
        target = Guess(target.value, f"{target.reason}; a cell is one label", choices)
    labels = sorted(set(cells))
    if wide:
        return _form_of_classes(target, labels, wide)
    ranks = _count_ranks(shown, labels)
    if ranks > 1:
        return _form_of_ranks(target, cells, shown, ranks)
    if all(map(is_number, labels)):
        return form_of_numbers(target, labels, shown, hints)
    return _form_of_names(target, labels, shown, hints)


def _form_of_columns(flags: pd.DataFrame, target: Guess, shown: Sequence[str], *, wide: bool) -> Form:
    if not all(is_flag(flags[name]) for name in flags):
        reason = "the columns hold more than 0 and 1: what they want has to be written in prepare.py"
        kinds = ("class_probabilities", "prepare:submission")
        return Form(target, Guess("multilabel", reason, ("multilabel", "regression")), Guess(kinds[0], reason, kinds))
    single = bool((flags.astype(float).sum(axis=1) == 1).all())
    task = Guess("binary" if single and len(flags.columns) == 2 else "multiclass", "each row has exactly one 1")
    if not single:
        task = Guess("multilabel", "rows have none, one or several 1")
    if wide:
        return Form(target, task, Guess("class_probabilities", "the sample has a column for each label"))
    if single:
        return Form(target, task, Guess("label", "the sample has one column"))
    kind = Guess("label_list", "the sample has one column for several labels")
    return Form(target, task, kind, submission=_find_list_separator(shown, " ", list(flags)))


def _form_of_sets(target: Guess, separator: Separator, shown: Sequence[str], *, wide: bool) -> Form:
    value = {"column": target.value, "separator": separator.mark}
    sure = separator.is_sure
    choices = target.choices if sure else (value, target.value, *target.choices[1:])
    listed = Guess(value, f"{target.reason}; cells hold several labels", choices)
    task = Guess("multilabel", "cells hold several labels", () if sure else ("multilabel", "multiclass"))
    if wide:
        return Form(listed, task, Guess("class_probabilities", "the sample has a column for each label"))
    kind = Guess("label_list", "the sample has one column for several labels", () if sure else ("label_list", "label"))
    return Form(listed, task, kind, submission=_find_list_separator(shown, separator.mark, separator.words))


def _find_list_separator(shown: Sequence[str], usual: str, labels: Collection[str]) -> dict[str, Guess]:
    """The separator that the sample's cells have; a blank, the default, needs no fact."""
    for mark in dict.fromkeys([usual, *SEPARATORS]):
        parts = [split_cell(cell, mark) for cell in shown if cell not in labels]
        if any(len(words) > 1 and set(words) <= set(labels) for words in parts):
            return {"separator": Guess(mark, "as in the sample")} if mark != " " else {}
    if usual == " ":
        return {}
    return {"separator": Guess(usual, "as in the train rows; the sample shows none", (usual, " "))}


def _form_of_classes(target: Guess, labels: Sequence[str], wide: Sequence[str]) -> Form:
    task = Guess("binary" if len(labels) == 2 else "multiclass", f"{len(labels):,} different labels, one a row")
    kind = Guess("class_probabilities", "the sample has a column for each class")
    if set(labels) == set(wide):
        return Form(target, task, kind)
    reason = "the sample's columns are not the labels of the train rows"
    tasks = (task.value, *(name for name in ("multiclass", "multilabel", "regression") if name != task.value))
    kind = Guess("class_probabilities", reason, ("class_probabilities", "prepare:submission"))
    return Form(target, Guess(task.value, reason, tasks), kind)


def _count_ranks(shown: Sequence[str], labels: Collection[str]) -> int:
    """The number of labels in the sample's cells, where each row of train has but one."""
    known = set(labels)
    if not shown or any(cell in known for cell in shown):
        return 1
    return max(len(cell.split()) for cell in shown)


def _form_of_ranks(target: Guess, cells: pd.Series, shown: Sequence[str], ranks: int) -> Form:
    labels = set(cells)
    words = {word for cell in shown for word in cell.split()}
    kind = Guess("top_k", f"the sample has {ranks} labels in a cell, the train rows one")
    strange = sorted(word for word in words - labels if not UNKNOWN_WORDS.fullmatch(word))
    count = Guess(ranks, "as many as in the sample's cells")
    if strange:
        reason = f"the sample has {ranks} words in a cell, of which {strange[0]!r} is no label"
        kind = Guess("top_k", reason, ("top_k", "label", "prepare:submission"))
        count = Guess(ranks, reason, (ranks, None))
    extra = {"top_k": count}
    unknown = sorted(word for word in words | labels if UNKNOWN_WORDS.fullmatch(word))
    if unknown:
        sure = unknown[0] in words
        fact = Guess(unknown[0], "by its name none of the others", () if sure else (unknown[0], None))
        task = Guess("retrieval", f"best labels first, {unknown[0]} for what is not known")
        return Form(target, task, kind, {"unknown": fact}, extra)
    tasks = ("retrieval", "multiclass") if len(cells) < FEW_ROWS * len(labels) else ("multiclass", "retrieval")
    reason = f"{len(cells) / len(labels):.1f} rows a class in the mean"
    return Form(target, Guess(tasks[0], reason, tasks), kind, submission=extra)


def _form_of_names(target: Guess, labels: Sequence[str], shown: Sequence[str], hints: Hints) -> Form:
    if len(labels) == 2:
        return _form_of_two_names(target, labels, shown, hints)
    ordered = sum(bool(ORDER_WORDS.search(label.replace("_", " "))) for label in labels) > 1
    task = Guess("multiclass", f"{len(labels):,} different labels", ("multiclass", "ordinal") if ordered else ())
    if hints.metric is not None and hints.metric.value == "qwk" and hints.metric.is_sure:
        task = Guess("ordinal", "the metric weighs how far labels are apart: add their order to [train]")
    if any(cell in set(labels) for cell in shown):
        return Form(target, task, Guess("label", "the sample has such labels"))
    if has_fractions(shown):
        reason = f"{task.reason}, but the sample has fractions"
        task = Guess("multiclass", reason, ("multiclass", "binary", "multilabel"))
        return Form(target, task, Guess("label", reason, ("label", "probability", "class_probabilities")))
    kinds = ("label", "top_k") if len(labels) > FEW_CLASSES else ()
    return Form(target, task, Guess("label", "the sample has one column", kinds))


def _form_of_two_names(target: Guess, labels: Sequence[str], shown: Sequence[str], hints: Hints) -> Form:
    task = Guess("binary", f"two different labels: {labels[0]}, {labels[1]}")
    if any(cell in labels for cell in shown):
        return Form(target, task, Guess("label", "the sample has such labels"))
    return Form(target, task, find_binary_kind(shown, hints), {"positive": _find_positive(target, labels, hints)})


def _find_positive(target: Guess, labels: Sequence[str], hints: Hints) -> Guess:
    """The label whose probability is asked for."""
    for label in labels:
        said = re.search(rf"(?:probab|likel)\w*[^.]{{0,80}}\b{re.escape(label)}s?\b", hints.words, re.IGNORECASE)
        others = [other for other in labels if other != label]
        if said and not any(re.search(rf"\b{re.escape(other)}", said[0], re.IGNORECASE) for other in others):
            return Guess(label, f'the pages say "{" ".join(said[0].split())}"')
    best = labels[1]
    for names, whose in ((hints.asked, "the sample's column"), ((str(target.value),), "the column")):
        named = [label for label in labels if label.casefold() in {name.casefold() for name in names}]
        if len(named) == 1:
            return Guess(named[0], f"{whose} has its name")
    return Guess(best, "the files do not tell which of the two counts as positive", (best, labels[0]))
