"""Training images as batches that are a pure function of the seed and the step."""

from __future__ import annotations

import math
import os
import random
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info
from tqdm import tqdm

from kitsolve.data.augment import AUGMENTATION_HINT, AugmentationError, MakeAugmentation, augment_image
from kitsolve.data.cache import ScaledImages
from kitsolve.data.shared_memory import REPAIR, free_shared_memory, is_exhausted, plan_loading
from kitsolve.errors import KitsolveError
from kitsolve.inference.images import place_image

Key = tuple[int, int]
"""(epoch, row): what a sample and its augmentation depend on, beside the seed."""

PATIENCE_S = 300
"""Seconds that a training waits for one batch before it names the images that the workers are at."""


def derive_seed(*keys: int) -> int:
    """A 32-bit seed for a place in the training; among places with as many keys each has a stream of its own."""
    return int(np.random.SeedSequence(keys).generate_state(1)[0])


@dataclass(frozen=True)
class Look:
    """What the training makes of its images, epoch by epoch.

    `sizes`: (height, width) in px, of as many equal parts of the `epochs`. In the first `ramp` epochs the share of
    the images that are augmented grows in equal steps; in the last `off` ones it is 0.
    """

    augmentation: MakeAugmentation
    sizes: tuple[tuple[int, int], ...]
    epochs: int
    ramp: int = 0
    off: int = 0

    def size(self, epoch: int) -> tuple[int, int]:
        """The image size of an epoch."""
        return self.sizes[min(epoch * len(self.sizes) // self.epochs, len(self.sizes) - 1)]

    def strength(self, epoch: int) -> float:
        """The share of an epoch's images that are augmented."""
        if epoch >= self.epochs - self.off:
            return 0.0
        return min(1.0, (epoch + 1) / (self.ramp + 1))


class TrainImages(Dataset[tuple[torch.Tensor, ...]]):
    """Augmented training images by (epoch, row), each with its target and, where there are any, further numbers.

    `at`: (workers, 2) shared by all processes: the number of each worker's process and the row that it is at.
    """

    def __init__(
        self,
        images: ScaledImages,
        targets: np.ndarray,
        *,
        features: np.ndarray | None = None,
        look: Look,
        seed: int,
    ) -> None:
        self.images, self.look, self.seed = images, look, seed
        self.beside = [torch.tensor(array) for array in (targets, features) if array is not None]
        self.augmentations = {size: look.augmentation(size) for size in set(look.sizes)}
        self.at = torch.empty((0, 2), dtype=torch.long)

    def __getstate__(self) -> dict[str, Any]:
        """All but the transforms, for a process that is spawned: those of a prepare.py cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "augmentations"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the transforms anew."""
        vars(self).update(state)
        self.augmentations = {size: self.look.augmentation(size) for size in set(self.look.sizes)}

    @property
    def bytes_per_row(self) -> int:
        """Bytes of a row in a batch, at the largest size of the training."""
        pixels = max(height * width for height, width in self.look.sizes)
        numbers = sum(array.element_size() * array[0].numel() for array in self.beside)
        return pixels * self.images.preprocessing.channels + numbers

    def read(self, row: int, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """The image at the size of an epoch, (height, width, channels) uint8, for the caller to change.

        Where the resizing crops, the place is drawn from `rng`.
        """
        prep = self.images.preprocessing
        place = (float(rng.random()), float(rng.random())) if prep.resize == "crop" else (0.5, 0.5)
        image = place_image(self.images.read(row), prep, place)
        size = self.look.size(epoch)
        if size != image.shape[:2]:
            resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
            return np.asarray(resized.reshape(*size, image.shape[2]))
        return image.copy()  # a transform may work in place

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, ...]:
        """(height, width, channels) uint8, the row's target, and its further numbers where there are any."""
        epoch, row = key
        self.report(row)
        seed = derive_seed(self.seed, epoch, row)
        rng = np.random.default_rng(seed)
        strength = self.look.strength(epoch)
        augmented = strength == 1 or (strength > 0 and rng.random() < strength)
        image = self.read(row, epoch, rng)
        if augmented:
            augmentation = self.augmentations[self.look.size(epoch)]
            # One stream for all transforms: set_random_seed would start each with the same numbers, so that a flip
            # and a transposition of equal probability would only ever come together.
            augmentation.set_random_state(rng, random.Random(seed))
            image = augment_image(augmentation, image)
        return torch.from_numpy(np.ascontiguousarray(image)), *(array[row] for array in self.beside)

    def report(self, row: int) -> None:
        """Say where this process is, for the words about one that dies or hangs."""
        info = get_worker_info()
        if info is not None:
            self.at[info.id, 0], self.at[info.id, 1] = os.getpid(), row

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.images.paths)


class BatchSchedule(Sampler[list[Key]]):
    """All batches of a training from `first_step` to `total_steps`; an epoch permutes the rows, its remainder left out.

    With `shares`, a probability for each of the rows, an epoch draws as many rows by them instead. Of `world`
    processes each gets its part of every batch.
    """

    def __init__(
        self,
        rows: np.ndarray,
        *,
        batch_size: int,
        total_steps: int,
        seed: int,
        first_step: int = 0,
        shares: np.ndarray | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.rows, self.seed, self.shares = rows, seed, shares
        self.first_step, self.total_steps = first_step, total_steps
        self.part = part
        self.batch_size = min(batch_size, len(rows))
        self.steps_per_epoch = len(rows) // self.batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        """Batches of (epoch, row)."""
        step = self.first_step
        while step < self.total_steps:
            epoch, first = divmod(step, self.steps_per_epoch)
            order = self._order(epoch)
            for number in range(first, min(self.steps_per_epoch, first + self.total_steps - step)):
                batch = order[number * self.batch_size : (number + 1) * self.batch_size]
                yield [(epoch, int(row)) for row in batch[self.part[0] :: self.part[1]]]
                step += 1

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch])
        if self.shares is None:
            return np.asarray(rng.permutation(self.rows))
        return np.asarray(rng.choice(self.rows, size=len(self.rows), p=self.shares))

    def __len__(self) -> int:
        """Number of batches left."""
        return self.total_steps - self.first_step


def load_batches(
    images: TrainImages,
    schedule: BatchSchedule,
    *,
    workers: int,
    pin_memory: bool,
    hint: str,
    start_method: str | None = None,
) -> Iterator[list[torch.Tensor]]:
    """All batches of all epochs: workers start once and read ahead while an epoch is validated.

    Batches are (images, height, width, channels) uint8, targets, and further numbers where there are any; the number
    of workers, and how they are started, change nothing in them. There are fewer where shared memory is short.

    Args:
        start_method: "fork", "spawn" or "forkserver"; by default the system's way.

    Raises:
        KitsolveError: an image cannot be read (with `hint`), or a worker died or hangs; names the image. There is no
            shared memory for a batch.
    """
    cv2.setNumThreads(0)  # the workers are the parallelism; cv2's own threads can deadlock after a fork
    workers, ahead = _plan_workers(images, schedule, workers)
    try:
        images.at = torch.full((workers, 2), -1).share_memory_()  # type: ignore[no-untyped-call]
        yield from DataLoader(
            images,
            batch_sampler=schedule,
            num_workers=workers,
            pin_memory=pin_memory,
            worker_init_fn=_start_worker,
            prefetch_factor=ahead if workers else None,
            multiprocessing_context=start_method if workers else None,
            timeout=PATIENCE_S if workers else 0,
        )
    except ValueError as error:  # of a worker: its whole traceback as text, the error in the last line
        said = str(error).strip().splitlines()[-1]
        problem = re.sub(r"^(?:[\w.]+\.)?(?:ValueError|AugmentationError): ", "", said)
        raise KitsolveError(problem, AUGMENTATION_HINT if isinstance(error, AugmentationError) else hint) from error
    except RuntimeError as error:
        found = _find_lost_worker(str(error), images)
        if found is None:
            raise
        raise found from error


def _plan_workers(images: TrainImages, schedule: BatchSchedule, workers: int) -> tuple[int, int]:
    """Workers, and batches that each reads ahead, as shared memory allows; says where it is short."""
    processes = schedule.part[1]
    batch_bytes = math.ceil(schedule.batch_size / processes) * images.bytes_per_row
    count, ahead = plan_loading(batch_bytes, workers, free=free_shared_memory() / processes)
    if count < workers:
        said = f"note: shared memory suffices for {count} of {workers} loading processes; {REPAIR}."
        tqdm.write(said, file=sys.stderr)
    return count, ahead


def _find_lost_worker(message: str, images: TrainImages) -> KitsolveError | None:
    """What torch says of a worker that is gone or does not answer, with the image that it was at."""
    gone = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)", message)
    if gone is None and "timed out" not in message:
        exhausted = KitsolveError("the loading processes ran out of shared memory.", hint=f"{REPAIR}.")
        return exhausted if len(images.at) and is_exhausted(message) else None
    numbers = {int(number) for number in re.findall(r"\d+", gone[1])} if gone else set()
    rows = [row for number, row in images.at.tolist() if row >= 0 and (not gone or number in numbers)]
    at = ", ".join(os.fsdecode(images.images.paths[row]) for row in rows) or "an unknown image"
    what = f"a loading process {gone[2].strip().rstrip('.')}" if gone else f"no batch came for {PATIENCE_S} s"
    if is_exhausted(message):
        return KitsolveError(f"{what}; it was at {at}.", hint=f"{REPAIR}. The same command goes on.")
    return KitsolveError(
        f"{what}; it was at {at}.",
        "look at that image and at the free memory; --workers 0 loads in the main process. The same command goes on.",
    )


def _start_worker(_: int) -> None:
    """Ctrl-C reaches the whole group of processes; only the main one shall act on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
