"""One optimizer step: a batch, mixed and in parts, becomes a gradient and a change of the weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kitsolve.data.dataset import derive_seed
from kitsolve.errors import KitsolveError
from kitsolve.inference.devices import autocast
from kitsolve.inference.images import normalise
from kitsolve.training.checkpoint import TrainState
from kitsolve.training.distributed import add_over_processes, gather_batch, own_part, unsynced
from kitsolve.training.job import FoldJob
from kitsolve.training.losses import sum_losses, weigh_batch
from kitsolve.training.mixing import draw_mix, mix_images, mix_targets


def train_step(job: FoldJob, state: TrainState, batch: Sequence[Tensor], *, lr: float) -> Tensor:
    """One optimizer step; gives the loss, still on the device.

    Args:
        batch: (images, height, width, channels) uint8, targets, and further numbers where the model takes them.
    """
    recipe = job.recipe
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    loss = accumulate_gradient(job, state, batch)
    if recipe.clip_grad:
        state.scaler.unscale_(state.optimizer)
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip_grad)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema.update(state.model, step=state.step)
    return loss


def accumulate_gradient(job: FoldJob, state: TrainState, batch: Sequence[Tensor]) -> Tensor:
    """The gradient of a batch's mean loss, part by part; parts that the memory does not hold are halved.

    Raises:
        KitsolveError: not even one image fits.
    """
    while True:
        # Dropout too is a function of the step: nothing to save.
        torch.manual_seed(derive_seed(job.seed, state.step) + job.machine.rank)
        state.optimizer.zero_grad()
        try:
            return add_parts(job, state, batch)
        except torch.OutOfMemoryError:
            rows, count = len(batch[0]), count_parts(job, state, len(batch[0]))
            size = -(-rows // count)
            if job.machine.world > 1:  # the others wait for this one's gradients
                raise KitsolveError(
                    f"the memory of {job.machine.device} does not hold {size} images.",
                    hint=f"--set accumulate={2 * state.parts}, or lower batch_size.",
                ) from None
            if count == count_parts(job, state, rows, wanted=rows):
                least = "one image" if size == 1 else f"{size} images"
                raise KitsolveError(
                    f"the memory of {job.machine.device} does not hold {least} of {job.recipe.image_size} px.",
                    hint="lower image_size, set grad_checkpointing = true, or take a smaller backbone.",
                ) from None
        state.parts *= 2
        torch.cuda.empty_cache()
        tqdm.write(f"out of memory with {size} images at once; going on with {-(-size // 2)}", file=sys.stderr)


def count_parts(job: FoldJob, state: TrainState, rows: int, *, wanted: int | None = None) -> int:
    """In how many parts a batch goes through the model: as many as `wanted`, by default the state's, if its rows do."""
    return max(1, min(wanted or state.parts, rows // job.least_rows))


def add_parts(job: FoldJob, state: TrainState, batch: Sequence[Tensor]) -> Tensor:
    """The batch's mean loss, of several processes this one's share in it; its gradient is added up.

    The sum of every part is divided by the weight of the whole batch of all processes: parts, which may differ in
    their classes' weights, would else count alike.
    """
    machine, loss = job.machine, torch.zeros((), device=job.machine.device)
    prepared = prepare_batch(job, state, batch)
    whole = add_over_processes(weigh_targets(job, prepared[1]), machine)
    count = count_parts(job, state, len(batch[0]))
    parts = list(zip(*(torch.tensor_split(tensor, count) for tensor in prepared), strict=True))
    for number, (inputs, targets, *beside) in enumerate(parts, start=1):
        with unsynced(state.runner, last=number == len(parts)):
            with autocast(machine.device, job.dtype):
                logits = state.runner(inputs, *beside)
            part = compute_part_loss(job, logits, targets) / whole
            # DistributedDataParallel takes the mean of the processes' gradients; their sum is that of the batch.
            torch.autograd.backward(state.scaler.scale(part * machine.world))
        loss += part.detach()
    return loss


def prepare_batch(job: FoldJob, state: TrainState, batch: Sequence[Tensor]) -> list[Tensor]:
    """The batch on the device: normalised images, targets and further numbers, mixed where the recipe mixes."""
    images, targets, *beside = (tensor.to(job.machine.device, non_blocking=True) for tensor in batch)
    inputs = normalise(images, job.preprocessing)
    machine = job.machine
    mix = draw_mix(
        np.random.default_rng([job.seed, state.step]),
        job.recipe,
        epoch=len(state.history),
        epochs=job.epochs,
        rows=len(inputs) * machine.world,
        size=(inputs.shape[2], inputs.shape[3]),
    )
    if mix is None:
        return [inputs, targets, *beside]
    inputs, targets, *beside = (gather_batch(tensor, machine) for tensor in (inputs, targets, *beside))
    mixed = [mix_images(inputs, mix), mix_targets(targets, mix, classes=len(job.data.targets.output_names))]
    mixed += [numbers.lerp(numbers[list(mix.order)], 1 - mix.kept) for numbers in beside]
    return [own_part(tensor, machine) for tensor in mixed]


def weigh_targets(job: FoldJob, targets: Tensor) -> Tensor:
    """What the losses of these rows are divided by; it needs no look at the device."""
    return weigh_batch(targets, job.loss, outputs=len(job.data.targets.output_names))


def compute_part_loss(job: FoldJob, logits: Tensor, targets: Tensor) -> Tensor:
    """The sum of the losses of a part's rows; of several dropouts of a row their mean."""
    copies = len(logits) // len(targets)
    return sum_losses(logits.float(), targets.repeat(copies, *[1] * (targets.ndim - 1)), job.loss) / copies
