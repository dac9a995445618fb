"""Where the arithmetic is done, and in which precision."""

from __future__ import annotations

import ctypes
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import torch

DECODING_BYTES = 1 << 29
"""Memory that a thread may need to decode an image: about six times the pixels of 27 megapixels."""


def choose_device(name: str = "auto") -> torch.device:
    """`name`, or the best device that this machine has.

    Raises:
        ValueError: torch does not know that device here.
    """
    if name == "auto":
        return all_devices()[0]
    try:
        device = torch.device(name)
        float(torch.ones(1, device=device) + 1)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name} cannot be used here: {str(error).splitlines()[0]}.") from error
    return device


def all_devices() -> list[torch.device]:
    """Every GPU that computes here, else the CPU.

    A GPU may be there and too old for this torch: one operation shows it.
    """
    found = []
    for number in range(torch.cuda.device_count()):
        try:
            found.append(choose_device(f"cuda:{number}"))
        except ValueError as error:
            print(f"warning: {error}", file=sys.stderr)
    return found or [torch.device("cpu")]


def keep_memory(device: torch.device) -> None:
    """Let this process keep the memory of tensors that are freed on the CPU, where its C library is glibc.

    By default glibc gives it back and asks for it again with every tensor; the page faults cost up to half of the time
    (mallopt(3): M_TRIM_THRESHOLD, M_MMAP_THRESHOLD).
    """
    if device.type != "cpu":
        return
    with suppress(OSError, AttributeError):
        glibc = ctypes.CDLL("libc.so.6")
        glibc.mallopt(-1, 2**31 - 1)
        glibc.mallopt(-3, 2**30)


def usable_cores() -> int:
    """CPU cores that this process may use at once: the least of the machine's, its affinity and its cgroups' quotas.

    A container sees all cores of its machine, whatever share of their time it was granted.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, min([cores, *map(math.ceil, cpu_quotas(Path("/")))]))


def cpu_quotas(root: Path) -> Iterator[float]:
    """The quotas of this process's cgroups and all that they lie in, in cores; `root` is "/" but in tests.

    cgroup v2 has "quota period" or "max" in cpu.max, v1 two files, with -1 for no limit. Inside of a container the
    cgroup's path is often that outside of it: then only the files at the top are there.
    """
    for line in _read_text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("" if number == "0" else "cpu")
        for place in (top / path.strip("/"), *(top / path.strip("/")).parents):
            if place.is_relative_to(top):
                files = ("cpu.max",) if number == "0" else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                yield from _parse_quota(" ".join(_read_text(place / name) for name in files))


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _parse_quota(text: str) -> Iterator[float]:
    """Cores of "QUOTA PERIOD"; nothing where there is no limit."""
    found = re.fullmatch(r"\s*(\d+)\s+(\d+)\s*", text)
    if found and int(found[1]) > 0 and int(found[2]) > 0:
        yield int(found[1]) / int(found[2])


def decoding_threads() -> int:
    """Threads that decode images at once: one a core, fewer where the free memory would not suffice for all."""
    found = re.search(r"MemAvailable:\s*(\d+) kB", _read_text(Path("/proc/meminfo")))
    free = int(found[1]) * 1024 if found else math.inf
    return int(max(1, min(usable_cores(), free // DECODING_BYTES)))


def limit_threads(processes: int = 1) -> None:
    """Let torch compute with no more threads than this process may use cores: it counts the cores of the machine.

    Args:
        processes: how many share the cores.
    """
    cores = max(1, usable_cores() // processes)
    if torch.get_num_threads() > cores:
        torch.set_num_threads(cores)


def free_memory(device: torch.device) -> float:
    """Bytes that a GPU has left; infinite for the CPU, which has what the machine has."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else math.inf


def choose_dtype(precision: str, device_type: str, *, has_bfloat16: bool) -> torch.dtype:
    """The dtype of the forward pass; "auto": bfloat16 where the hardware has it, else float16 on CUDA, else float32."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if has_bfloat16:
        return torch.bfloat16
    return torch.float16 if device_type == "cuda" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware, not by emulation: Ampere and newer, avx512_bf16, AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _cpu_has_bfloat16()


def _cpu_has_bfloat16() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):  # torch 2.10, which Kaggle has
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Mixed precision in `dtype`; nothing at all for float32."""
    return nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype=dtype)
