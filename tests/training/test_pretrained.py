from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from kitsolve.errors import KitsolveError
from kitsolve.training.pretrained import load_pretrained


class Tiny(nn.Module):
    """A backbone with a head, as small as can be."""

    def __init__(self, classes=3, channels=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 4, 1), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, classes)


class Odd:
    """A class that no framework knows."""

    def __init__(self):
        self.rate = 0.1


def make_state(classes=7, **options):
    """Weights that no new model has."""
    return {
        name: torch.randn(tensor.shape) if tensor.is_floating_point() else tensor
        for name, tensor in Tiny(classes, **options).state_dict().items()
    }


def check_loaded(model, state, *, head):
    for name, tensor in model.state_dict().items():
        if head or not name.startswith("fc."):
            assert torch.equal(tensor, state[name]), name


PREFIXES = st.lists(st.sampled_from(["model.", "module.", "backbone.", "encoder.", "_orig_mod.", "net."]), max_size=3)
WORDS = st.sampled_from(["state_dict", "model", "model_state_dict", "model_ema", "weights", "net"])
BESIDE = st.dictionaries(
    st.sampled_from(["epoch", "hyper_parameters", "optimizer", "args", "loops"]),
    st.sampled_from(
        [
            3,
            {"lr": 0.1},
            Namespace(lr=1e-3),
            {"state": {0: {"exp_avg": torch.zeros(2)}}},
            Path("x"),
            np.float64(0.5),
            Odd(),
        ]
    ),
)


@given(prefixes=PREFIXES, words=st.lists(WORDS, max_size=2), beside=BESIDE, classes=st.sampled_from([3, 7]))
def test_weights_are_found_below_any_prefix_and_beside_anything(prefixes, words, beside, classes, tmp_path_factory):
    state = make_state(classes)
    content = {"".join(prefixes) + name: tensor for name, tensor in state.items()}
    if prefixes:
        content["criterion.weight"] = torch.ones(3)
    for word in words:
        content = {**beside, word: content}
    path = tmp_path_factory.mktemp("weights") / "last.ckpt"
    torch.save(content, path)
    model = Tiny(3)
    assert load_pretrained(model, path) == len(state) - (0 if classes == 3 else 2)
    check_loaded(model, state, head=classes == 3)


@pytest.mark.parametrize(
    ("classes", "said"), [(7, "the head (fc.weight, fc.bias) starts anew: there it has 7"), (3, "the head too")]
)
def test_what_was_loaded_is_said(tmp_path, capsys, classes, said):
    content = {"epoch": 1, "state_dict": {f"model.{name}": tensor for name, tensor in make_state(classes).items()}}
    torch.save(content, tmp_path / "a.pth.tar")
    load_pretrained(Tiny(3), tmp_path / "a.pth.tar")
    told = capsys.readouterr().err
    assert f"of 9 tensors from {tmp_path / 'a.pth.tar'}, its 'state_dict', without the prefix 'model.'" in told
    assert said in told


def test_averaged_weights_are_taken_before_the_others(tmp_path):
    state, other = make_state(), make_state()
    torch.save({"state_dict": other, "state_dict_ema": state}, tmp_path / "a.pth")
    model = Tiny(3)
    load_pretrained(model, tmp_path / "a.pth")
    check_loaded(model, state, head=False)


def test_old_files_without_counters_of_batches_are_taken(tmp_path):
    state = {name: tensor for name, tensor in make_state().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert load_pretrained(Tiny(3), tmp_path / "a.pth") == 6


def refuse(path, problem, model=None):
    model = model or Tiny(3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KitsolveError, match=problem):
        load_pretrained(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([1, 2], "no tensors under names"),
        (torch.zeros(3), "no tensors under names"),
        ({"stem.0.weight": 1.0}, "no tensors under names"),
        ({}, "no tensors under names"),
        (Tiny(3), "a whole Tiny, not its weights"),
        ({"a.b": torch.zeros(3), "c": torch.zeros(2)}, r"fits 0 .* without: stem.0.weight.*in the file are: a.b, c"),
        (make_state(channels=1), r"stem.0.weight has the shape \(4, 1, 1, 1\) there and \(4, 3, 1, 1\) in the model"),
        (
            {**make_state(), "stem.0.bias": torch.full((4,), torch.nan)},
            "1 tensors hold NaN or infinity, first: stem.0.bias",
        ),
        (
            {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in make_state().items()},
            "two models",
        ),
    ],
)
def test_what_is_not_the_models_is_refused_and_changes_nothing(tmp_path, content, problem):
    torch.save(content, tmp_path / "a.pth")
    refuse(tmp_path / "a.pth", problem)


class Evil:
    """Runs a program where pickle loads it."""

    def __init__(self, call, *words):
        self.call, self.words = call, words

    def __reduce__(self):
        return self.call, self.words


def test_code_in_a_checkpoint_never_runs(tmp_path):
    import os
    import subprocess

    for number, call in enumerate((os.system, subprocess.getoutput, eval, Path.touch)):
        mark = tmp_path / f"mark{number}"
        words = {eval: f"open({str(mark)!r}, 'w')", Path.touch: mark}.get(call, f"touch {mark}")
        torch.save({"stem.0.weight": Evil(call, words), "x": torch.zeros(1)}, tmp_path / "a.pth")
        refuse(tmp_path / "a.pth", "code that only a pickle would run|fits 0")
        assert not mark.exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.npz", "a.ckpt", "a.h5"])
@pytest.mark.parametrize("content", [b"", b"PK\3\4xxxx", b"\x89HDF", b"cos\nsystem\n(S'true'\ntR.", b"\xff" * 64])
def test_a_file_of_another_kind_is_told(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, "save|holds")


def test_a_torchscript_file_is_told(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "a.pt"))
    refuse(tmp_path / "a.pt", "holds")


def test_safetensors_are_read_as_well(tmp_path):
    state = make_state()
    save_file({f"model.{name}": tensor for name, tensor in state.items()}, tmp_path / "a.safetensors")
    model = Tiny(3)
    assert load_pretrained(model, tmp_path / "a.safetensors") == 7
    check_loaded(model, state, head=False)
