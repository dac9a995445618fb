"""From numbers as labels to the task: two classes, many, grades, or amounts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kitsolve.data.labels import is_number
from kitsolve.proposing.forms import Form, Hints
from kitsolve.proposing.proposal import Guess

FEW_CLASSES = 20
"""Up to so many whole numbers may as well be grades as classes."""
RANGES = (1, 4, 5, 10, 20, 50, 100, 255, 360, 1000)
GRADE_WORDS = re.compile(r"grade|level|severity|stage|rating|score|degree|rank|isup|kellgren|quality", re.IGNORECASE)
ORDER_WORDS = re.compile(
    r"\b(?:low|medium|moderate|high|mild|severe|none|no|normal|minor|major|small|large|poor|fair|good|excellent"
    r"|early|late|proliferative|grade|stage|level)\b",
    re.IGNORECASE,
)
CLASS_WORDS = re.compile(r"class|categ|species|breed", re.IGNORECASE)
ID_WORDS = re.compile(r"(?:^|_)(?:id|Id|ID)$|[a-z](?:Id|ID)$")


def form_of_numbers(target: Guess, labels: Sequence[str], shown: Sequence[str], hints: Hints) -> Form:
    """The form of labels that are numbers.

    Args:
        labels: all different ones.
        shown: cells of the sample submission.
    """
    values = sorted({float(label) for label in labels})
    whole = all(value == int(value) for value in values)
    if len(values) == 2 and whole:
        return Form(target, Guess("binary", "two different labels"), find_binary_kind(shown, hints))
    # 38.0 where labels are written 38 asks for amounts, as pandas writes them; of few numbers it may be a label.
    written = any("." in cell for cell in shown) and not any("." in label for label in labels)
    amounts = has_fractions(shown) or (written and len(values) > FEW_CLASSES)
    if hints.wants == "values" or not whole or (amounts and hints.wants != "labels"):
        return _form_of_values(target, values, hints)
    task = _find_class_task(target.value, values, hints)
    if task.value == "regression":
        return Form(target, task, Guess("value", "as of the task", ("value", "label")), _find_range(values))
    kinds = ("label", "value") if "regression" in task.choices else ()
    return Form(target, task, Guess("label", "the sample has one column of whole numbers", kinds))


def has_fractions(shown: Sequence[str]) -> bool:
    """Whether the sample shows numbers that are not whole."""
    return any(float(cell) != int(float(cell)) for cell in shown if is_number(cell))


def find_binary_kind(shown: Sequence[str], hints: Hints) -> Guess:
    """Whether the one of two labels is asked for, or the probability of the second."""
    if has_fractions(shown):
        return Guess("probability", "the sample has fractions")
    if hints.wants and hints.metric is not None:
        wanted = "probability" if hints.wants == "probs" else "label"
        return Guess(wanted, f"{hints.metric.value} takes it")
    kinds = ("label", "probability") if len(set(shown)) > 1 else ("probability", "label")
    return Guess(kinds[0], "the sample has whole numbers, which may stand for probabilities", kinds)


def _form_of_values(target: Guess, values: Sequence[float], hints: Hints) -> Form:
    named = hints.wants == "values"
    few = len(values) <= FEW_CLASSES and not named
    reason = f"{len(values):,} different numbers, and {'the metric' if named else 'the sample'} takes numbers"
    if not all(value == int(value) for value in values):
        reason = f"{len(values):,} different numbers, not all of them whole"
    task = Guess("regression", reason, ("regression", "ordinal") if few else ())
    return Form(target, task, Guess("value", "a number"), _find_range(values))


def _find_range(values: Sequence[float]) -> dict[str, Guess]:
    """Bounds that the values reach and that look as if someone had set them."""
    low, high = min(values), max(values)
    if low in (0, 1) and high in RANGES and high > low:
        bounds = [int(low), int(high)]
        return {"range": Guess(bounds, "the smallest and the largest value are round", (bounds, None))}
    return {}


def _find_class_task(name: str, values: Sequence[float], hints: Hints) -> Guess:
    """Of three and more whole numbers: classes, grades, or amounts."""
    span = f"{len(values):,} different whole numbers from {min(values):g} to {max(values):g}"
    if hints.metric is not None and hints.metric.is_sure and hints.metric.value == "qwk":
        return Guess("ordinal", f"{span}; the metric weighs how far they are apart")
    if hints.wants == "labels" and not GRADE_WORDS.search(name):
        return Guess("multiclass", f"{span}; the metric takes labels")
    ordered = sum(bool(ORDER_WORDS.search(label)) for label in hints.names.values()) > 1
    if hints.names and not ordered and not GRADE_WORDS.search(name):
        return Guess("multiclass", f"{span}, which a file gives names")
    if hints.numbered or ID_WORDS.search(name) or (len(values) > FEW_CLASSES and CLASS_WORDS.search(name)):
        return Guess("multiclass", f"{span}, by the column's name numbers of categories")
    if len(values) > FEW_CLASSES:
        tasks = ("multiclass", "regression") if "label" in name.lower() else ("regression", "multiclass")
        return Guess(tasks[0], span, tasks)
    graded = ordered or GRADE_WORDS.search(name)
    first, second = ("ordinal", "multiclass") if graded else ("multiclass", "ordinal")
    return Guess(first, f"{span}: classes, grades or amounts", (first, second, "regression"))
