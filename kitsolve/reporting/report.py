"""`kitsolve report`: one page about a run, in one file that opens without a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from kitsolve.evaluation.runs import Run
from kitsolve.reporting.calibration import show_calibration
from kitsolve.reporting.confusion import show_confusion
from kitsolve.reporting.curves import show_curves
from kitsolve.reporting.duplicates import find_duplicates, show_duplicates
from kitsolve.reporting.labels import show_labels
from kitsolve.reporting.mistakes import show_mistakes
from kitsolve.reporting.outcome import Outcome, read_outcome
from kitsolve.reporting.page import Section, fill_page
from kitsolve.reporting.residuals import show_residuals
from kitsolve.reporting.rivals import show_rivals
from kitsolve.reporting.summary import describe_run, show_summary
from kitsolve.reporting.suspects import find_suspects, show_suspects
from kitsolve.workspace import Workspace, write_csv, write_text


@dataclass(frozen=True)
class Report:
    """What was written: the page and the anchors of its sections, and what was found.

    `suspects`: labels that are perhaps wrong, all of them in RUN-suspects.csv beside the page. `duplicates`: pairs of a
    train and a test image that are nearly the same.
    """

    path: Path
    sections: list[str]
    suspects: int
    duplicates: int


def write_report(workspace: Workspace, run: Run, *, device: torch.device) -> Report:
    """Write the page of a run; of its folds those that are done count.

    Raises:
        KitsolveError: no fold is done, or an image or a fold's state_dict cannot be read.
    """
    path = report_path(workspace, run)
    file = path.with_name(f"{run.name}-suspects.csv")
    outcome = read_outcome(workspace, run)
    suspects, duplicates = find_suspects(outcome), find_duplicates(workspace, outcome.slug)
    found = [
        show_summary(outcome),
        show_curves(run),
        show_errors(outcome),
        show_calibration(outcome),
        show_mistakes(outcome, device),
        show_suspects(outcome, suspects, file.name),
        show_duplicates(workspace, duplicates),
        show_rivals(workspace, outcome),
    ]
    sections = [section for section in found if section is not None]
    if outcome.task != "regression":
        write_csv(file, suspects.drop(columns="row"))
    write_text(path, fill_page(sections, title=run.competition.title, subtitle=describe_run(run)))
    return Report(path, [section.anchor for section in sections], len(suspects), len(duplicates.leaks))


def report_path(workspace: Workspace, run: Run) -> Path:
    """Where the page of a run is."""
    return workspace.reports(run.competition.slug) / f"{run.name}.html"


def show_errors(outcome: Outcome) -> Section:
    """What goes wrong, as suits the task."""
    if outcome.task == "regression":
        return show_residuals(outcome)
    return show_labels(outcome) if outcome.task == "multilabel" else show_confusion(outcome)
