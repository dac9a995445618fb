"""The state that a fold's training begins with, and the batches that it reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from kitsolve.data.cache import ScaledImages, open_cache
from kitsolve.data.dataset import TrainImages, load_batches
from kitsolve.training.backbones import build_backbone, load_init
from kitsolve.training.checkpoint import TrainState
from kitsolve.training.distributed import prepare_model
from kitsolve.training.job import FoldJob
from kitsolve.training.optim import build_optimizer, needs_scaler
from kitsolve.workspace import Workspace


def start_training(job: FoldJob) -> TrainState:
    """A new model and optimizer; the same for the same seed."""
    device, recipe = job.machine.device, job.recipe
    torch.manual_seed(job.seed)
    model = build_backbone(recipe, job.architecture)
    if recipe.init_from:
        load_init(model, job.run, job.data.fold)
    model = prepare_model(model, job.machine).to(device).to(memory_format=torch.channels_last)
    ema = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
    if recipe.compile:
        model.compile()
    return TrainState(
        model=model,
        optimizer=build_optimizer(model, recipe),
        scaler=torch.amp.GradScaler(device.type, enabled=needs_scaler(job.dtype)),
        ema=ema,
        loss_sum=torch.zeros((), device=device),
        lost_at=torch.full((), math.inf, device=device),
        parts=recipe.accumulate,
        best_score=job.judge.metric.worst,
    )


def open_images(workspace: Workspace, job: FoldJob) -> ScaledImages:
    """The scaled images, from the cache that was settled."""
    if job.settled.cache == "none":
        return job.images
    slug = job.run.competition.slug
    return replace(job.images, cache=open_cache(workspace, slug, job.settled.cache, job.images, hint=job.image_hint))


def read_batches(
    job: FoldJob, images: ScaledImages, *, workers: int | None = None, first_step: int = 0
) -> Iterator[list[Tensor]]:
    """The batches from `first_step` on to the end of the training."""
    workers = job.machine.workers if workers is None else workers
    dataset = TrainImages(images, job.data.learned, features=job.data.features, look=job.look, seed=job.seed)
    on_gpu = job.machine.device.type == "cuda"
    schedule = job.schedule(first_step=first_step)
    return load_batches(dataset, schedule, workers=workers, pin_memory=on_gpu, hint=job.image_hint)


def prefetch(batches: Iterator[list[Tensor]], device: torch.device, *, count: int) -> Iterator[list[Tensor]]:
    """The next `count` batches; to a GPU each is copied while the one before it is in use."""
    if device.type != "cuda":
        yield from islice(batches, count)
        return
    stream, ahead = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]
    for batch in islice(batches, count):
        with torch.cuda.stream(stream):
            coming = [tensor.to(device, non_blocking=True) for tensor in batch]
        if ahead is not None:
            yield ahead
        current = torch.cuda.current_stream(device)
        current.wait_stream(stream)
        for tensor in coming:
            tensor.record_stream(current)  # else its memory could be given away while it is in use
        ahead = coming
    if ahead is not None:
        yield ahead
