import os
from types import SimpleNamespace

import pytest
import torch

from kitsolve.inference import devices
from kitsolve.inference.devices import (
    all_devices,
    choose_dtype,
    cpu_quotas,
    decoding_threads,
    has_bfloat16,
    limit_threads,
    usable_cores,
)


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


@pytest.mark.parametrize(
    ("affinity", "quotas", "cores"),
    [({0, 1}, [], 2), (set(range(64)), [2.0], 2), (set(range(64)), [8.0, 1.5], 2), ({0}, [0.1], 1), ({0}, [9.0], 1)],
)
def test_usable_cores_are_the_least_of_machine_affinity_and_quotas(monkeypatch, affinity, quotas, cores):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: affinity, raising=False)
    monkeypatch.setattr(devices, "cpu_quotas", lambda _: iter(quotas))
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("files", "quotas"),
    [
        ({}, []),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
        (
            {
                "proc/self/cgroup": "0::/user.slice/job\n",
                "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n",
                "sys/fs/cgroup/user.slice/cpu.max": "400000 100000\n",
            },
            [4.0],
        ),
        (  # v1 in a container: the path is that outside of it
            {
                "proc/self/cgroup": "5:cpuset:/\n3:cpu,cpuacct:/docker/1f\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [2.0],
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [],
        ),
    ],
)
def test_the_quotas_of_both_kinds_of_cgroups_are_read(tmp_path, files, quotas):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(cpu_quotas(tmp_path)) == quotas


def test_fewer_images_are_decoded_at_once_where_the_memory_is_short(monkeypatch):
    monkeypatch.setattr(devices, "usable_cores", lambda: 64)
    monkeypatch.setattr(devices, "_read_text", lambda _: "MemTotal: 9 kB\nMemAvailable:    4194304 kB\n")
    assert decoding_threads() == 8
    monkeypatch.setattr(devices, "_read_text", lambda _: "")  # not Linux
    assert decoding_threads() == 64


@pytest.mark.parametrize(("before", "after"), [(64, 4), (2, 2)])
def test_torch_gets_no_more_threads_than_the_cores_that_are_granted(monkeypatch, before, after):
    given = [before]
    monkeypatch.setattr(devices, "usable_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: given[-1])
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    limit_threads(processes=2)
    assert given[-1] == after
