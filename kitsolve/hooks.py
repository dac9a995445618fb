"""What a competition's prepare.py may hold beside its facts: here `metric(targets, predictions)`, see OwnMetric."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsolve.config import TASK_FORMS, Competition, load_prepare, require_prepare
from kitsolve.errors import KitsolveError, nearest, own_code
from kitsolve.metrics import Metric, Predictions, Targets, find_metric
from kitsolve.workspace import Workspace


@dataclass(frozen=True)
class OwnMetric:
    """`metric` of a prepare.py as a score: whatever it does wrong ends in a KitsolveError.

    The function gets copies, so that it may change them: targets as metrics.py describes them, and predictions in the
    form that it wants. It gives one finite number for any part of the rows.
    """

    function: Callable[..., Any]
    path: Path

    def __call__(self, targets: Targets, predictions: Predictions) -> float:
        """The score of at least one row.

        Raises:
            KitsolveError: the function raises, or gives anything but a finite number.
        """
        with own_code(self.path, "metric", given=f"given {_describe(targets, predictions)}"):
            score = self.function(targets.copy(), predictions.copy())
        if not isinstance(score, numbers.Real) or isinstance(score, bool):
            raise KitsolveError(
                f"metric in {self.path} returned {_show(score)}, not a number.", hint="end it with `return float(…)`."
            )
        if not math.isfinite(score):
            raise KitsolveError(
                f"metric in {self.path} returned {float(score)}, given {_describe(targets, predictions)}.",
                hint="return a finite number for any predictions, as by clipping probabilities before a logarithm.",
            )
        return float(score)


def find_competition_metric(workspace: Workspace, competition: Competition) -> Metric:
    """The metric that the facts name: one of the house, or the competition's own.

    Raises:
        KitsolveError: see find_own_metric.
    """
    if competition.metric == "prepare:metric":
        return find_own_metric(workspace, competition)
    return find_metric(competition.metric)


def find_own_metric(workspace: Workspace, competition: Competition) -> Metric:
    """The metric that `metric` in the competition's prepare.py is.

    Its attribute `greater_is_better` is required; `wants` is by default the first of the task's forms in TASK_FORMS.

    Raises:
        KitsolveError: there is no such function, it does not take (targets, predictions), or an attribute is wrong.
    """
    function = require_prepare(workspace, competition.slug, "metric")
    path = workspace.competition(competition.slug) / "prepare.py"
    _check_signature(function, path)
    forms = TASK_FORMS[competition.task]
    greater: Any = getattr(function, "greater_is_better", None)
    wants: Any = getattr(function, "wants", forms[0])
    if not isinstance(greater, bool):
        said = "does not say" if greater is None else f"says greater_is_better = {greater!r}, which does not tell"
        raise KitsolveError(
            f"metric in {path} {said} whether a greater score is better.",
            hint="add below the function `metric.greater_is_better = False` for an error or a loss, else `… = True`.",
        )
    if wants not in forms:
        raise KitsolveError(
            f"metric in {path} has wants = {wants!r}, which a {competition.task} task does not have.",
            hint=f'write `metric.wants = "{forms[0]}"`; it may be one of: {nearest(str(wants), forms)}.',
        )
    return Metric(OwnMetric(function, path), greater, wants)


def describe_unused_functions(workspace: Workspace, competition: Competition) -> list[str]:
    """A sentence for each function of the competition's prepare.py that scores or submits, and that no fact names."""
    prepare = load_prepare(workspace, competition.slug)
    facts = {"metric": competition.metric, "submission": competition.submission.kind}
    keys = {"metric": "metric", "submission": "submission.kind"}
    return [
        f'prepare.py has a {name}, which is not used: the facts say {keys[name]} = "{fact}", not "prepare:{name}".'
        for name, fact in facts.items()
        if hasattr(prepare, name) and fact != f"prepare:{name}"
    ]


def _check_signature(function: object, path: Path) -> None:
    problem = None
    if not callable(function):
        problem = f"metric in {path} is {_show(function)}, no function."
    else:
        try:
            inspect.signature(function).bind(None, None)
        except TypeError as error:
            problem = f"metric in {path} cannot be called with (targets, predictions): {error}."
        except ValueError:  # a builtin that does not tell
            pass
    if problem:
        raise KitsolveError(problem, hint="write `def metric(targets, predictions):`, which returns a number.")


def _describe(targets: Targets, predictions: Predictions) -> str:
    return f"targets {targets.shape} and predictions {predictions.shape}"


def _show(value: object) -> str:
    """A value that is not what it should be, short enough for a line."""
    text = " ".join(repr(value).split())
    kind = f"{type(value).__name__} " if value is not None else ""
    return f"{kind}{text[:40]}…" if len(text) > 41 else f"{kind}{text}"
