import pytest
import torch

from kitsolve.inference.devices import all_devices, choose_dtype


@pytest.mark.parametrize(
    ("precision", "device", "bfloat16", "dtype"),
    [
        ("auto", "cpu", True, torch.bfloat16),
        ("auto", "cpu", False, torch.float32),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float16),
        ("float32", "cuda", True, torch.float32),
    ],
)
def test_the_dtype_follows_the_hardware_unless_the_recipe_chooses(precision, device, bfloat16, dtype):
    assert choose_dtype(precision, device, has_bfloat16=bfloat16) is dtype


def test_a_device_that_cannot_compute_is_left_out_with_a_warning(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert all_devices() == [torch.device("cpu")]
    assert "device cuda:0 cannot be used here" in capsys.readouterr().out
