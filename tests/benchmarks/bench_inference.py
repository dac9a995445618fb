"""How fast a bundle predicts, beside the usual notebook and the bare arithmetic.

    python tests/benchmarks/bench_inference.py --backbone mobilenetv3_small_100

Five folds with four views each over 800 x 600 px JPEG files. The usual notebook goes through its DataLoader once for
every fold and view, in float32. Bare is the forward pass of the same twenty passes on prepared tensors, in the
precision and form that the bundle's models have. All take turns; only the ratios of one round count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from photos import write_photos
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from kitsolve.inference.bundle import Architecture, ModelSpec, Preprocessing, file_sha256
from kitsolve.inference.ensemble import iter_probs
from kitsolve.inference.members import TTA, Member, load_member
from kitsolve.inference.models import build_model

FOLDS, TTA_NAME, BATCH = 5, "flips", 32
DEVICE = torch.device("cpu")


def save_folds(folder: Path, given: argparse.Namespace) -> list[ModelSpec]:
    """Five untrained models of one backbone, as a bundle describes them."""
    size = (given.size, given.size)
    architecture = Architecture(f"timm/{given.backbone}", 10)
    prep = Preprocessing(size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    specs = []
    for fold in range(FOLDS):
        torch.manual_seed(fold)
        path = folder / f"fold_{fold}.safetensors"
        save_file(build_model(architecture, image_size=size).state_dict(), path)
        specs.append(
            ModelSpec(architecture, "softmax", prep, TTA_NAME, given.precision, path.name, file_sha256(path), 1.0)
        )
    return specs


class UsualDataset(Dataset):
    """Pillow, a resize, a view, float32."""

    def __init__(self, paths: list[Path], spec: ModelSpec, view: int) -> None:
        self.paths, self.spec, self.view = paths, spec, view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        prep = self.spec.preprocessing
        image = np.asarray(Image.open(self.paths[row]).convert("RGB"))
        image = cv2.resize(image, prep.image_size[::-1])
        normal = (image.astype(np.float32) / 255 - prep.mean) / prep.std
        return TTA[TTA_NAME][self.view](torch.from_numpy(normal.transpose(2, 0, 1).astype(np.float32)))


@torch.no_grad()
def usual(folder: Path, specs: list[ModelSpec], paths: list[Path]) -> float:
    """Seconds of the usual notebook."""
    started = time.perf_counter()
    for spec in specs:
        plain = build_model(spec.architecture, image_size=spec.preprocessing.image_size).eval()
        for view in range(len(TTA[TTA_NAME])):
            loader = DataLoader(UsualDataset(paths, spec, view), batch_size=BATCH, num_workers=os.cpu_count() or 1)
            for batch in loader:
                plain(batch).softmax(1)
    return time.perf_counter() - started


def ours(members: list[Member], paths: list[Path]) -> float:
    """Seconds of a bundle's models."""
    started = time.perf_counter()
    for _ in iter_probs(members, paths, device=DEVICE, batch_size=BATCH, workers=os.cpu_count() or 1):
        pass
    return time.perf_counter() - started


@torch.inference_mode()
def bare(members: list[Member], count: int) -> float:
    """Seconds of the forward passes alone."""
    size = members[0].preprocessing.image_size
    batch = torch.randn(BATCH, 3, *size).contiguous(memory_format=torch.channels_last)
    started = time.perf_counter()
    for _ in range(count // BATCH):
        for member in members:
            for _ in TTA[TTA_NAME]:
                member.forward(batch)
    return time.perf_counter() - started


def main() -> None:
    """Print seconds, and how many times as fast as the usual notebook and as the bare arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenetv3_small_100")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        paths = write_photos(Path(name), given.images)
        specs = save_folds(Path(name), given)
        started = time.perf_counter()
        members = [load_member(spec, Path(name), DEVICE) for spec in specs]
        print(f"loaded in {time.perf_counter() - started:.1f} s")
        ways: dict[str, Callable[[], float]] = {
            "usual notebook": lambda: usual(Path(name), specs, paths),
            "kitsolve": lambda: ours(members, paths),
            "bare forward": lambda: bare(members, given.images),
        }
        bare(members, BATCH)  # oneDNN prepares its kernels
        measured: dict[str, list[float]] = {name_of_way: [] for name_of_way in ways}
        for _ in range(given.rounds):
            for name_of_way, way in ways.items():
                measured[name_of_way].append(way())
    print(f"{given.backbone}, {given.size} px, {given.images} images, {FOLDS} folds x {len(TTA[TTA_NAME])} views")
    for name_of_way, found in measured.items():
        speeds = [usual_s / own for usual_s, own in zip(measured["usual notebook"], found, strict=True)]
        limits = [limit / own for limit, own in zip(measured["bare forward"], found, strict=True)]
        print(
            f"{name_of_way:16}  {statistics.median(found):>7.1f} s  {statistics.median(speeds):>5.2f}x the usual"
            f"  {statistics.median(limits):>5.2f} of bare"
        )


if __name__ == "__main__":
    main()
