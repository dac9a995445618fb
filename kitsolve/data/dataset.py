"""Training images as batches that are a pure function of the seed and the step."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from kitsolve.data.augment import build_augmentation
from kitsolve.errors import KitsolveError
from kitsolve.inference import Preprocessing, read_image, resize_image

Key = tuple[int, int]
"""(epoch, row): what a sample and its augmentation depend on, beside the seed."""

KEEP_BYTES = 256 * 1024**2
"""Images that need no more than this, decoded and resized, are read once and then stay in the memory of a process."""


def derive_seed(*keys: int) -> int:
    """A 32-bit seed for a place in the training; among places with as many keys each has a stream of its own."""
    return int(np.random.SeedSequence(keys).generate_state(1)[0])


class TrainImages(Dataset[tuple[torch.Tensor, ...]]):
    """Augmented training images by (epoch, row), each with its target and, where there are any, further numbers."""

    def __init__(
        self,
        paths: Sequence[Path],
        targets: np.ndarray,
        *,
        features: np.ndarray | None = None,
        preprocessing: Preprocessing,
        augment: str,
        seed: int,
    ) -> None:
        # Arrays, not lists: reading a list changes reference counts, which copies its pages into every worker.
        self.paths = np.array([str(path) for path in paths])
        self.beside = [torch.tensor(array) for array in (targets, features) if array is not None]
        self.preprocessing = preprocessing
        self.augmentation = build_augmentation(augment, preprocessing.image_size, preprocessing.channels)
        self.seed = seed
        self.keeps = len(paths) * preprocessing.channels * preprocessing.image_size**2 <= KEEP_BYTES
        self.kept: dict[int, np.ndarray] = {}

    def read(self, row: int) -> np.ndarray:
        """The resized image, (height, width, channels) uint8, for the caller to change."""
        if row in self.kept:
            return self.kept[row].copy()  # a transform may work in place
        image = resize_image(read_image(str(self.paths[row]), self.preprocessing.channels), self.preprocessing)
        if self.keeps:
            self.kept[row] = image.copy()
        return image

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, ...]:
        """(height, width, channels) uint8, the row's target, and its further numbers where there are any."""
        epoch, row = key
        image = self.read(row)
        seed = derive_seed(self.seed, epoch, row)
        # One stream for all transforms: set_random_seed would start each with the same numbers, so that a flip and a
        # transposition of equal probability would only ever come together.
        self.augmentation.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return torch.from_numpy(self.augmentation(image=image)["image"]), *(array[row] for array in self.beside)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.paths)


class BatchSchedule(Sampler[list[Key]]):
    """All batches of a training from `first_step` on; an epoch permutes the rows and leaves its remainder out.

    With `shares`, a probability for each of the rows, an epoch draws as many rows by them instead.
    """

    def __init__(
        self,
        rows: np.ndarray,
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        first_step: int = 0,
        shares: np.ndarray | None = None,
    ) -> None:
        self.rows, self.epochs, self.seed, self.first_step, self.shares = rows, epochs, seed, first_step, shares
        self.batch_size = min(batch_size, len(rows))
        self.steps_per_epoch = len(rows) // self.batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        """Batches of (epoch, row)."""
        for epoch in range(self.first_step // self.steps_per_epoch, self.epochs):
            rng = np.random.default_rng([self.seed, epoch])
            drawn = None if self.shares is None else rng.choice(self.rows, size=len(self.rows), p=self.shares)
            order = rng.permutation(self.rows) if drawn is None else drawn
            skipped = max(0, self.first_step - epoch * self.steps_per_epoch)
            for step in range(skipped, self.steps_per_epoch):
                batch = order[step * self.batch_size : (step + 1) * self.batch_size]
                yield [(epoch, int(row)) for row in batch]

    def __len__(self) -> int:
        """Number of batches left."""
        return self.steps_per_epoch * self.epochs - self.first_step


def load_batches(
    images: TrainImages, schedule: BatchSchedule, *, workers: int, pin_memory: bool, hint: str
) -> Iterator[list[torch.Tensor]]:
    """All batches of all epochs: workers start once and read ahead while an epoch is validated.

    Batches are (images, height, width, channels) uint8, targets, and further numbers where there are any; the number
    of workers changes nothing in them.

    Raises:
        KitsolveError: an image cannot be read; with `hint`.
    """
    cv2.setNumThreads(0)  # the workers are the parallelism; cv2's own threads can deadlock after a fork
    loader = DataLoader(
        images,
        batch_sampler=schedule,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        prefetch_factor=4 if workers else None,
    )
    try:
        yield from loader
    except ValueError as error:  # of a worker: its whole traceback as text, the error in the last line
        raise KitsolveError(str(error).strip().splitlines()[-1].removeprefix("ValueError: "), hint) from error


def _start_worker(_: int) -> None:
    """Ctrl-C reaches the whole group of processes; only the main one shall act on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
