"""What a training needs to go on exactly where it stopped, and the signal that makes it stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType
from typing import Any

import torch
from safetensors.torch import save as serialise
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from tqdm import tqdm

from kitsolve.training.distributed import Machine
from kitsolve.workspace import write_whole


@dataclass
class TrainState:
    """All that changes while a fold trains.

    There is no random state and no scheduler in it: batches, augmentation, dropout and lr are functions of the seed
    and `step`, the number of optimizer steps done. `loss_sum` adds up the losses since step `epoch_start`; `lost_at` is
    the first step whose loss was no number. `parts`: in how many parts a batch goes through the model. `cut_short`: the
    time is over. `runner` is the model as the forward pass calls it.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: ModelEmaV3 | None
    loss_sum: Tensor
    lost_at: Tensor
    best_score: float
    parts: int = 1
    step: int = 0
    epoch_start: int = 0
    cut_short: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    runner: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        """Alone, the model runs as it is."""
        self.runner = self.model

    @property
    def evaluated(self) -> nn.Module:
        """The model whose score counts: the EMA where there is one."""
        return self.ema.module if self.ema is not None else self.model

    def modules(self) -> dict[str, Any]:
        """Everything with a state_dict, by name."""
        named = {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler, "ema": self.ema}
        return {name: module for name, module in named.items() if module is not None}


KEPT = ("step", "epoch_start", "cut_short", "best_score", "loss_sum", "history")
"""What last.pt keeps beside everything with a state_dict."""


def save_last(state: TrainState, path: Path, machine: Machine) -> None:
    """Write last.pt, whole or not at all; the former one stays beside it as previous.pt, and survives a full disk.

    Of several processes the first does.
    """
    if not machine.leads:
        return
    values = {name: module.state_dict() for name, module in state.modules().items()}
    values |= {name: getattr(state, name) for name in KEPT}
    coming = path.with_name("next.pt")
    write_whole(coming, lambda file: torch.save(values, file))
    if path.is_file():
        os.replace(path, previous_path(path))
    os.replace(coming, path)


def previous_path(path: Path) -> Path:
    """Where the checkpoint before last.pt is."""
    return path.with_name("previous.pt")


def load_last(state: TrainState, path: Path, machine: Machine) -> None:
    """Bring `state` to where last.pt was written, or the one before where it is damaged; without one to the start."""
    for place in (path, previous_path(path)):
        if place.is_file():
            try:
                _restore(state, torch.load(place, map_location=machine.device, weights_only=True))
                break
            except (RuntimeError, EOFError, OSError, UnpicklingError) as error:
                tqdm.write(f"{place} is damaged ({type(error).__name__}): going on from before it", sys.stderr)
    if not machine.leads:
        state.loss_sum.zero_()  # the first process has the sum of all


def _restore(state: TrainState, values: dict[str, Any]) -> None:
    for name, module in state.modules().items():
        module.load_state_dict(values[name])
    for name in KEPT:
        setattr(state, name, values[name])


def save_best(model: nn.Module, path: Path) -> None:
    """The bare state_dict as safetensors, on the CPU and in the standard memory layout."""
    tensors = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    write_whole(path, lambda file: file.write(serialise(tensors)))


class StopRequest:
    """Whether Ctrl-C or SIGTERM asked the training to stop at the next step."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal: the first one asks, the second interrupts at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        # Not print: its buffer may be in use at the very moment of the signal.
        os.write(2, b"\nstopping after a checkpoint; Ctrl-C again stops at once\n")


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Ctrl-C and SIGTERM set a flag inside the block, so that no step is cut in half."""
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
