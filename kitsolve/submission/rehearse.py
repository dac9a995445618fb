"""`kitsolve rehearse`: the exported notebook runs as Kaggle would run it, and what it writes is checked.

It runs twice: with the public test set, as when a notebook is saved, and with a different, larger one, as when a code
competition runs it again for the score.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat.v4 import new_code_cell
from tqdm import tqdm

from kitsolve.data.fetch import link_or_copy
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Bundle
from kitsolve.inference.submission import check_submission
from kitsolve.inference.testset import ARRAYS, image_paths, read_sample
from kitsolve.submission import guard
from kitsolve.submission.notebook import kaggle_slug
from kitsolve.submission.predict import find_difference, predict
from kitsolve.workspace import Workspace, digest, read_csv, read_json, write_json

EXTRA_IMAGES = 200
"""Train images that the larger test set has beside all images of the public one."""

PROBE = """\
import os, socket
ATTEMPTS = (
    "import kitsolve",
    "socket.create_connection(('192.0.2.1', 443), timeout=5)",
    "open(os.environ['KITSOLVE_READ_ONLY'] + '/probe', 'w')",
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


@dataclass(frozen=True)
class Rehearsal:
    """Whether the notebook may be trusted: each check as a sentence with its outcome, and the seconds of both runs.

    `subject` is the sha256 of what was rehearsed: bundle, notebook and tables.
    """

    passed: bool
    checks: dict[str, bool]
    seconds: float
    subject: str


def require_rehearsal(workspace: Workspace, bundle: Bundle, *, anew: bool = False) -> Rehearsal:
    """The rehearsal that exactly this bundle and notebook have passed with these tables; a new one where there is none.

    Raises:
        KitsolveError: a check fails.
    """
    path = workspace.rehearsal(bundle.competition, bundle.name) / "rehearsal.json"
    done = Rehearsal(**read_json(path)) if path.is_file() and not anew else None
    if done is None or not done.passed or done.subject != _subject(workspace, bundle):
        done = rehearse(workspace, bundle)
    if not done.passed:
        failed = next(check for check, passed in done.checks.items() if not passed)
        raise KitsolveError(f"the rehearsal failed: not true that {failed}.", hint=f"look at {path.parent}.")
    return done


def _subject(workspace: Workspace, bundle: Bundle) -> str:
    slug = bundle.competition
    return digest(
        workspace.bundle(slug, bundle.name) / "bundle.json",
        workspace.notebook(slug, bundle.name) / f"{slug}.ipynb",
        workspace.finished_tables(slug) / "tables.json",
    )


def rehearse(workspace: Workspace, bundle: Bundle) -> Rehearsal:
    """Run the bundle's notebook twice and check both submissions; the result is also written as rehearsal.json.

    Raises:
        KitsolveError: the notebook was not exported, or it stops with an error.
    """
    slug = bundle.competition
    notebook = workspace.notebook(slug, bundle.name) / f"{slug}.ipynb"
    if not notebook.is_file():
        raise KitsolveError(f"{notebook} is missing.", hint=f"run `kitsolve export {slug}` first.")
    place = workspace.rehearsal(slug, bundle.name)
    shutil.rmtree(place, ignore_errors=True)
    started = time.perf_counter()
    mount_public(workspace, bundle, place / "public" / "input")
    public = run_notebook(notebook, place / "public", title="rehearsing: public test set")
    origins = mount_rerun(workspace, bundle, place / "rerun" / "input")
    rerun = run_notebook(notebook, place / "rerun", title="rehearsing: hidden test set")
    checks = {
        "the notebook runs without kitsolve, network and write access to its inputs": True,  # else it would have raised
        "its inputs are as they were": public.inputs_kept and rerun.inputs_kept,
        "the public submission passes every check": is_valid(workspace.raw(slug), public.submission, bundle),
        "it equals that of `kitsolve predict`": read_csv(predict(workspace, bundle)).equals(public.submission),
        "a larger test set with other ids and a damaged image passes every check": is_valid(
            place / "rerun" / "input" / "competitions" / slug, rerun.submission, bundle
        ),
        "the same images get the same predictions there": agrees(public.submission, rerun.submission, origins, bundle),
    }
    seconds = round(time.perf_counter() - started, 1)
    rehearsal = Rehearsal(all(checks.values()), checks, seconds, _subject(workspace, bundle))
    for stage in (public, rerun):
        shutil.rmtree(stage.root / "input")
    write_json(place / "rehearsal.json", asdict(rehearsal))
    return rehearsal


@dataclass(frozen=True)
class NotebookRun:
    """One run of the notebook: what stood for /kaggle, what it wrote, and whether its inputs are unchanged."""

    root: Path
    submission: pd.DataFrame
    inputs_kept: bool


def mount_public(workspace: Workspace, bundle: Bundle, inputs: Path) -> None:
    """The competition's files but its train images, and the weights, as /kaggle/input/NAME."""
    slug = bundle.competition
    _link_files(workspace.raw(slug), inputs / slug, without=_paths(workspace, slug, "train.csv"))
    _pack(inputs / slug, bundle.archives)
    _link_files(workspace.bundle(slug, bundle.name), inputs / kaggle_slug(bundle), without=set())


def mount_rerun(workspace: Workspace, bundle: Bundle, inputs: Path) -> pd.DataFrame:
    """The same in Kaggle's newer layout, with another test set: all test images and some train images under new names.

    Returns:
        image_id (new) and origin: the public test image that it is, empty for train images; in the new sample's order.
    """
    slug, raw = bundle.competition, workspace.raw(bundle.competition)
    target = inputs / "competitions" / slug
    _link_files(workspace.bundle(slug, bundle.name), inputs / "datasets" / "owner" / kaggle_slug(bundle), without=set())
    _link_files(raw, target, without=_paths(workspace, slug, "train.csv") | _paths(workspace, slug, "test.csv"))
    sample = read_sample(raw, bundle.submission)
    sources, rows, origins = _make_rerun_rows(workspace, bundle, sample)
    paths = image_paths(rows, bundle.test.image)
    for source, path in zip(sources, paths, strict=True):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(raw / source, target / path)
    if not bundle.test.arrays and "" in origins:
        damaged = target / paths[origins.index("")]
        damaged.unlink()  # a hard link, too
        damaged.write_bytes(b"cut off")
    for name in (*bundle.test.files, bundle.submission.sample):
        (target / name).unlink()  # a hard link: writing into it would change the raw file
    hidden = pd.concat([sample.iloc[:1]] * len(rows), ignore_index=True)
    hidden.iloc[:, 0] = rows.iloc[:, 0].to_numpy()
    hidden.to_csv(target / bundle.submission.sample, index=False)
    _write_rows(rows, [target / name for name in bundle.test.files], arrays=_read_arrays(raw, sources, bundle))
    _pack(target, bundle.archives)
    return pd.DataFrame({"image_id": rows.iloc[:, 0], "origin": origins})


def _make_rerun_rows(
    workspace: Workspace, bundle: Bundle, sample: pd.DataFrame
) -> tuple[list[str], pd.DataFrame, list[str]]:
    """Paths, rows with new ids, and origins of the larger test set, in an order of their own."""
    slug = bundle.competition
    test, train = (read_csv(workspace.tables(slug) / name) for name in ("test.csv", "train.csv"))
    # Every field of the template but the id tells images apart: train images keep theirs.
    extra = train[:EXTRA_IMAGES].reindex(columns=list(test), fill_value="")
    rows = pd.concat([test, extra], ignore_index=True)
    origins = pd.Series([*sample.iloc[:, 0], *[""] * (len(rows) - len(test))])
    order = np.random.default_rng(0).permutation(len(rows))
    suffix = Path(sample.iloc[0, 0]).suffix  # some ids are file names
    further = rows.drop(columns=["image_id", "path"])
    ids = [f"rerun_{number:07d}{suffix}" for number in range(len(rows))]
    names = dict.fromkeys([sample.columns[0], bundle.test.id], ids)
    renamed = pd.concat([pd.DataFrame(names), further], axis=1).iloc[order].reset_index(drop=True)
    return rows.path.iloc[order].tolist(), renamed, origins.iloc[order].tolist()


def _read_arrays(raw: Path, sources: list[str], bundle: Bundle) -> dict[str, list[Any]]:
    """The numbers of the images that JSON records hold, by key; empty where images are files."""
    images = [np.load(raw / source) for source in sources] if bundle.test.arrays else []
    return {key: [image[place].tolist() for image in images] for place, key in enumerate(bundle.test.arrays)}


def _write_rows(rows: pd.DataFrame, files: list[Path], *, arrays: dict[str, list[Any]]) -> None:
    """The test rows into the first of the files, the others without rows."""
    for number, path in enumerate(files):
        part = rows.assign(**arrays) if number == 0 else rows[:0]
        if path.suffix.lower() == ".json":
            path.write_text(json.dumps(part.to_dict("records")))
        else:
            part.to_csv(path, index=False)


def _paths(workspace: Workspace, slug: str, table: str) -> set[str]:
    return set(read_csv(workspace.tables(slug) / table).path)


def _link_files(source: Path, target: Path, *, without: set[str]) -> None:
    """All files below `source`, linked into `target`, but those of the relative paths `without`."""
    for folder, _, files in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            if (Path(folder, name).relative_to(source)).as_posix() not in without:
                link_or_copy(Path(folder, name), place / name)


def _pack(folder: Path, archives: Sequence[str]) -> None:
    """Put what was unpacked from nested zips back into them: Kaggle mounts them as they were uploaded."""
    for name in archives:
        place = folder / Path(name).with_suffix("")
        if name.endswith(".zip") and place.is_dir():
            with zipfile.ZipFile(folder / name, "w") as packed:
                for path in sorted(path for path in place.rglob("*") if path.is_file()):
                    packed.write(path, path.relative_to(place.parent))
            shutil.rmtree(place)
    shutil.rmtree(folder / ARRAYS, ignore_errors=True)  # at Kaggle these are in the JSON alone


def run_notebook(notebook: Path, root: Path, *, title: str) -> NotebookRun:
    """Run a notebook with `root` in the place of /kaggle, in a guarded process of its own; keep it as executed.ipynb.

    Raises:
        KitsolveError: it stopped with an error, or wrote no submission.csv; shows the last lines.
    """
    working = root / "working"
    working.mkdir(parents=True)
    before = _fingerprint(root / "input")
    executed = nbformat.read(notebook, as_version=4)
    executed.cells.insert(0, new_code_cell(PROBE, id="probe"))
    with tqdm(total=len(executed.cells), desc=title, unit="cell", leave=False, disable=None) as bar:
        client = NotebookClient(
            executed,
            timeout=None,
            resources={"metadata": {"path": str(working)}},
            on_cell_executed=lambda **_: bar.update(),
            extra_arguments=["--log-level=ERROR"],  # newer kernels warn of every local TCP connection
        )
        try:
            client.execute(env=_lonely_environment(root))
        except (CellExecutionError, DeadKernelError) as error:
            raise _explain(error, root) from error
        finally:
            nbformat.write(executed, root / "executed.ipynb")
    if not (working / "submission.csv").is_file():
        raise KitsolveError("the notebook wrote no submission.csv.", hint=f"look at {root / 'executed.ipynb'}.")
    return NotebookRun(root, read_csv(working / "submission.csv"), _fingerprint(root / "input") == before)


def _fingerprint(folder: Path) -> list[tuple[str, int, int]]:
    """Path, size and time of change of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _lonely_environment(root: Path) -> dict[str, str]:
    """The environment of the notebook's process: the guard at its start, empty caches, Kaggle's own variables."""
    site = root / "site"
    site.mkdir()
    shutil.copyfile(guard.__file__, site / "sitecustomize.py")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KITSOLVE")}
    return kept | {
        "PYTHONPATH": str(site),
        "KITSOLVE_KAGGLE": str(root),
        "KITSOLVE_READ_ONLY": str(root / "input"),
        "HF_HOME": str(root / "cache"),
        "TORCH_HOME": str(root / "cache"),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
    }


def _explain(error: Exception, root: Path) -> KitsolveError:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return KitsolveError(
        f"the notebook failed: {lines[-1]}", hint=f"look at {root / 'executed.ipynb'}, then export again."
    )


def is_valid(input_dir: Path, submission: pd.DataFrame, bundle: Bundle) -> bool:
    """Whether a submission passes every check against the sample of `input_dir`."""
    try:
        check_submission(submission, read_sample(input_dir, bundle.submission), bundle.submission)
    except ValueError as error:
        tqdm.write(f"rehearsal: {error}", file=sys.stderr)
        return False
    return True


def agrees(public: pd.DataFrame, rerun: pd.DataFrame, origins: pd.DataFrame, bundle: Bundle) -> bool:
    """Whether images that both test sets hold got the same values, though ids, order and batches differ."""
    known = origins[origins.origin != ""]
    before = public.set_index(public.columns[0]).loc[known.origin].reset_index()
    after = rerun.set_index(rerun.columns[0]).loc[known.image_id].reset_index()
    return find_difference(before, after, bundle.submission.kind) is None
