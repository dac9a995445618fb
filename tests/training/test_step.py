"""What is computed in parts, or by several processes, is what is computed at once."""

import math
import os
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kitsolve.inference.bundle import Preprocessing
from kitsolve.recipe import Recipe
from kitsolve.training.checkpoint import TrainState
from kitsolve.training.distributed import Machine
from kitsolve.training.losses import LossChoices
from kitsolve.training.step import accumulate_gradient

KINDS = [
    ("softmax", "auto"), ("softmax", "focal"), ("softmax", "arcface"), ("sigmoid", "auto"), ("sigmoid", "focal"),
    ("sigmoid", "smooth_l1"), ("identity", "auto"), ("identity", "smooth_l1"), ("corn", "corn"),
]  # fmt: skip
SIZE = 2


@dataclass(frozen=True)
class Case:
    """A loss and a batch; `copies`: how many dropouts of a row the head gives."""

    activation: str
    kind: str
    weighted: bool
    smoothing: float
    soft: bool
    mixup: float
    rows: int
    outputs: int
    copies: int
    seed: int


@st.composite
def cases(draw, least=1):
    activation, kind = draw(st.sampled_from(KINDS))
    rows = draw(st.integers(least, 12))
    return Case(
        activation,
        kind,
        weighted=draw(st.booleans()),
        smoothing=draw(st.sampled_from([0.0, 0.1, 0.5])),
        soft=draw(st.booleans()),
        # What is mixed is exchanged, and for that processes need equally many rows.
        mixup=draw(st.sampled_from([0.0, 0.5])) if rows % least == 0 else 0.0,
        rows=rows,
        outputs=draw(st.integers(2, 5)),
        copies=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**16)),
    )


class Copies(nn.Module):
    """A linear model that gives several logits of each row, as several dropouts do."""

    def __init__(self, case):
        super().__init__()
        torch.manual_seed(case.seed)
        self.heads = nn.ModuleList(nn.Linear(3 * SIZE * SIZE, case.outputs) for _ in range(case.copies))

    def forward(self, images):
        return torch.cat([head(images.flatten(1)) for head in self.heads])


def draw_targets(case, rng):
    if case.activation == "corn":  # an ordinal task's classes
        hard = torch.as_tensor(rng.integers(0, case.outputs + 1, case.rows))[:, None] > torch.arange(case.outputs)
        return hard.float()
    if case.activation != "softmax":
        numbers = torch.as_tensor(rng.random((case.rows, case.outputs)), dtype=torch.float32)
        return numbers if case.soft or case.activation == "identity" else numbers.round()
    if case.soft:
        return torch.as_tensor(rng.dirichlet(np.ones(case.outputs), case.rows), dtype=torch.float32)
    return torch.as_tensor(rng.integers(0, case.outputs, case.rows))


def make_batch(case):
    rng = np.random.default_rng(case.seed)
    images = torch.as_tensor(rng.integers(0, 256, (case.rows, SIZE, SIZE, 3), dtype=np.uint8))
    weights = torch.as_tensor(rng.uniform(0.05, 20, case.outputs), dtype=torch.float32) if case.weighted else None
    return [images, draw_targets(case, rng)], weights


def gradient(case, *, parts, rank=0, world=1, wrap=lambda model: model):
    """The gradient of one step, and the loss that it says."""
    batch, weights = make_batch(case)
    weights = weights if case.activation in ("softmax", "sigmoid") else None
    machine = Machine(torch.device("cpu"), 0, rank, world)
    job = SimpleNamespace(
        machine=machine,
        recipe=Recipe(backbone="none", mixup=case.mixup),
        seed=case.seed,
        epochs=1,
        dtype=torch.float32,
        least_rows=1,
        preprocessing=Preprocessing((SIZE, SIZE), (0.5,) * 3, (0.25,) * 3, "bilinear", "squash"),
        data=SimpleNamespace(targets=SimpleNamespace(output_names=tuple("abcdef")[: case.outputs])),
        loss=LossChoices(case.activation, case.kind, case.smoothing, weights, margin=0.3),
    )
    model = Copies(case)
    state = TrainState(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        ema=None,
        loss_sum=torch.zeros(()),
        lost_at=torch.full((), math.inf),
        best_score=-math.inf,
        parts=parts,
    )
    state.runner = wrap(model)
    loss = accumulate_gradient(job, state, [tensor[rank::world] for tensor in batch])
    return torch.cat([tensor.grad.flatten() for tensor in model.parameters()]), loss


@settings(max_examples=150, deadline=None)
@given(cases(), st.data())
def test_a_batch_in_parts_has_the_gradient_and_the_loss_of_the_whole(case, data):
    parts = data.draw(st.integers(1, case.rows))
    whole, loss = gradient(case, parts=1)
    found, said = gradient(case, parts=parts)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said, loss, atol=1e-5, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_a_batch_halved_for_lack_of_memory_has_the_gradient_of_the_whole(case):
    whole, _ = gradient(case, parts=1)

    class Small(Copies):
        def forward(self, images):
            if len(images) > 2:
                raise torch.OutOfMemoryError
            return super().forward(images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kitsolve.training.step.tqdm", SimpleNamespace(write=lambda *_, **__: None))
        found, _ = gradient(case, parts=1, wrap=lambda model: setattr(model, "__class__", Small) or model)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)


PROCESS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from hypothesis import HealthCheck, given, settings, seed
from test_step import cases, gradient

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()

@seed(0)
@settings(max_examples=int(sys.argv[2]), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(cases(least=2))
def check(case):
    for parts in (1, 3, case.rows):
        whole, loss = gradient(case, parts=1)
        own, share = gradient(case, parts=parts, rank=rank, world=world, wrap=DistributedDataParallel)
        dist.all_reduce(share)
        torch.testing.assert_close(own, whole, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(share, loss, atol=1e-5, rtol=1e-5)

check()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_the_whole_batch():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    child = [sys.executable, "-c", PROCESS, os.path.dirname(__file__), "40"]
    done = subprocess.run(
        [*command, *child],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def test_weights_do_not_fade_with_the_number_of_parts():
    """One row of a rare class among nine: in parts of one row its weight used to be divided by itself."""
    case = Case("softmax", "auto", True, 0.0, False, 0.0, rows=10, outputs=2, copies=1, seed=3)
    plain = Case(**{**vars(case), "weighted": False})
    weighted, parts = gradient(case, parts=1)[0], gradient(case, parts=10)[0]
    torch.testing.assert_close(parts, weighted, atol=1e-6, rtol=1e-5)
    assert (parts - gradient(plain, parts=1)[0]).abs().max() > 1e-3
