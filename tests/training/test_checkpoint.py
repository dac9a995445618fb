import errno
import io
import os
import signal

import pytest
import torch
from safetensors.torch import load_file
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from kitsolve import workspace
from kitsolve.errors import KitsolveError
from kitsolve.training.checkpoint import TrainState, load_last, save_best, save_last, stop_requests
from kitsolve.training.distributed import Machine

MACHINE = Machine(torch.device("cpu"), workers=0)


class FullDisk(io.FileIO):
    """A file on a disk that has room for 100 bytes more."""

    def write(self, content):
        if self.tell() + len(content) > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content)


def make_state(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    return TrainState(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.1),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        ema=ModelEmaV3(model, decay=0.9),
        loss_sum=torch.zeros(()),
        lost_at=torch.full((), float("inf")),
        best_score=float("-inf"),
    )


def train(state, steps):
    for _ in range(steps):
        generator = torch.Generator().manual_seed(state.step)
        loss = state.model(torch.randn(8, 3, 1, 1, generator=generator)).square().mean()
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        state.ema.update(state.model, step=state.step)
        state.loss_sum += loss.detach()
        state.step += 1


def weights(state):
    return torch.cat([tensor.flatten().float() for tensor in state.evaluated.state_dict().values()])


def test_a_training_that_goes_on_ends_as_one_that_never_stopped(tmp_path):
    whole = make_state(0)
    train(whole, 6)
    first = make_state(0)
    train(first, 3)
    first.history.append({"epoch": 0, "score": 0.5, "best": True})
    first.best_score = 0.5
    save_last(first, tmp_path / "last.pt", MACHINE)
    second = make_state(1)
    load_last(second, tmp_path / "last.pt", MACHINE)
    assert (second.step, second.best_score, second.history) == (3, 0.5, first.history)
    train(second, 3)
    assert torch.equal(weights(second), weights(whole))
    assert torch.equal(second.loss_sum, whole.loss_sum)


def test_without_a_checkpoint_a_training_starts_at_the_start(tmp_path):
    state = make_state(0)
    load_last(state, tmp_path / "last.pt", MACHINE)
    assert state.step == 0


def test_a_full_disk_keeps_the_former_checkpoint(tmp_path, monkeypatch):
    state = make_state(0)
    save_last(state, tmp_path / "last.pt", MACHINE)
    train(state, 2)

    monkeypatch.setattr(workspace, "open", lambda path, mode: FullDisk(path, mode), raising=False)
    with pytest.raises(KitsolveError, match="the disk is full"):
        save_last(state, tmp_path / "last.pt", MACHINE)
    with pytest.raises(KitsolveError, match="the disk is full"):
        save_best(state.model, tmp_path / "last.pt")
    load_last(state, tmp_path / "last.pt", MACHINE)
    assert state.step == 0
    assert os.listdir(tmp_path) == ["last.pt"]


def test_the_best_weights_are_bare_contiguous_and_load_strictly(tmp_path):
    state = make_state(0)
    state.model.to(memory_format=torch.channels_last)
    save_best(state.model, tmp_path / "best.safetensors")
    tensors = load_file(tmp_path / "best.safetensors")
    make_state(1).model.load_state_dict(tensors, strict=True)
    assert all(tensor.is_contiguous() for tensor in tensors.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_once_and_interrupts_at_the_second(number):
    with stop_requests() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_signals_act_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with stop_requests():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, damage):
    path, state = tmp_path / "last.pt", make_state(0)
    for step in (3, 7):
        state.step = step
        save_last(state, path, MACHINE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage)
    restored = make_state(1)
    load_last(restored, path, MACHINE)
    assert restored.step == 3
    assert "last.pt is damaged" in capsys.readouterr().err


def test_without_any_good_checkpoint_the_training_starts_anew(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"no checkpoint")
    state = make_state(0)
    load_last(state, tmp_path / "last.pt", MACHINE)
    assert state.step == 0
