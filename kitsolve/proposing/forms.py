"""What labels are and how they are submitted, and what is known of them besides the cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kitsolve.metrics import find_metric
from kitsolve.proposing.proposal import Guess


@dataclass(frozen=True)
class Hints:
    """What is known of the labels besides the cells.

    `metric`: as the pages name it. `names`: of numbered labels, where a file tells them. `numbered`: the labels are
    numbers of categories. `words`: the slug and all pages. `asked`: the columns of the sample submission.
    """

    metric: Guess | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    numbered: bool = False
    words: str = ""
    asked: tuple[str, ...] = ()

    @property
    def wants(self) -> str:
        """The form of predictions that the metric takes, where the pages name one."""
        if self.metric is None or not self.metric.is_sure:
            return ""
        return find_metric(self.metric.value).wants


@dataclass(frozen=True)
class Form:
    """The target as the facts have it, the task, the kind of submission; further keys of [train] and [submission]."""

    target: Guess
    task: Guess
    kind: Guess
    train: Mapping[str, Guess] = field(default_factory=dict)
    submission: Mapping[str, Guess] = field(default_factory=dict)
