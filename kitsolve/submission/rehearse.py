"""`kitsolve rehearse`: the exported notebook runs as Kaggle would run it, and what it writes is checked.

It runs twice: with the public test set, as when a notebook is saved, and with a different, larger one, as when a code
competition runs it again for the score.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from kitsolve.config import read_competition
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Bundle, file_sha256
from kitsolve.inference.submission import check_submission
from kitsolve.inference.testset import read_sample
from kitsolve.submission.execute import NotebookRun, find_interpreter, run_notebook
from kitsolve.submission.kaggle_image import read_kaggle_image
from kitsolve.submission.mount import mount_public, mount_rerun
from kitsolve.submission.predict import find_difference, predict
from kitsolve.workspace import Workspace, digest, read_csv, read_json, write_json


@dataclass(frozen=True)
class Rehearsal:
    """Whether the notebook may be trusted: each check as a sentence with its outcome, and the seconds of both runs.

    `peak_gb`: the most memory that either had. `start_s`: seconds to the first predictions of the larger test set;
    `image_s`: for an image from then on; `full_s`: what the `full_images` of the whole test set would take here.
    `versions`: what the notebook imported, by module. `subject` is the sha256 of what was rehearsed: bundle, notebook
    and tables.
    """

    passed: bool
    checks: dict[str, bool]
    seconds: float
    peak_gb: float
    start_s: float
    image_s: float
    full_images: int
    full_s: float
    versions: dict[str, str]
    subject: str


def require_rehearsal(workspace: Workspace, bundle: Bundle, *, anew: bool = False) -> Rehearsal:
    """The rehearsal that exactly this bundle and notebook have passed with these tables; a new one where there is none.

    Raises:
        KitsolveError: a check fails.
    """
    path = workspace.rehearsal(bundle.competition, bundle.name) / "rehearsal.json"
    done = None if anew else _read(path)
    if done is None or not done.passed or done.subject != _subject(workspace, bundle):
        done = rehearse(workspace, bundle)
    if not done.passed:
        failed = next(check for check, passed in done.checks.items() if not passed)
        raise KitsolveError(f"the rehearsal failed: not true that {failed}.", hint=f"look at {path.parent}.")
    return done


def _read(path: Path) -> Rehearsal | None:
    """The rehearsal on record; one that another version of kitsolve wrote counts for nothing."""
    values = read_json(path) if path.is_file() else {}
    return Rehearsal(**values) if values.keys() == {field.name for field in fields(Rehearsal)} else None


def _subject(workspace: Workspace, bundle: Bundle) -> str:
    slug = bundle.competition
    return digest(
        workspace.bundle(slug, bundle.name) / "bundle.json",
        workspace.notebook(slug, bundle.name) / f"{slug}.ipynb",
        workspace.finished_tables(slug) / "tables.json",
    )


def rehearse(workspace: Workspace, bundle: Bundle, *, python: str | None = None) -> Rehearsal:
    """Run the bundle's notebook twice and check both submissions; the result is also written as rehearsal.json.

    Args:
        python: path or name of the interpreter of another environment; None: this one's.

    Raises:
        KitsolveError: the notebook was not exported, or it stops with an error; an interpreter that runs none.
    """
    slug = bundle.competition
    notebook = workspace.notebook(slug, bundle.name) / f"{slug}.ipynb"
    if not notebook.is_file():
        raise KitsolveError(f"{notebook} is missing.", hint=f"run `kitsolve export {slug}` first.")
    if file_sha256(workspace.bundle(slug, bundle.name) / "bundle.json") not in notebook.read_text(encoding="utf-8"):
        raise KitsolveError(
            f"{notebook} was written for an earlier bundle {bundle.name}.",
            hint=f"run `kitsolve export {slug}` for its runs again, which writes both.",
        )
    interpreter = find_interpreter(python) if python else Path(sys.executable)
    place = workspace.rehearsal(slug, bundle.name)
    shutil.rmtree(place, ignore_errors=True)
    image = read_kaggle_image()
    run = partial(run_notebook, notebook, image=image, python=interpreter)
    started = time.perf_counter()
    mount_public(workspace, bundle, place / "public" / "input")
    public = run(place / "public", title="rehearsing: public test set")
    origins = mount_rerun(workspace, bundle, place / "rerun" / "input")
    rerun = run(place / "rerun", title="rehearsing: hidden test set")
    checks = _check(workspace, bundle, public, rerun, origins, memory_gb=image.memory_gb)
    images = read_competition(workspace, slug).test.hidden or len(public.submission)
    measured = rerun.measured
    rehearsal = Rehearsal(
        passed=all(checks.values()),
        checks=checks,
        seconds=round(time.perf_counter() - started, 1),
        peak_gb=max(public.measured.peak_gb, measured.peak_gb),
        start_s=measured.start_s,
        image_s=measured.image_s,
        full_images=images,
        full_s=measured.start_s + images * measured.image_s,
        versions=measured.versions,
        subject=_subject(workspace, bundle),
    )
    for stage in (public, rerun):
        shutil.rmtree(stage.root / "input")
    write_json(place / "rehearsal.json", asdict(rehearsal))
    return rehearsal


def _check(
    workspace: Workspace,
    bundle: Bundle,
    public: NotebookRun,
    rerun: NotebookRun,
    origins: pd.DataFrame,
    *,
    memory_gb: float,
) -> dict[str, bool]:
    """Each check as a sentence, with its outcome."""
    slug = bundle.competition
    hidden = rerun.root / "input" / "competitions" / slug
    valid = is_valid(workspace.raw(slug), public.submission, bundle), is_valid(hidden, rerun.submission, bundle)
    ours = read_csv(predict(workspace, bundle))
    # Several GPUs, or other libraries, may round in their own way.
    equal = valid[0] and find_difference(ours, public.submission, bundle.submission.kind) is None
    same = all(valid) and agrees(public.submission, rerun.submission, origins, bundle)
    return {
        # Else it would have raised.
        f"the notebook runs without kitsolve and network, writes only its output, and in {memory_gb:g} GB": True,
        "its inputs are as they were": public.inputs_kept and rerun.inputs_kept,
        "the public submission passes every check": valid[0],
        "it equals that of `kitsolve predict`, but for rounding": equal,
        "a larger test set with other ids and a damaged image passes every check": valid[1],
        "the same images get the same predictions there": same,
    }


def is_valid(input_dir: Path, submission: pd.DataFrame, bundle: Bundle) -> bool:
    """Whether a submission passes every check against the sample of `input_dir`."""
    try:
        sample = read_sample(input_dir, bundle.submission, spelt=True)
        check_submission(submission, sample, bundle.submission)
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
