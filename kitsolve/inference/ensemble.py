"""Every image is read once and goes through all models and views."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kitsolve.inference.bundle import Blend, Preprocessing
from kitsolve.inference.combine import combine
from kitsolve.inference.deadline import Rescue, choose_views
from kitsolve.inference.images import normalise, read_image, resize_image
from kitsolve.inference.members import ACTIVATIONS, TTA, Member


def predict_probs(members: Sequence[Member], paths: Sequence[Path], **settings: Any) -> np.ndarray:  # noqa: ANN401
    """(images, outputs) float32 of all images; see `iter_probs` for the settings."""
    return np.concatenate(list(iter_probs(members, paths, **settings)))


def iter_probs(
    members: Sequence[Member],
    paths: Sequence[Any],
    *,
    features: np.ndarray | None = None,
    device: torch.device,
    batch_size: int,
    workers: int,
    blend: Blend | None = None,
    read: Callable[[Any, int], np.ndarray] = read_image,
    report: Callable[[int], object] = lambda images: None,
    rescue: Rescue | None = None,
    others: Mapping[torch.device, Sequence[Member]] | None = None,
) -> Iterator[np.ndarray]:
    """The mean over the members of a run of the mean over their TTA views of the activated outputs, batch by batch.

    Args:
        paths: the images; each is read once for all members and views.
        features: (images, features) float32 for models that take them.
        blend: how the runs are mixed; None: all members are of one.
        read: gives the image of one of the paths, with so many channels.
        report: called with the number of images done after every batch.
        rescue: what stands for images that cannot be read, which are errors without it; and the time.
        others: the same members on further devices, each of which takes its turn.

    Returns:
        (images of a batch, outputs) float32, in the order of `paths`.
    """
    if not len(paths):
        raise ValueError("there is no image to predict.")
    kinds = list(dict.fromkeys(member.preprocessing for member in members))
    blend = blend or Blend((members[0].run,), "mean", (1.0,))
    ensembles = [Ensemble(own, place, blend) for place, own in {device: members, **(others or {})}.items()]
    batches = iter_batches(paths, kinds, batch_size=batch_size, workers=workers, read=read, lenient=rescue is not None)

    def iter_tasks() -> Iterator[tuple[dict[int, str], tuple[Any, ...]]]:
        for first, (sized, lost) in zip(range(0, len(paths), batch_size), batches, strict=True):
            if rescue is not None and time.monotonic() > rescue.end:
                return
            left = -(-(len(paths) - first) // batch_size)
            allowed_s = math.inf if rescue is None else len(ensembles) * rescue.allow(left)
            beside = None if features is None else features[first : first + len(sized[0])]
            yield lost, (sized, kinds, beside, allowed_s)

    done = 0
    for lost, (probs, passes) in _take_turns(ensembles, iter_tasks()):
        if rescue is not None:
            rescue.note(probs, lost, passes, wanted=sum(len(TTA[member.tta]) for member in members))
        done += len(probs)
        report(len(probs))
        yield probs
    if rescue is not None and done < len(paths):
        rescue.unseen = len(paths) - done
        yield np.repeat(rescue.prior[None].astype(np.float32), rescue.unseen, axis=0)


def iter_batches(
    paths: Sequence[Any],
    kinds: Sequence[Preprocessing],
    *,
    batch_size: int,
    workers: int,
    read: Callable[[Any, int], np.ndarray] = read_image,
    lenient: bool = False,
) -> Iterator[tuple[list[Tensor], dict[int, str]]]:
    """Batches of decoded images in the order of `paths`, two batches ahead of their use.

    Every image is read once; each batch holds one uint8 tensor (images, height, width, channels) for each of `kinds`,
    and why some of its images, by their place in it, are black: those that cannot be read, where that is no error.
    Threads do the work: cv2 leaves Python's lock while it decodes, and threads also work inside a notebook.
    """
    black = [np.zeros((*kind.image_size, kind.channels), dtype=np.uint8) for kind in kinds]

    def read_all(path: Any) -> list[np.ndarray] | str:  # noqa: ANN401  (what `read` takes)
        try:
            image = read(path, kinds[0].channels)
        except ValueError as error:
            if lenient:
                return str(error)
            raise
        return [resize_image(image, kind) for kind in kinds]

    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            waiting = (
                [pool.submit(read_all, path) for path in paths[start : start + batch_size]]
                for start in range(0, len(paths), batch_size)
            )
            ahead = deque(islice(waiting, 3))
            while ahead:
                found = [future.result() for future in ahead.popleft()]
                ahead.extend(islice(waiting, 1))
                lost = {place: image for place, image in enumerate(found) if isinstance(image, str)}
                images = [black if isinstance(image, str) else image for image in found]
                yield [torch.from_numpy(np.stack(sized)) for sized in zip(*images, strict=True)], lost
        finally:
            pool.shutdown(cancel_futures=True)


def _take_turns(
    ensembles: Sequence[Ensemble], tasks: Iterator[tuple[dict[int, str], tuple[Any, ...]]]
) -> Iterator[tuple[dict[int, str], tuple[np.ndarray, int]]]:
    """What the ensembles predict, in the order of the tasks; each of them works on one task at a time."""
    waiting: deque[tuple[dict[int, str], Any]] = deque()
    turns = cycle(ensembles)
    with ThreadPoolExecutor(len(ensembles)) as pool:
        for lost, task in tasks:
            waiting.append((lost, pool.submit(next(turns).predict, *task)))
            if len(waiting) == len(ensembles):
                before, future = waiting.popleft()
                yield before, future.result()
        for before, future in waiting:
            yield before, future.result()


@dataclass
class Ensemble:
    """The members on one device, and how long one view by each takes for a batch, in seconds."""

    members: Sequence[Member]
    device: torch.device
    blend: Blend
    costs_s: list[float] = field(default_factory=list)

    @torch.inference_mode()
    def predict(
        self, sized: Sequence[Tensor], kinds: Sequence[Preprocessing], beside: np.ndarray | None, allowed_s: float
    ) -> tuple[np.ndarray, int]:
        """(images, outputs) float32 of a batch, and how many views by members went into them."""
        inputs = {kind: normalise(images.to(self.device), kind) for kind, images in zip(kinds, sized, strict=True)}
        numbers = () if beside is None else (torch.from_numpy(beside).to(self.device),)
        views = self.choose_views(allowed_s)
        costs: list[float] = []
        outputs: dict[str, list[np.ndarray]] = {name: [] for name in self.blend.runs}
        for place, (member, count) in enumerate(zip(self.members, views, strict=True)):
            started = time.perf_counter()
            if count:
                images = inputs[member.preprocessing]
                outputs[member.run].append(_mean_over_views(member, images, numbers, count).cpu().numpy())
            costs.append((time.perf_counter() - started) / count if count else self.costs_s[place])
        self.costs_s = costs
        runs = [name for name in self.blend.runs if outputs[name]]
        means = [np.mean(outputs[name], axis=0) for name in runs]
        return combine(means, self.blend.only(runs), activation=self.members[0].activation), sum(views)

    def choose_views(self, allowed_s: float) -> list[int]:
        """How many views each member gets of the next batch; the first batch shows what they cost."""
        weights = dict(zip(self.blend.runs, self.blend.weights, strict=True))
        sizes = Counter(member.run for member in self.members)
        return choose_views(
            self.costs_s or [0.0] * len(self.members),
            [len(TTA[member.tta]) for member in self.members],
            [weights[member.run] / sizes[member.run] for member in self.members],
            allowed_s,
        )


def _mean_over_views(member: Member, images: Tensor, beside: tuple[Tensor, ...], count: int) -> Tensor:
    """(images, outputs) float32 of the first `count` views: float16 sums would lose digits."""
    views = [view(images).contiguous(memory_format=torch.channels_last) for view in TTA[member.tta][:count]]
    logits = [member.forward(view, *beside) for view in views]
    return torch.stack([ACTIVATIONS[member.activation](view.float()) for view in logits]).mean(0)
