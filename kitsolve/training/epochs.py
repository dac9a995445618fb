"""Which of the epochs that a fold has trained is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kitsolve.metrics import Metric

Line = Mapping[str, Any]
"""What a fold's history says of an epoch."""


def rank_epoch(metric: Metric, line: Line) -> tuple[float, float]:
    """Smaller is better: the score; between equal scores the validation loss.

    A metric of labels or of the order is at its end soon, and the loss still tells epochs apart. What is no number
    comes last.
    """
    score = -line["score"] if metric.greater_is_better else line["score"]
    return _last_where_odd(score), _last_where_odd(line["val_loss"])


def _last_where_odd(number: float) -> float:
    return math.inf if math.isnan(number) else float(number)


def is_best(metric: Metric, line: Line, before: Sequence[Line]) -> bool:
    """Whether an epoch is better than all epochs before; the first one is."""
    best = [rank_epoch(metric, other) for other in before]
    return not best or rank_epoch(metric, line) < min(best)
