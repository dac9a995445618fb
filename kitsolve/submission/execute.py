"""A notebook runs as it would at Kaggle: in a guarded process of its own, with little memory and what was mounted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pandas as pd
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.submission import guard
from kitsolve.submission.kaggle_image import KaggleImage
from kitsolve.workspace import read_csv

PROBE = """\
import os, socket
ATTEMPTS = (
    "import kitsolve",
    "socket.create_connection(('192.0.2.1', 443), timeout=5)",
    "open(os.environ['KITSOLVE_KAGGLE'] + '/input/probe', 'w')",
    "open(os.environ['KITSOLVE_KAGGLE'] + '/probe', 'w')",
)
for attempt in ATTEMPTS:
    try:
        exec(attempt)
    except (ImportError, OSError) as error:
        assert "(rehearsal)" in str(error), f"{attempt}: {error}"
    else:
        raise SystemExit(f"{attempt} should have failed")
"""
"""Runs first in the notebook's own process: proves by attempts that it is alone."""
MEASURE = """\
import json, sitecustomize, sys
versions = {"python": "%d.%d" % sys.version_info[:2]}
for name in MODULES:
    if name in sys.modules:
        versions[name] = sys.modules[name].__version__.partition("+")[0]
print(json.dumps({"peak_gb": sitecustomize.peak_gb(), "versions": versions, **submission.attrs}))
"""
"""Runs last, MODULES being those whose version is known of Kaggle; `sitecustomize` is the guard, the attributes are
those of predict_bundle.
"""


@dataclass(frozen=True)
class Measured:
    """The most memory that the notebook's process had, the seconds to its first predictions, and those for an image;
    and what it imported, by module.
    """

    peak_gb: float
    start_s: float
    image_s: float
    versions: dict[str, str]


@dataclass(frozen=True)
class NotebookRun:
    """One run of the notebook: what stood for /kaggle, what it wrote and needed, whether its inputs are unchanged."""

    root: Path
    submission: pd.DataFrame
    inputs_kept: bool
    measured: Measured


def run_notebook(notebook: Path, root: Path, *, title: str, image: KaggleImage, python: Path) -> NotebookRun:
    """Run a notebook with `root` in the place of /kaggle, and keep it as executed.ipynb.

    Args:
        image: with more memory than its machine has, the process is killed.
        python: the interpreter; its environment has ipykernel.

    Raises:
        KitsolveError: it stopped with an error, or wrote no submission.csv; shows the last lines.
    """
    working = root / "working"
    working.mkdir(parents=True)
    before = _fingerprint(root / "input")
    executed = nbformat.read(notebook, as_version=4)
    measure = MEASURE.replace("MODULES", repr(list(image.versions)))
    executed.cells = [new_code_cell(PROBE, id="probe"), *executed.cells, new_code_cell(measure, id="measure")]
    with tqdm(total=len(executed.cells), desc=title, unit="cell", leave=False, disable=None) as bar:
        client = NotebookClient(
            executed,
            timeout=None,
            resources={"metadata": {"path": str(working)}},
            on_cell_executed=lambda **_: bar.update(),
            extra_arguments=["--log-level=ERROR"],  # newer kernels warn of every local TCP connection
            kernel_manager_class=_kernel_of(python),
            shutdown_kernel="immediate",
        )
        try:
            with asyncio.Runner(loop_factory=InterruptibleLoop) as runner:
                runner.run(_execute(client, _lonely_environment(root, image.memory_gb)))
        except (CellExecutionError, DeadKernelError) as error:
            raise _explain(error, root) from error
        finally:
            nbformat.write(executed, root / "executed.ipynb")
    if not (working / "submission.csv").is_file():
        raise KitsolveError("the notebook wrote no submission.csv.", hint=f"look at {root / 'executed.ipynb'}.")
    kept = _fingerprint(root / "input") == before
    return NotebookRun(root, read_csv(working / "submission.csv"), kept, _read_measured(executed))


class InterruptibleLoop(asyncio.SelectorEventLoop):
    """Leaves Ctrl-C to asyncio: nbclient takes it for the death of the notebook's process."""

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Refuse, as a thread does where nothing can handle signals; nbclient expects that."""
        raise RuntimeError("signals are asyncio's")


async def _execute(client: NotebookClient, environment: dict[str, str]) -> None:
    """Run all cells; nbclient also takes being cancelled for that death."""
    try:
        await client.async_execute(env=environment)
    except DeadKernelError as error:
        task = asyncio.current_task()
        assert task is not None
        if task.cancelling():
            raise asyncio.CancelledError from error
        raise


def find_interpreter(python: str) -> Path:
    """Where a Python is, by its path or name.

    Raises:
        KitsolveError: there is none, or it cannot run a notebook.
    """
    found = shutil.which(python)
    if found is None:
        raise KitsolveError(f"{python} is no program.", hint="give the path of a Python.")
    if subprocess.run([found, "-c", "import ipykernel"], capture_output=True, check=False).returncode:
        raise KitsolveError(f"{python} runs no notebook.", hint=f"run `{python} -m pip install ipykernel`.")
    return Path(found).absolute()


def _kernel_of(python: Path) -> type[AsyncKernelManager]:
    """Starts this interpreter, whatever kernels are installed on this machine."""

    class Kernel(AsyncKernelManager):
        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            started = [str(python), "-m", "ipykernel_launcher", "-f", self.connection_file]
            return [*started, *(extra_arguments or [])]

    return Kernel


def _read_measured(executed: NotebookNode) -> Measured:
    """What the last cell has printed."""
    return Measured(**json.loads("".join(output.text for output in executed.cells[-1].outputs)))


def _fingerprint(folder: Path) -> list[tuple[str, int, int]]:
    """Path, size and time of change of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _lonely_environment(root: Path, memory_gb: float) -> dict[str, str]:
    """The environment of the notebook's process: the guard at its start, empty caches, Kaggle's own variables."""
    site, home, scratch = root / "site", root / "home", root / "tmp"
    for folder in (site, home, scratch):
        folder.mkdir()
    shutil.copyfile(guard.__file__, site / "sitecustomize.py")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KITSOLVE")}
    return kept | {
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
        "KITSOLVE_KAGGLE": str(root),
        "KITSOLVE_WRITABLE": os.pathsep.join(map(str, (root / "working", home, scratch))),
        "KITSOLVE_MEMORY_GB": str(memory_gb),
        "KITSOLVE_VERDICT": str(scratch / "verdict.txt"),
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "HF_HOME": str(home / "huggingface"),
        "TORCH_HOME": str(home / "torch"),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),  # else that which torch has set in this process
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
    }


def _explain(error: Exception, root: Path) -> KitsolveError:
    verdict = root / "tmp" / "verdict.txt"
    if verdict.is_file():
        return KitsolveError(
            f"the notebook was stopped: {verdict.read_text()}.",
            hint="lower image_size, or blend fewer runs; then export again.",
        )
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return KitsolveError(
        f"the notebook failed: {lines[-1]}", hint=f"look at {root / 'executed.ipynb'}, then export again."
    )
