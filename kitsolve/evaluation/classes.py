"""The order of the classes, which is that of a model's outputs: a run keeps the one that it was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kitsolve.data.targets import Targets
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Run


def keep_classes(run: Run, targets: Targets) -> Run:
    """The run with the classes of its labels, for run.json.

    Raises:
        KitsolveError: see `check_classes`.
    """
    check_classes(run, targets.names)
    return replace(run, classes=targets.names)


def check_classes(run: Run, names: Sequence[str]) -> None:
    """Refuse labels whose classes, or their order, are not those that a run was trained with.

    A run of a version that did not keep them is taken as it is.

    Raises:
        KitsolveError: names the first that differs.
    """
    if run.classes is None or run.classes == tuple(names):
        return
    place = next((n for n, (old, new) in enumerate(zip(run.classes, names, strict=False)) if old != new), None)
    if place is None:
        difference = f"{len(run.classes)} classes, not {len(names)}"
    else:
        difference = f"class {place} was {run.classes[place]!r}, not {names[place]!r}"
    slug = run.competition.slug
    raise KitsolveError(
        f"run {run.name} was trained with other classes than the tables of {slug} have now: {difference}.",
        hint=f"bring back the labels and facts that it was trained with, or run `kitsolve train {slug}` for a new run.",
    )
