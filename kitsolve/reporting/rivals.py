"""The other runs of the competition beside this one."""

from __future__ import annotations

import pandas as pd

from kitsolve.evaluation.blend import correlate
from kitsolve.evaluation.oof import read_outputs
from kitsolve.evaluation.runs import Run, list_runs
from kitsolve.reporting.html import Fixed, table
from kitsolve.reporting.outcome import Outcome
from kitsolve.reporting.page import Section
from kitsolve.workspace import Workspace, read_json

MOST = 20


def show_rivals(workspace: Workspace, outcome: Outcome) -> Section | None:
    """The finished runs with their CV, the best first; None where there is no other one."""
    others = [run for run in list_runs(workspace, outcome.slug) if run.finished and run.name != outcome.run.name]
    if not others:
        return None
    scores = {run.name: float(read_json(run.folder / "score.json")["pooled"]) for run in others}
    scores[outcome.run.name] = outcome.cv.pooled
    greater = outcome.judge.metric.greater_is_better
    best = sorted(others, key=lambda run: scores[run.name], reverse=greater)[:MOST]
    shown = sorted([outcome.run, *best], key=lambda run: scores[run.name], reverse=greater)
    rows = []
    for run in shown:
        alike = None if run is outcome.run else correlation(outcome, run)
        said = None if alike is None else Fixed(alike, 3)
        sides = " × ".join(str(side) for side in reversed(run.recipe.size))
        rows.append([run.name, run.recipe.backbone, sides, Fixed(scores[run.name], 5), said])
    return Section(
        "runs",
        "Other runs",
        "The finished runs of this competition, the best first, and how alike their out-of-fold outputs are to those "
        "of this one (Pearson's correlation, the mean over the outputs).",
        "A good run of low correlation adds more to a blend than a twin: `kitsolve blend` tries it.",
        table(["run", "backbone", "px", f"CV {outcome.metric}", "correlation"], rows, marked=shown.index(outcome.run)),
    )


def correlation(outcome: Outcome, other: Run) -> float | None:
    """That of the outputs of the rows that both have; None where the other run has no such rows or outputs."""
    try:
        ids, outputs = read_outputs(other.folder / "oof.csv", outcome.targets.output_names)
    except (KeyError, ValueError, AttributeError):  # the labels were others then, so the columns are
        return None
    own = pd.Index(outcome.train.table.image_id)
    shared = own[own.isin(ids)]
    if len(shared) < 2:
        return None
    return float(correlate([outcome.outputs[own.get_indexer(shared)], outputs[ids.get_indexer(shared)]])[0, 1])
