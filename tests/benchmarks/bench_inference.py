"""How fast a bundle predicts, beside the usual notebook and the bare arithmetic; and how much memory it takes.

    python tests/benchmarks/bench_inference.py --backbone mobilenetv3_small_100
    python tests/benchmarks/bench_inference.py --backbone mobilenetv3_small_100 --memory

Five folds with four views each over 800 x 600 px JPEG files. The usual notebook goes through its DataLoader once for
every fold and view, in float32; it has its own process, where memory is as the C library manages it. Bare is the
forward pass of the same twenty passes on prepared tensors, in the precision and form that the bundle's models have. All
take turns; only the ratios of one round count. With --memory, a process of its own predicts ever more images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from photos import write_photos
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from kitsolve.inference.bundle import (
    BUNDLE_FORMAT,
    TTA,
    Architecture,
    Blend,
    Bundle,
    Decoder,
    ModelSpec,
    Preprocessing,
    Split,
    SubmissionRules,
    file_sha256,
)
from kitsolve.inference.ensemble import Ensemble, load_ensemble
from kitsolve.inference.loop import iter_probs
from kitsolve.inference.members import VIEWS
from kitsolve.inference.models import build_model
from kitsolve.submission.standalone import inference_file
from kitsolve.workspace import to_json

FOLDS, PASSES, BATCH = 5, TTA["flips"], 32
DEVICE = torch.device("cpu")


def save_bundle(folder: Path, given: argparse.Namespace) -> Bundle:
    """Five untrained models of one backbone."""
    size = (given.size, given.size)
    architecture = Architecture(f"timm/{given.backbone}", 10)
    prep = Preprocessing(size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    specs = []
    for fold in range(FOLDS):
        torch.manual_seed(fold)
        path = folder / f"fold_{fold}.safetensors"
        save_file(build_model(architecture, image_size=size).state_dict(), path)
        specs.append(
            ModelSpec(architecture, "softmax", prep, PASSES, given.precision, path.name, file_sha256(path), "run")
        )
    names = tuple(f"class_{number}" for number in range(10))
    return Bundle(
        format=BUNDLE_FORMAT, name="bench", competition="bench", archives=(),
        test=Split("{image_id}", (), "image_id", "utf-8"), features=(), decoder=Decoder("multiclass"),
        submission=SubmissionRules("label", "sample.csv", names), batch_size=BATCH,
        blend=Blend(("run",), "mean", (1.0,)), prior=(0.1,) * 10, models=tuple(specs), files={},
        compiled=given.compile, card={},
    )  # fmt: skip


class UsualDataset(Dataset):
    """Pillow, a resize, a view, float32."""

    def __init__(self, paths: list[Path], prep: Preprocessing, view: str) -> None:
        self.paths, self.prep, self.view = paths, prep, view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        image = np.asarray(Image.open(self.paths[row]).convert("RGB"))
        image = cv2.resize(image, self.prep.image_size[::-1])
        normal = (image.astype(np.float32) / 255 - self.prep.mean) / self.prep.std
        return VIEWS[self.view](torch.from_numpy(normal.transpose(2, 0, 1).astype(np.float32)))


@torch.no_grad()
def usual(bundle: Bundle, paths: list[Path]) -> float:
    """Seconds of the usual notebook."""
    started = time.perf_counter()
    for spec in bundle.models:
        plain = build_model(spec.architecture, image_size=spec.preprocessing.image_size).eval()
        for view in PASSES:
            dataset = UsualDataset(paths, spec.preprocessing, view)
            for batch in DataLoader(dataset, batch_size=BATCH, num_workers=os.cpu_count() or 1):
                plain(batch).softmax(1)
    return time.perf_counter() - started


def ours(ensemble: Ensemble, paths: list[Path]) -> float:
    """Seconds of a bundle's models."""
    started = time.perf_counter()
    for _ in iter_probs([ensemble], paths, workers=os.cpu_count() or 1):
        pass
    return time.perf_counter() - started


@torch.inference_mode()
def bare(ensemble: Ensemble, count: int) -> float:
    """Seconds of the forward passes alone."""
    size = ensemble.members[0].preprocessing.image_size
    batch = torch.randn(BATCH, 3, *size).contiguous(memory_format=torch.channels_last)
    started = time.perf_counter()
    for _ in range(count // BATCH):
        for member in ensemble.members:
            for _ in PASSES:
                member.forward(batch)
    return time.perf_counter() - started


def compare(folder: Path, given: argparse.Namespace) -> Iterator[str]:
    """Seconds, and how many times as fast as the usual notebook and as the bare arithmetic."""
    paths = write_photos(folder, given.images)
    bundle = save_bundle(folder, given)
    started = time.perf_counter()
    ensemble = load_ensemble(bundle, folder, DEVICE)
    yield f"models loaded in {time.perf_counter() - started:.1f} s"
    started = time.perf_counter()
    bare(ensemble, BATCH)  # oneDNN prepares its kernels, torch.compile compiles
    yield f"first batch in {time.perf_counter() - started:.1f} s"
    elsewhere = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    ways: dict[str, Callable[[], float]] = {
        "usual notebook": lambda: elsewhere.submit(usual, bundle, paths).result(),
        "kitsolve": lambda: ours(ensemble, paths),
        "bare forward": lambda: bare(ensemble, given.images),
    }
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, way in ways.items():
            measured[name].append(way())
    yield f"{given.backbone}, {given.size} px, {given.images} images, {FOLDS} folds x {len(PASSES)} views"
    for name, found in measured.items():
        speeds = [usual_s / own for usual_s, own in zip(measured["usual notebook"], found, strict=True)]
        limits = [limit / own for limit, own in zip(measured["bare forward"], found, strict=True)]
        yield (
            f"{name:16}  {statistics.median(found):>7.1f} s  {statistics.median(speeds):>5.2f}x the usual"
            f"  {statistics.median(limits):>5.2f} of bare"
        )


MEASURE = """\
import sys, time
started = time.monotonic()
import kitsolve_inference as kitsolve
from pathlib import Path
bundle, data, output = map(Path, sys.argv[1:])
done = kitsolve.predict_bundle(bundle, data, output, device=kitsolve.torch.device("cpu"))
imported = time.monotonic() - started - done.attrs["start_s"] - done.attrs["image_s"] * (len(done) - 32)
from kitsolve.submission.guard import peak_gb
print(f"{1000 * peak_gb():>8,.0f} MB at most, {imported:.1f} s to import, first predictions after another "
      f"{done.attrs['start_s']:.1f} s, then {1 / done.attrs['image_s']:,.1f} images a second")
"""


def measure_memory(folder: Path, given: argparse.Namespace) -> Iterator[str]:
    """The peak of processes that predict ever more images (links to a few files), and when they first predict."""
    photos = write_photos(folder, 64)
    bundle = save_bundle(folder, given)
    (folder / "bundle.json").write_text(to_json(asdict(bundle)))
    (folder / "kitsolve_inference.py").write_text(inference_file())
    for count in (100, 1_000, 10_000):
        data = folder / str(count)
        data.mkdir()
        ids = [f"{number:06d}.jpg" for number in range(count)]
        for number, image_id in enumerate(ids):
            (data / image_id).symlink_to(photos[number % len(photos)])
        pd.DataFrame({"image_id": ids, "label": "class_0"}).to_csv(data / "sample.csv", index=False)
        command = [sys.executable, "-c", MEASURE, str(folder), str(data), str(data / "submission.csv")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        yield f"{count:>7,} images {done.stdout.rstrip()}"


def main() -> None:
    """Print one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenetv3_small_100")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory", action="store_true", help="peak memory of 100, 1,000 and 10,000 images")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for line in (measure_memory if given.memory else compare)(Path(name), given):
            print(line, flush=True)


if __name__ == "__main__":
    main()
