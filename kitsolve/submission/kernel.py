"""The notebook of a code competition runs at Kaggle, and what it wrote there is compared with what we predict here."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from kitsolve.errors import KitsolveError, translated
from kitsolve.inference.submission import check_submission
from kitsolve.inference.testset import read_sample
from kitsolve.kaggle import Kaggle
from kitsolve.remote import KernelRun, Pushed
from kitsolve.submission.parcel import Parcel
from kitsolve.submission.predict import find_difference
from kitsolve.submission.progress import Logbook
from kitsolve.transport import poll
from kitsolve.workspace import Workspace, read_csv

SESSION_PATIENCE_S = 12 * 3600.0
RUN_PATIENCE_S = 13 * 3600.0
"""A session ends after 12 hours; before it there may be a queue."""
LOG_LINES = 20


def run_at_kaggle(workspace: Workspace, kaggle: Kaggle, parcel: Parcel, log: Logbook) -> Pushed:
    """Push the parcel's notebook, wait for its run, and compare its output; what is done already is skipped.

    Raises:
        KitsolveError: Kaggle refuses the notebook or one of its sources, its run fails, or its output differs.
    """
    pushed = _push(workspace, kaggle, parcel, log)
    if log.progress.output_agrees:
        return pushed
    run = poll(
        partial(_ended_run, kaggle, pushed),
        title=f"Kaggle runs version {pushed.version} of the notebook",
        patience_s=RUN_PATIENCE_S,
    )
    page = f"https://www.kaggle.com/code/{pushed.kernel}"
    if run is None:
        raise KitsolveError(
            f"version {pushed.version} of the notebook has not ended after {RUN_PATIENCE_S / 3600:.0f} hours.",
            hint=f"see {page}; the same command waits on.",
        )
    if run.status != "complete":
        tail = kaggle.kernel_log(pushed).rstrip().splitlines()[-LOG_LINES:]
        log.note(kernel_before=pushed.version, kernel=None, kernel_version=None)  # the next submit pushes anew
        said = "".join(f"\n  | {line}" for line in tail)
        raise KitsolveError(
            f"version {pushed.version} of the notebook ended with status {run.status} {run.failure}".rstrip()
            + f"; the end of its log:{said}",
            hint=f"see {page}; the same command pushes it once more.",
        )
    compare_output(workspace, kaggle, parcel, pushed, target=log.path.with_suffix("") / "submission.csv")
    log.note(output_agrees=True)
    return pushed


def _push(workspace: Workspace, kaggle: Kaggle, parcel: Parcel, log: Logbook) -> Pushed:
    """The version that Kaggle runs for us; looks first whether it has been pushed."""
    done = log.progress
    if done.kernel is not None and done.kernel_version is not None:
        return Pushed(done.kernel, done.kernel_version)
    kernel = parcel.metadata["kernel-metadata.json"]["id"]
    before = done.kernel_before if done.kernel_before is not None else kaggle.kernel_version(kernel)
    log.note(kernel_before=before)

    def find() -> Pushed | None:
        newest = kaggle.kernel_version(kernel)
        return Pushed(kernel, newest) if newest > before else None

    folder = workspace.notebook(parcel.bundle.competition, parcel.bundle.name)
    pushed = find()
    if pushed is None:
        tqdm.write(f"pushing notebook {kernel}, version {before + 1}", file=sys.stderr)
        push = partial(kaggle.push_kernel, folder, find=find)
        pushed = poll(push, title="all of your GPU sessions at Kaggle are taken", patience_s=SESSION_PATIENCE_S)
    if pushed is None:
        raise KitsolveError(
            "all of your GPU sessions at Kaggle stay taken.",
            hint="stop one at https://www.kaggle.com/code, then run this again.",
        )
    if pushed.invalid_sources:
        log.note(kernel_before=pushed.version)  # that version runs without them: the next submit pushes anew
        raise KitsolveError(
            f"Kaggle does not know {', '.join(pushed.invalid_sources)}, a source of notebook {kernel}.",
            hint=f"accept the rules at https://www.kaggle.com/c/{parcel.bundle.competition}/rules; "
            "see whether the dataset is there; then run the same command again.",
        )
    log.note(kernel=pushed.kernel, kernel_version=pushed.version)
    return pushed


def _ended_run(kaggle: Kaggle, pushed: Pushed) -> KernelRun | None:
    run = kaggle.kernel_run(pushed)
    return run if run.ended else None


def compare_output(workspace: Workspace, kaggle: Kaggle, parcel: Parcel, pushed: Pushed, *, target: Path) -> None:
    """Raise KitsolveError where the submission.csv that Kaggle's run wrote is invalid, or is not what we predict."""
    slug, rules = parcel.bundle.competition, parcel.bundle.submission
    kaggle.kernel_file(pushed, "submission.csv", target)
    theirs, ours = read_csv(target), read_csv(parcel.csv)
    hint = f"compare {target} with {parcel.csv}; were the raw files fetched anew? Nothing was submitted."
    with translated(hint):
        check_submission(theirs, read_sample(workspace.raw(slug), rules, spelt=True), rules)
    ids = ours.columns[0]
    aligned = theirs.set_index(ids).loc[ours[ids]].reset_index()
    if difference := find_difference(ours, aligned, rules.kind):
        raise KitsolveError(f"Kaggle's run of the notebook predicts otherwise: {difference}.", hint)
