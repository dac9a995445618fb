from types import SimpleNamespace

import pytest
import torch

from kitsolve.inference.devices import all_devices, choose_dtype, has_bfloat16


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


@pytest.mark.parametrize("supported", [True, False])
def test_torch_2_10_tells_as_well_whether_the_cpu_has_bfloat16(monkeypatch, supported):
    told = SimpleNamespace(_is_avx512_bf16_supported=lambda: supported, _is_amx_tile_supported=lambda: False)
    monkeypatch.setattr(torch, "cpu", told)
    assert has_bfloat16(torch.device("cpu")) is (supported and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def test_a_device_that_cannot_compute_is_left_out_with_a_warning(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert all_devices() == [torch.device("cpu")]
    assert "device cuda:0 cannot be used here" in capsys.readouterr().err
