"""The other runs of the competition beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from scipy.sparse import csr_array

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.blend import correlate
from kitsolve.evaluation.comparison import find_difference
from kitsolve.evaluation.oof import read_oof
from kitsolve.evaluation.runs import Run, folds_of, list_runs
from kitsolve.reporting.html import Fixed, Html, element, join, table
from kitsolve.reporting.outcome import Outcome
from kitsolve.reporting.page import Section
from kitsolve.workspace import Workspace, read_json

MOST = 20


def show_rivals(workspace: Workspace, outcome: Outcome) -> Section | None:
    """The finished runs with their CV, the best first, and apart those whose CV does not compare; None without any."""
    others = [run for run in list_runs(workspace, outcome.slug) if run.finished and run.name != outcome.run.name]
    if not others:
        return None
    scores = {run.name: float(read_json(run.folder / "score.json")["pooled"]) for run in others}
    reasons = {run.name: find_difference(outcome.run, run) for run in others}
    alike = [run for run in others if reasons[run.name] is None]
    apart = [run for run in others if reasons[run.name] is not None][:MOST]
    body = [_rank_runs(outcome, alike, scores | {outcome.run.name: outcome.cv.pooled})]
    if apart:
        rows = [[*_describe(run), Fixed(scores[run.name], 5), reasons[run.name]] for run in apart]
        heads = ["run", "backbone", "px", "its CV", "why it does not compare with this run"]
        body += [element("h3", "Runs of other folds, labels or metrics"), table(heads, rows)]
    return Section(
        "runs",
        "Other runs",
        "The finished runs of this competition on the same rows, labels and folds, the best first, and how alike their "
        "out-of-fold outputs are to those of this one (Pearson's correlation, the mean over the outputs).",
        "A good run of low correlation adds more to a blend than a twin: `kitsolve blend` tries it.",
        join(body),
    )


def _rank_runs(outcome: Outcome, others: Sequence[Run], scores: Mapping[str, float]) -> Html:
    """The run among those that compare with it, the best first."""
    greater = outcome.judge.metric.greater_is_better
    best = sorted(others, key=lambda run: scores[run.name], reverse=greater)[:MOST]
    shown = sorted([outcome.run, *best], key=lambda run: scores[run.name], reverse=greater)
    rows = []
    for run in shown:
        alike = None if run is outcome.run else correlation(outcome, run)
        said = None if alike is None else Fixed(alike, 3)
        rows.append([*_describe(run), Fixed(scores[run.name], 5), said])
    heads = ["run", "backbone", "px", f"CV {outcome.metric}", "correlation"]
    return table(heads, rows, marked=shown.index(outcome.run))


def _describe(run: Run) -> list[str]:
    return [run.name, run.recipe.backbone, " × ".join(str(side) for side in reversed(run.recipe.size))]


def correlation(outcome: Outcome, other: Run) -> float | None:
    """That of the outputs of the rows that both have; None where the other run has no such rows or outputs any more."""
    try:
        whole = not isinstance(outcome.outputs, csr_array)
        theirs = read_oof(other, folds_of(other).reset_index(), outcome.targets.output_names, whole=whole)
    except KitsolveError:  # the labels were others then, so the columns are; or they were changed
        return None
    own = pd.Index(outcome.train.table.image_id)
    shared = own[own.isin(theirs.image_ids)]
    if len(shared) < 2:
        return None
    outputs = theirs.outputs[theirs.image_ids.get_indexer(shared)]
    return float(correlate([outcome.outputs[own.get_indexer(shared)], outputs])[0, 1])
