"""How much of the bare training rate the whole loop keeps: python tests/benchmarks/bench_training.py

Bare is zero_grad, forward, loss, backward and step on one prepared batch, in the precision and memory layout that the
loop uses. The loop is `train_epoch`: it reads 800 x 600 px JPEG files, or a cache of them, augments, clips, keeps an
EMA and shows a bar. With `--rivals` other people's loops over the same files join in: see rival_loops.py. All take
turns, since machines are noisy; only the ratios of one round count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from photos import write_photos
from torch import Tensor
from torch.nn.functional import cross_entropy

from kitsolve.config import Competition
from kitsolve.data.cache import encode_paths
from kitsolve.data.targets import Targets
from kitsolve.evaluation.decoding import find_judge
from kitsolve.evaluation.runs import Run
from kitsolve.inference.devices import autocast
from kitsolve.inference.images import normalise
from kitsolve.recipe import Recipe
from kitsolve.training.checkpoint import StopRequest
from kitsolve.training.distributed import Machine
from kitsolve.training.fold import Watch, train_epoch
from kitsolve.training.job import FoldData, FoldJob, Settled, choose_machine, plan_fold
from kitsolve.training.start import open_images, read_batches, start_training
from kitsolve.workspace import Workspace

COMPETITION = {
    "slug": "noise",
    "title": "Noise",
    "task": "multiclass",
    "metric": "accuracy",
    "train": {"rows": {"csv": "train.csv"}, "id": "image_id", "target": "label", "image": "{image_id}.jpg"},
    "test": {"image": "{image_id}.jpg"},
    "submission": {"kind": "label", "via": "csv"},
}


def plan(workspace: Workspace, paths: list[Path], given: argparse.Namespace, cache: str) -> FoldJob:
    """A fold that trains on all the files, for as many epochs as there are rounds."""
    recipe = Recipe(
        backbone=given.backbone,
        pretrained=False,
        image_size=given.size,
        batch_size=given.batch,
        augment=given.augment,
        epochs=given.rounds + 1,
    )
    run = Run(workspace.root / cache, Competition.model_validate(COMPETITION), recipe, "", "benchmark", "")
    rows = np.arange(len(paths))
    targets = Targets("multiclass", tuple("0123456789"), rows % 10)
    ids = pd.Index(rows.astype(str))
    data = FoldData(0, ids, encode_paths([str(path) for path in paths]), targets, targets.learned, None, rows, rows[:1])
    judge = find_judge(workspace, run.competition, targets)
    machine: Machine = choose_machine(given.device, given.workers)
    settled = Settled(given.batch, cache, given.rounds + 1.0)
    return plan_fold(workspace, run, data, judge, machine=machine, settled=settled)


def bare(job: FoldJob, steps: int) -> float:
    """Images per second of the arithmetic alone."""
    state, device = start_training(job), job.machine.device
    height, width = job.preprocessing.image_size
    batch = torch.randint(0, 256, (job.settled.batch_size, height, width, 3), dtype=torch.uint8, device=device)
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

    train(2)
    started = time.perf_counter()
    train(steps)
    return steps * len(batch) / (time.perf_counter() - started)


def loop(workspace: Workspace, job: FoldJob) -> Iterator[float]:
    """Images per second of one epoch after the other."""
    state = start_training(job)
    batches: Iterator[list[Tensor]] = read_batches(job, open_images(workspace, job))
    while True:
        yield train_epoch(job, state, batches, Watch(StopRequest()))
        state.history.append({})
        state.loss_sum.zero_()
        state.epoch_start = state.step


def contenders(workspace: Workspace, paths: list[Path], given: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """A name and what gives its images per second, once for each round."""
    jobs = {cache: plan(workspace, paths, given, cache) for cache in ("raw", "jpeg", "none")}
    rates = {"bare step": lambda: bare(jobs["none"], given.steps)}
    names = {"raw": "kitsolve, raw cache", "jpeg": "kitsolve, JPEG cache", "none": "kitsolve, original files"}
    for cache, name in names.items():
        rates[name] = loop(workspace, jobs[cache]).__next__
    if given.rivals:
        from rival_loops import Load, available

        load = Load(
            paths, [row % 10 for row in range(len(paths))], given.backbone, given.size, given.batch, given.workers or 0
        )
        for name, rival in available().items():
            rates[name] = lambda rival=rival: rival(load, given.steps)
    return rates


def main() -> None:
    """Print the images per second of every round, and the median of their ratios to the bare step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--augment", default="medium")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of the arithmetic")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rivals", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name))
        paths = write_photos(Path(name), given.steps * given.batch)
        rates = contenders(workspace, paths, given)
        measured: dict[str, list[float]] = {name: [] for name in rates}
        for name, measure in rates.items():
            if name.startswith("kitsolve"):
                measure()  # starts processes and warms caches; the rivals do so by themselves
        for _ in range(given.rounds):
            for name, measure in rates.items():
                measured[name].append(measure())
                print(f"{name}: {measured[name][-1]:.1f} img/s", file=sys.stderr)
    print(f"{given.backbone}, {given.size} px, batch {given.batch}, augment {given.augment}, {given.workers} worker(s)")
    print(f"{'':28}  {'img/s':>7}  {'of bare':>7}  rounds")
    for name, found in measured.items():
        ratios = [rate / limit for rate, limit in zip(found, measured["bare step"], strict=True)]
        rounds = "  ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name:28}  {statistics.median(found):>7.1f}  {statistics.median(ratios):>7.3f}  {rounds}")


if __name__ == "__main__":
    main()
