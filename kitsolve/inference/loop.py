"""Every image is read once, and goes through all models and views."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import Any

import numpy as np

from kitsolve.inference.bundle import Preprocessing
from kitsolve.inference.deadline import Plan, Rescue
from kitsolve.inference.ensemble import Batch, Ensemble
from kitsolve.inference.images import iter_batches, read_as


def predict_probs(ensemble: Ensemble, paths: Sequence[Any], **settings: Any) -> np.ndarray:  # noqa: ANN401
    """(images, outputs) float32 of all images; see `iter_probs` for the settings."""
    return np.concatenate(list(iter_probs([ensemble], paths, **settings)))


def iter_probs(
    ensembles: Sequence[Ensemble],
    paths: Sequence[Any],
    *,
    features: np.ndarray | None = None,
    workers: int,
    read: Callable[[Any, Preprocessing], np.ndarray] = read_as,
    report: Callable[[int], object] = lambda images: None,
    rescue: Rescue | None = None,
) -> Iterator[np.ndarray]:
    """The blend of the runs, each the mean over its members of the mean over their views, batch by batch.

    Args:
        ensembles: the same members on each of the devices, which take turns.
        paths: the images; each is read once for all members and views.
        features: (images, features) float32 for models that take them.
        workers: threads that read.
        read: gives the image of one of the paths, as a model's preprocessing says.
        report: called with the number of images done after every batch.
        rescue: what stands for images that cannot be read, which are errors without it; and the time.

    Returns:
        (images of a batch, outputs) float32, in the order of `paths`.
    """
    if not len(paths):
        raise ValueError("there is no image to predict.")
    done = 0
    for batch, (probs, plan) in _take_turns(ensembles, _iter_tasks(ensembles, paths, features, workers, read, rescue)):
        done += len(probs)
        if rescue is not None:
            rescue.note(probs, batch.lost, plan)
            rescue.tell(plan, images=len(paths) - done, devices=len(ensembles))
        report(len(probs))
        yield probs
    if rescue is not None and done < len(paths):
        rescue.unseen = len(paths) - done
        yield np.repeat(rescue.prior[None].astype(np.float32), rescue.unseen, axis=0)


def _iter_tasks(
    ensembles: Sequence[Ensemble],
    paths: Sequence[Any],
    features: np.ndarray | None,
    workers: int,
    read: Callable[[Any, Preprocessing], np.ndarray],
    rescue: Rescue | None,
) -> Iterator[tuple[Batch, float]]:
    """Batches, and the seconds that each of their images may take; until the time is over."""
    size, kinds = ensembles[0].batch_size, ensembles[0].kinds
    # On the CPU, threads that read would only make the arithmetic wait: it loses more than they gain.
    ahead = 0 if ensembles[0].device.type == "cpu" else 2
    lenient = rescue is not None
    batches = iter_batches(paths, kinds, batch_size=size, workers=workers, ahead=ahead, read=read, lenient=lenient)
    first, waited_s, allowed_s = 0, 0.0, math.inf
    asked = time.monotonic()
    for sized, lost in batches:
        waited_s += time.monotonic() - asked
        if rescue is not None:
            if time.monotonic() > rescue.end:
                return
            rescue.read_s = waited_s / (first + len(sized[0]))
            allowed_s = rescue.allowed_s(images=len(paths) - first, devices=len(ensembles))
        beside = None if features is None else features[first : first + size]
        yield Batch(dict(zip(kinds, sized, strict=True)), beside, lost), allowed_s
        first += size
        asked = time.monotonic()


def _take_turns(
    ensembles: Sequence[Ensemble], tasks: Iterator[tuple[Batch, float]]
) -> Iterator[tuple[Batch, tuple[np.ndarray, Plan]]]:
    """What the ensembles predict, in the order of the tasks; each of them works on one task at a time."""
    if len(ensembles) == 1:
        # Here, not in a further thread, whose memory comes from a heap that gives it back with every tensor.
        yield from ((batch, ensembles[0].predict(batch, allowed_s)) for batch, allowed_s in tasks)
        return
    waiting: deque[tuple[Batch, Future[tuple[np.ndarray, Plan]]]] = deque()
    turns = cycle(ensembles)
    with ThreadPoolExecutor(len(ensembles)) as pool:
        for batch, allowed_s in tasks:
            waiting.append((batch, pool.submit(next(turns).predict, batch, allowed_s)))
            if len(waiting) == len(ensembles):
                before, future = waiting.popleft()
                yield before, future.result()
        for before, future in waiting:
            yield before, future.result()
