"""`kitsolve run`: all steps from nothing to a checked notebook and submission, each skipped where it is done."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from kitsolve.config import read_competition
from kitsolve.data.fetch import fetch
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.evaluation.score import CvScore
from kitsolve.submission.bundle import export_bundle
from kitsolve.submission.local import submit_locally
from kitsolve.submission.notebook import write_notebook
from kitsolve.submission.predict import keep_or_predict
from kitsolve.submission.rehearse import Rehearsal, require_rehearsal
from kitsolve.training.distributed import Machine
from kitsolve.training.fold import train_folds
from kitsolve.workspace import Workspace


@dataclass(frozen=True)
class Finished:
    """All that `kitsolve run` made; `score` is that of the submission where the answers lie on this disk."""

    run: str
    cv: CvScore
    bundle: Path
    notebook: Path
    rehearsal: Rehearsal
    submission: Path
    score: float | None


def run_all(workspace: Workspace, wanted: Wanted, machine: Machine, *, force: bool = False) -> Finished:
    """Fetch, train all folds, export and rehearse; where a submission costs nothing, submit as well."""
    slug = wanted.slug
    _announce("1/4 fetch")
    fetched = fetch(workspace, slug, force=force)
    for notice in fetched.notices:
        _announce(f"note: {notice}")
    run = open_run(workspace, wanted, reuse_finished=True, force=force)
    _announce(f"2/4 train {fetched.folds} folds on {fetched.train_rows:,} images: {run.folder}")
    cv = train_folds(workspace, run, [], machine)
    _announce("3/4 export")
    bundle = export_bundle(workspace, slug, [run.name])
    notebook = write_notebook(workspace, bundle)
    _announce(f"4/4 rehearse {notebook}")
    rehearsal = require_rehearsal(workspace, bundle, anew=force)
    local = read_competition(workspace, slug).submission.via == "local"
    return Finished(
        run=run.name,
        cv=cv,
        bundle=workspace.bundle(slug, bundle.name),
        notebook=notebook,
        rehearsal=rehearsal,
        submission=keep_or_predict(workspace, bundle),
        score=submit_locally(workspace, bundle).public_score if local else None,
    )


def _announce(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
