"""Milliseconds for a training image, and what a million paths cost a worker: python tests/benchmarks/bench_data.py

800 x 600 px JPEG files become augmented images of 224 px, in one process: by decoding the whole file (the usual way),
by decoding it at half its size, and from both kinds of cache. The ways take turns; only the ratios of one round count.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from photos import write_photos
from torch.utils.data import DataLoader, Dataset

from kitsolve.data.augment import build_augmentation
from kitsolve.data.cache import ScaledImages, encode_paths, open_cache
from kitsolve.data.dataset import Look, TrainImages
from kitsolve.inference.bundle import Preprocessing
from kitsolve.inference.images import read_image, scale_image
from kitsolve.workspace import Workspace


class Whole(ScaledImages):
    """Images that are decoded in full each time."""

    def read(self, row: int) -> np.ndarray:
        """Decode, then shrink."""
        return scale_image(read_image(self.paths[row].decode()), self.preprocessing)


def ways(workspace: Workspace, paths: list[Path], given: argparse.Namespace) -> dict[str, Callable[[int], object]]:
    """A name and what gives the image of a row."""
    prep = Preprocessing((given.size, given.size), (0.5,) * 3, (0.25,) * 3, "bilinear")
    images = ScaledImages(encode_paths([str(path) for path in paths]), prep)
    sources = {"from source": Whole(images.paths, prep), "from source, reduced": images}
    for name, form in (("JPEG cache", "jpeg"), ("PNG cache", "png"), ("raw cache", "raw")):
        sources[name] = replace(images, cache=open_cache(workspace, "photos", form, images, hint=""))
    look = Look(partial(build_augmentation, given.augment), ((given.size, given.size),), epochs=1)
    made = {name: TrainImages(source, np.zeros(len(paths)), look=look, seed=0) for name, source in sources.items()}
    return {name: lambda row, dataset=dataset: dataset[0, row] for name, dataset in made.items()}


def milliseconds(make: Callable[[int], object], count: int) -> float:
    """For one image, the mean over all."""
    started = time.perf_counter()
    for row in range(count):
        make(row)
    return 1000 * (time.perf_counter() - started) / count


class Paths(Dataset):
    """Reads a million paths and says how much private memory its process has then."""

    def __init__(self, paths: object) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return 2

    def __getitem__(self, step: int) -> float:
        if step:
            total = 0
            for path in self.paths:
                total += len(path)
        gc.collect()
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


def growth_mb(paths: object) -> float:
    """Megabytes of private memory that a worker gains by reading all paths."""
    before, after = (float(batch) for batch in DataLoader(Paths(paths), num_workers=1, batch_size=None))
    return after - before


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--augment", default="heavy")
    given = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as name:
        makers = ways(Workspace(Path(name)), write_photos(Path(name), given.images), given)
        measured: dict[str, list[float]] = {name: [] for name in makers}
        for number in range(given.rounds + 1):
            for name, make in makers.items():
                taken = milliseconds(make, given.images)
                measured[name] += [taken] if number else []  # the first round warms the files
    print(f"{'':22}  {'ms':>6}  {'speed':>6}  augment {given.augment}, {given.size} px")
    for name, found in measured.items():
        ratios = [base / own for base, own in zip(measured["from source"], found, strict=True)]
        print(f"{name:22}  {statistics.median(found):>6.2f}  {statistics.median(ratios):>5.2f}x")
    names = [f"/data/competition/train/images/{number:08d}.jpg" for number in range(1_000_000)]
    print(f"a worker that reads 1,000,000 paths grows by {growth_mb(encode_paths(names)):.1f} MB;", end=" ")
    print(f"with a list of str by {growth_mb(names):.1f} MB")


if __name__ == "__main__":
    main()
