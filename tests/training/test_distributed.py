"""Two processes on the CPU stand for two GPUs."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.training.distributed import Machine, add_up, agree, gather_batch, own_part, share, spread, unsynced
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import read_json

ALONE = Machine(torch.device("cpu"), workers=0)
CHOICES = (
    "backbone=timm/test_vit", "precision=float32", "mixup=0.4", "cutmix=1.0", "accumulate=2", "ema_decay=0.5",
    "epochs=2", "sampler=balanced", "class_weights=balanced", "label_smoothing=0.1",
)  # fmt: skip


def kitsolve(root, *words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kitsolve", "--root", str(root), *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def words(*choices, processes=2, name="two"):
    changes = [word for choice in choices for word in ("--set", choice)]
    return ["train", "shades", "--run", name, "--gpus", str(processes), "--device", "cpu", "--workers", "0", *changes]


@pytest.mark.slow
def test_two_processes_train_what_one_does(fetched):
    """A model without BatchNorm: on the CPU torch has none over several processes."""
    run = open_run(fetched, Wanted("shades", overrides=CHOICES, run_name="one"))
    alone = train_folds(fetched, run, [0], choose_machine("cpu", 0))
    child = kitsolve(fetched.root, *words(*CHOICES), "--fold", "0", "--json")
    stdout, stderr = child.communicate(timeout=300)
    assert child.returncode == 0, stderr
    (line,) = [line for line in stdout.splitlines() if line.startswith("{")]
    assert json.loads(line)["cv"]["pooled"] == pytest.approx(alone.pooled, abs=0.06)
    one, two = (fetched.runs("shades") / name / "fold_0" for name in ("one", "two"))
    before, after = (load_file(folder / "best.safetensors") for folder in (one, two))
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-4, rtol=1e-3)
    losses = [pd.read_csv(folder / "history.csv").train_loss for folder in (one, two)]
    assert losses[0].tolist() == pytest.approx(losses[1].tolist(), abs=1e-4)
    oofs = [pd.read_csv(folder / "oof.csv", dtype={"image_id": str}) for folder in (one, two)]
    assert oofs[0].image_id.tolist() == oofs[1].image_id.tolist()
    pd.testing.assert_frame_equal(*oofs, atol=1e-3)
    assert stderr.count("epoch   1/2") == 1, "one process speaks"
    assert read_json(two / "fold.json")["run_started"] == read_json(two.parent / "run.json")["started"]


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_after_a_checkpoint(fetched):
    child = kitsolve(fetched.root, *words("epochs=100000"), "--fold", "0")
    last = fetched.runs("shades") / "two" / "fold_0" / "last.pt"
    ends = time.monotonic() + 120
    while not last.is_file() and child.poll() is None and time.monotonic() < ends:
        time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=120)
    assert child.returncode == 130, stderr
    assert "interrupted; go on with: kitsolve" in stderr
    assert torch.load(last, weights_only=True)["step"] > 0


@pytest.mark.slow
def test_a_batch_that_cannot_be_divided_is_refused(fetched):
    child = kitsolve(fetched.root, *words("batch_size=9"))
    _, stderr = child.communicate(timeout=120)
    assert child.returncode == 1
    assert "a batch of 9 cannot be divided among 2 processes" in stderr
    assert "--set batch_size=8" in stderr


def test_alone_nothing_is_exchanged():
    batch, total = torch.arange(6), torch.tensor(3.0)
    assert agree(ALONE, True, False) == [True, False]
    assert share(lambda: "mine", ALONE) == "mine"
    assert torch.equal(gather_batch(batch, ALONE), batch)
    assert torch.equal(own_part(batch, ALONE), batch)
    assert add_up(total, total, ALONE) == 3
    model = torch.nn.Linear(1, 1)
    assert spread(model, ALONE) is model
    with unsynced(model, last=False):
        pass


def test_the_parts_of_all_processes_are_the_batch():
    batch = torch.arange(8)
    parts = [own_part(batch, Machine(torch.device("cpu"), 0, rank, 2)) for rank in range(2)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), batch)
