"""Makes a Python process as lonely as a Kaggle notebook: no kitsolve, no network, one folder to write, little memory.

The rehearsal copies this file as `sitecustomize.py` into a folder on PYTHONPATH, so that Python runs it before
anything else in every process of the notebook. It imports only the standard library. KITSOLVE_WRITABLE names the
folders that can be written, KITSOLVE_MEMORY_GB the memory, KITSOLVE_VERDICT the file that says why a process was ended.
"""

import ipaddress
import os
import sys
import threading
import time
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

NETWORK_EVENTS = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
"""Audit event -> which of its arguments names the host (https://docs.python.org/3/library/audit_events.html)."""
# rmtree removes relative to open folders, whose names its os.remove events do not hold.
CHANGE_EVENTS = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
CHANGE_EVENTS |= {"shutil.rmtree"}
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class NoKitsolve(MetaPathFinder):
    """Answers every import of kitsolve with "no such module", installed or not."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Refuse kitsolve; leave everything else to the other finders."""
        if name.partition(".")[0] == "kitsolve":
            raise ModuleNotFoundError(f"No module named {name!r} (rehearsal)", name=name)
        return None


def is_local(host: object) -> bool:
    """Whether an address stays on this machine; sockets of the file system are paths."""
    if isinstance(host, tuple):
        host = host[0]
    if host in (None, "", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    if text.startswith(("/", "\0")):
        return True
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: raise where Kaggle would."""
    if event in NETWORK_EVENTS and not is_local(arguments[NETWORK_EVENTS[event]]):
        raise OSError(f"Network is unreachable (rehearsal): {arguments[NETWORK_EVENTS[event]]!r}")
    if event == "open" and (arguments[2] or 0) & WRITE_FLAGS:
        refuse_writing(arguments[0])
    elif event in CHANGE_EVENTS:
        for path in arguments[:2]:
            refuse_writing(path)


def refuse_writing(path: object) -> None:
    """Raise for all paths but those in the writable folders and devices."""
    if isinstance(path, (str, bytes, os.PathLike)):
        full = os.path.abspath(os.fsdecode(path))
        folders = [*os.environ["KITSOLVE_WRITABLE"].split(os.pathsep), "/dev", "/proc"]
        if not any((full + os.sep).startswith(folder + os.sep) for folder in folders):
            raise PermissionError(f"Read-only file system (rehearsal): {full}")


def peak_gb() -> float:
    """The most memory (10^9 bytes) that this process has had; 0.0 where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            peak = next(line for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0
    return int(peak.split()[1]) * 1024 / 1e9


def end_when_too_large(limit_gb: float) -> None:
    """End the process once it has had more memory than that, as Kaggle does."""
    while peak_gb() <= limit_gb:
        time.sleep(0.2)
    with open(os.environ["KITSOLVE_VERDICT"], "w") as verdict:
        verdict.write(f"its process needs more than the {limit_gb:g} GB that Kaggle's machine has")
    os._exit(137)


if "KITSOLVE_WRITABLE" in os.environ:
    sys.meta_path.insert(0, NoKitsolve())
    sys.addaudithook(guard)
    limit = float(os.environ["KITSOLVE_MEMORY_GB"])
    threading.Thread(target=end_when_too_large, args=(limit,), daemon=True).start()
