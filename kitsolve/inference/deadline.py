"""What is left out where the time is short, and what stands for what is missing."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Rescue:
    """What saves a submission where images cannot be read or the time is short.

    `prior`: (outputs,) the mean prediction, which stands for an image that has none. `end`: on the monotonic clock.
    `lost`: why images could not be read; `unseen`: how many the time did not suffice for; `passes`: how many views by
    models were computed, of so many `wanted`.
    """

    prior: np.ndarray
    end: float = math.inf
    lost: list[str] = field(default_factory=list)
    unseen: int = 0
    passes: int = 0
    wanted: int = 0

    def allow(self, batches_left: int) -> float:
        """Seconds for the next of so many batches, some held back."""
        return 0.9 * (self.end - time.monotonic()) / batches_left

    def note(self, probs: np.ndarray, lost: Mapping[int, str], passes: int, *, wanted: int) -> None:
        """Count a batch, and put the mean prediction where it has an image that cannot be read."""
        probs[list(lost)] = self.prior
        self.lost += lost.values()
        self.passes, self.wanted = self.passes + passes, self.wanted + wanted


def choose_views(
    costs_s: Sequence[float], views: Sequence[int], weights: Sequence[float], allowed_s: float
) -> list[int]:
    """How many of its views each member computes, so that all together take no longer than is allowed.

    First views are left out, always one of the member that has most of them (the slowest of these); then members, that
    of the least weight first. One view by one member always stays.
    """
    chosen = list(views)
    places = range(len(chosen))
    while sum(chosen) > 1 and sum(cost * count for cost, count in zip(costs_s, chosen, strict=True)) > allowed_s:
        if max(chosen) > 1:
            chosen[max(places, key=lambda place: (chosen[place], costs_s[place]))] -= 1
        else:
            kept = [place for place in places if chosen[place]]
            chosen[min(kept, key=lambda place: (weights[place], -costs_s[place]))] = 0
    return chosen
