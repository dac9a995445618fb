"""One fold on several GPUs: torchrun starts a process for each, DistributedDataParallel adds up their gradients.

Each process trains on its part of every batch, so that the same batches give the same weights, but for rounding.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from scipy.sparse import csr_array, vstack
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.oof import Outputs
from kitsolve.inference.devices import usable_cores

Value = TypeVar("Value")
WAIT = timedelta(hours=2)
"""How long a process waits for the others: the first one may be building a cache."""


@dataclass(frozen=True)
class Machine:
    """What computes; on one type of device, none of it changes a result.

    Of `world` processes this is number `rank`.
    """

    device: torch.device
    workers: int
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0


def launch(processes: int, words: Sequence[str]) -> int:
    """Run `kitsolve WORDS` in so many processes, one a GPU; gives the exit code."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    threads = max(1, usable_cores() // processes)
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    # In a session of its own Ctrl-C does not reach it: torchrun would pass it on a second time, as another signal.
    # The dashes: else torchrun would take --run for an abbreviation of an option of its own.
    child = subprocess.Popen([*command, "-m", "--", "kitsolve", *words], env=environment, start_new_session=True)
    try:
        return child.wait()
    except KeyboardInterrupt:
        child.terminate()  # torchrun passes it on: every process stops after a checkpoint
        child.wait()
        raise


def is_launched() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def join_group(device_type: str) -> tuple[torch.device, int, int]:
    """Meet the other processes of torchrun; gives this one's device, rank and the number of all.

    Raises:
        KitsolveError: there are more processes than GPUs.
    """
    rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if device_type == "cuda" and local >= torch.cuda.device_count():
        raise KitsolveError(
            f"there are {torch.cuda.device_count()} GPUs for more processes.", hint="lower --gpus; see `nvidia-smi`."
        )
    device = torch.device("cuda", local) if device_type == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=WAIT)
    return device, rank, world


def leave_group() -> None:
    """Part from the other processes: at the end of a process, threads of the group would abort it."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def share(make: Callable[[], Value], machine: Machine) -> Value:
    """What the first process makes, for all; they wait for it."""
    if machine.world == 1:
        return make()
    held = [make() if machine.leads else None]
    dist.broadcast_object_list(held, device=machine.device)
    value: Value = held[0]  # type: ignore[assignment]
    return value


def agree(machine: Machine, *flags: bool) -> list[bool]:
    """For each of the flags, whether any process has it."""
    if machine.world == 1:
        return list(flags)
    held = torch.tensor(flags, dtype=torch.int32, device=machine.device)
    dist.all_reduce(held, dist.ReduceOp.MAX)
    return [bool(flag) for flag in held.tolist()]


def prepare_model(model: nn.Module, machine: Machine) -> nn.Module:
    """The model with BatchNorm over the whole batch, not over a process's part; torch has that on GPUs only."""
    if machine.world == 1 or machine.device.type != "cuda":
        return model
    synced: nn.Module = convert_sync_batchnorm(model)
    return synced


def spread(model: nn.Module, machine: Machine) -> nn.Module:
    """The model as the forward pass calls it: made anew where parameters were frozen or freed."""
    if machine.world == 1:
        return model
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # newer torch has another name for it
        return DistributedDataParallel(model, broadcast_buffers=False)


def unsynced(runner: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
    """Only the last part of a batch adds up the processes' gradients."""
    if last or not isinstance(runner, DistributedDataParallel):
        return nullcontext()
    return runner.no_sync()


def gather_batch(part: Tensor, machine: Machine) -> Tensor:
    """The whole batch of which each process has every `world`-th row."""
    if machine.world == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(machine.world)]
    dist.all_gather(parts, part.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def own_part(batch: Tensor, machine: Machine) -> Tensor:
    """This process's rows of a whole batch."""
    return batch[machine.rank :: machine.world]


def add_over_processes(number: Tensor, machine: Machine) -> Tensor:
    """The sum of all processes' numbers, on the device."""
    if machine.world > 1:
        dist.all_reduce(number)
    return number


def add_up(loss_sum: Tensor, lost_at: Tensor, machine: Machine) -> float:
    """The sum of all processes' losses: the first keeps it, the others start from 0; all get the first lost step."""
    if machine.world == 1:
        return float(loss_sum)
    dist.all_reduce(loss_sum)
    dist.all_reduce(lost_at, dist.ReduceOp.MIN)
    total = float(loss_sum)
    if not machine.leads:
        loss_sum.zero_()
    return total


def gather_outputs(outputs: Outputs | None, machine: Machine) -> Outputs:
    """The rows of all processes, each of which has every `world`-th one (None: it has no row)."""
    if machine.world == 1:
        assert outputs is not None
        return outputs
    parts: list[Any] = [None] * machine.world
    dist.all_gather_object(parts, outputs)
    held = [part for part in parts if part is not None]
    count = sum(part.shape[0] for part in held)
    rows = np.concatenate([np.arange(rank, count, machine.world) for rank in range(len(held))])
    stacked = csr_array(vstack(held, format="csr")) if isinstance(held[0], csr_array) else np.concatenate(held)
    return stacked[np.argsort(rows)]
