"""What is left out where the time is short, and what stands for what is missing."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

HELD_BACK = 0.1
"""Share of the time that is left, kept for what cannot be foreseen."""


@dataclass(frozen=True)
class Plan:
    """How many views each member computes of an image, how many it has, and the seconds that one view of one takes it.

    `costs_s` is empty before anything is measured.
    """

    views: tuple[int, ...]
    wanted: tuple[int, ...]
    costs_s: tuple[float, ...] = ()


def total_s(costs_s: Sequence[float], views: Sequence[int]) -> float:
    """Seconds of so many views by each member."""
    return sum(cost * count for cost, count in zip(costs_s, views, strict=True))


def choose_views(
    costs_s: Sequence[float], views: Sequence[int], weights: Sequence[float], allowed_s: float
) -> list[int]:
    """How many of its views each member computes, so that all together take no longer than is allowed.

    First views are left out, always one of the member that has most of them (the slowest of these); then members, that
    of the least weight first. One view by one member always stays.
    """
    chosen = list(views)
    places = range(len(chosen))
    while sum(chosen) > 1 and total_s(costs_s, chosen) > allowed_s:
        if max(chosen) > 1:
            chosen[max(places, key=lambda place: (chosen[place], costs_s[place]))] -= 1
        else:
            kept = [place for place in places if chosen[place]]
            chosen[min(kept, key=lambda place: (weights[place], -costs_s[place]))] = 0
    return chosen


def describe_plan(plan: Plan, *, images: int, left_s: float, devices: int, read_s: float = 0.0) -> str:
    """What is computed of so many images in the time that is left, and why not everything is, in words."""
    needed = images * (read_s + total_s(plan.costs_s, plan.wanted) / devices)
    words = f"plan: {images:,} images, reading and {sum(plan.wanted)} passes over each need {show_time(needed)}"
    words += f", {show_time(left_s)} are left" if left_s < math.inf else ""
    if plan.views == plan.wanted:
        return f"{words}: all of them are computed"
    views = ", ".join(map(str, plan.views))
    return (
        f"{words}: {sum(plan.views)} of them are computed. First views are left out, then models of the least weight; "
        f"views of each model: {views}"
    )


def show_time(seconds: float) -> str:
    """Hours and minutes, or minutes, or seconds."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.1f} s"


@dataclass
class Rescue:
    """What saves a submission where images cannot be read or the time is short.

    `prior`: (outputs,) the mean prediction, which stands for an image that has none. `end`: on the monotonic clock.
    `lost`: why images could not be read; `unseen`: how many the time did not suffice for; `passes`: how many views by
    models were computed, of so many `wanted`; `told`: the fewest passes over an image that a printed plan has;
    `read_s`: seconds that the models wait for an image to be read.
    """

    prior: np.ndarray
    end: float = math.inf
    lost: list[str] = field(default_factory=list)
    unseen: int = 0
    passes: int = 0
    wanted: int = 0
    told: float = math.inf
    read_s: float = 0.0

    @property
    def left_s(self) -> float:
        """Seconds until the end, some held back."""
        return (1 - HELD_BACK) * (self.end - time.monotonic())

    def allowed_s(self, *, images: int, devices: int) -> float:
        """Seconds that the models on each device may take for an image, of so many that are still to come."""
        return devices * (self.left_s / images - self.read_s)

    def note(self, probs: np.ndarray, lost: Mapping[int, str], plan: Plan) -> None:
        """Count a batch, and put the mean prediction where it has an image that cannot be read."""
        probs[list(lost)] = self.prior
        self.lost += lost.values()
        self.passes += len(probs) * sum(plan.views)
        self.wanted += len(probs) * sum(plan.wanted)

    def tell(self, plan: Plan, *, images: int, devices: int) -> None:
        """Print the first plan, and every one by which less is computed of the images that are still to come."""
        if plan.costs_s and images and sum(plan.views) < self.told:
            self.told = sum(plan.views)
            print(describe_plan(plan, images=images, left_s=self.left_s, devices=devices, read_s=self.read_s))


@dataclass
class Progress:
    """How far the images are, printed once a minute; from when the first of them were done, how long one takes."""

    started: float
    images: int = 0
    done: int = 0
    first: tuple[int, float] | None = None
    told: float = 0.0

    def add(self, images: int, *, quiet: bool = False) -> None:
        """So many more are done."""
        now = time.monotonic()
        self.done += images
        self.first = self.first or (images, now)
        if not quiet and now - max(self.told, self.started) >= 60:
            self.told = now
            left_s = (now - self.started) / self.done * (self.images - self.done)
            print(f"{self.done:,} of {self.images:,} images, about {show_time(left_s)} to go")

    @property
    def start_s(self) -> float:
        """Seconds to the first predictions."""
        return math.nan if self.first is None else self.first[1] - self.started

    @property
    def image_s(self) -> float:
        """Seconds for an image, without the start where there is more than one batch."""
        now = time.monotonic()
        if self.first is None or self.done == self.first[0]:
            return (now - self.started) / max(1, self.done)
        return (now - self.first[1]) / (self.done - self.first[0])
