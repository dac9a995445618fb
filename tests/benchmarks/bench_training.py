"""How much of the bare training rate the whole loop keeps: python tests/benchmarks/bench_training.py

Bare is zero_grad, forward, loss, backward and step on one batch that lies in memory. The loop is `train_epoch`: it
reads 64 px PNG files (so few that they stay in memory after the first round), augments, clips, keeps an EMA and shows
a bar. Both take turns, since machines are noisy; only the ratio of one round counts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from kitsolve.config import Competition
from kitsolve.data.dataset import TrainImages
from kitsolve.data.targets import Targets
from kitsolve.evaluation.decoding import find_judge
from kitsolve.evaluation.runs import Run
from kitsolve.inference import autocast, normalise
from kitsolve.recipe import Recipe
from kitsolve.training.checkpoint import StopRequest
from kitsolve.training.fold import read_batches, start_training, train_epoch
from kitsolve.training.job import FoldData, FoldJob, choose_machine, plan_fold
from kitsolve.workspace import Workspace

COMPETITION = {
    "slug": "noise",
    "title": "Noise",
    "task": "multiclass",
    "metric": "accuracy",
    "train": {"rows": {"csv": "train.csv"}, "id": "image_id", "target": "label", "image": "{image_id}.png"},
    "test": {"image": "{image_id}.png"},
    "submission": {"kind": "label", "via": "csv"},
}


def write_images(folder: Path, count: int) -> list[Path]:
    """PNG files of 64 px that compress about as photographs do."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path), cv2.add(smooth, random.integers(0, 12, smooth.shape, dtype=np.uint8)))
    return paths


def plan(folder: Path, given: argparse.Namespace) -> FoldJob:
    """A fold that trains on `given.steps` batches."""
    recipe = Recipe(
        backbone=given.backbone,
        pretrained=False,
        image_size=64,
        batch_size=given.batch,
        augment=given.augment,
        epochs=given.rounds + 1,
    )
    run = Run(folder, Competition.model_validate(COMPETITION), recipe, "", "benchmark", "")
    paths = write_images(folder, given.steps * given.batch)
    rows = np.arange(len(paths))
    targets = Targets("multiclass", tuple("0123456789"), rows % 10)
    data = FoldData(0, pd.Series(rows).astype(str), paths, targets, None, rows, rows[:1])
    judge = find_judge(Workspace(folder), run.competition, targets)
    return plan_fold(run, data, judge, choose_machine(given.device, given.workers))


def bare_rate(job: FoldJob, steps: int) -> float:
    """Images per second of the arithmetic alone."""
    state, device = start_training(job), job.machine.device
    batch = torch.randint(0, 256, (job.recipe.batch_size, 64, 64, 3), dtype=torch.uint8, device=device)
    inputs, targets = normalise(batch, job.preprocessing), torch.zeros(len(batch), dtype=torch.long, device=device)
    state.model.train()

    def train(count: int) -> None:
        for _ in range(count):
            state.optimizer.zero_grad()
            with autocast(device, job.dtype):
                logits = state.model(inputs)
            cross_entropy(logits.float(), targets).backward()
            state.optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    train(3)
    started = time.perf_counter()
    train(steps)
    return steps * len(batch) / (time.perf_counter() - started)


def main() -> None:
    """Print one line a round and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="timm/resnet18")
    parser.add_argument("--augment", default="light")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        job = plan(Path(name), given)
        state = start_training(job)
        images = TrainImages(
            job.data.paths,
            job.data.targets.learned,
            preprocessing=job.preprocessing,
            augment=job.recipe.augment,
            seed=0,
        )
        batches = read_batches(job, images, workers=job.machine.workers)
        print(f"{given.backbone}, 64 px, batch {given.batch}, augment {given.augment}, {job.dtype}, {job.machine}")
        print(f"{'round':>6}  {'bare img/s':>10}  {'loop img/s':>10}  {'loop/bare':>9}")
        ratios = []
        for number in range(given.rounds + 1):
            bare = bare_rate(job, given.steps)
            loop = train_epoch(job, state, batches, StopRequest())
            state.history.append({})
            if number:  # the first round starts processes and warms caches
                ratios.append(loop / bare)
                print(f"{number:>6}  {bare:>10.0f}  {loop:>10.0f}  {ratios[-1]:>9.3f}")
        print(f"median of loop/bare: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
