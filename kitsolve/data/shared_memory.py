"""How far loading processes may read ahead: their batches lie in shared memory, of which a container has little."""

from __future__ import annotations

import math
import os

from kitsolve.errors import KitsolveError

FOLDER = "/dev/shm"  # noqa: S108  (where Linux keeps it)
MOST_AHEAD = 4
"""Batches that each process reads ahead where there is room."""
HELD = 2
"""Further batches in shared memory: the one in use, and the one that replaces it."""
USED_SHARE = 0.9
REPAIR = "give the container more (docker run --shm-size=8g, or --ipc=host), or load in the main process: --workers 0"


def free_shared_memory() -> float:
    """Bytes that are left of it; infinite where the system has no such limit."""
    try:
        found = os.statvfs(FOLDER)
    except (OSError, AttributeError):  # macOS, Windows
        return math.inf
    return found.f_bavail * found.f_frsize


def plan_loading(batch_bytes: int, workers: int, *, free: float) -> tuple[int, int]:
    """How many loading processes read how many batches ahead, as `free` bytes of shared memory allow.

    At most `workers` and MOST_AHEAD; processes are given up last.

    Raises:
        KitsolveError: not even one process has room for a batch.
    """
    room = math.inf if free == math.inf else int(USED_SHARE * free / max(1, batch_bytes)) - HELD
    for count in range(workers, 0, -1):
        if room >= count:
            return count, int(min(MOST_AHEAD, room // count))
    if workers == 0:
        return 0, MOST_AHEAD
    raise KitsolveError(
        f"{FOLDER} has {free / 1e6:,.0f} MB of shared memory left, and loading processes need "
        f"{(HELD + 1) * batch_bytes / USED_SHARE / 1e6:,.0f} MB for batches of {batch_bytes / 1e6:,.1f} MB.",
        hint=f"{REPAIR}, or lower batch_size.",
    )


def is_exhausted(message: str) -> bool:
    """Whether an error of a loading process means that shared memory is full: then a write to it kills the process."""
    return any(words in message for words in ("Bus error", "shared memory", "/torch_"))
