"""What a run was trained on, and whether tables and facts still are that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from kitsolve.config import Competition, read_competition
from kitsolve.data.stored import read_folds, read_table
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Run, folds_of, hash_prepare, hash_sources, hash_tables
from kitsolve.provenance import list_changes
from kitsolve.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


LABEL_FACTS = ("target", "positive", "unknown", "order", "range", "missing", "features")
"""Keys of [train] that say what the outputs of a model mean."""


def check_tables(workspace: Workspace, *runs: Run) -> None:
    """Raise KitsolveError where a run was trained on other rows, labels or folds than tables and facts have now."""
    for run in runs:
        slug = run.competition.slug
        anew = f"or train it anew: `kitsolve train {slug} --run {run.name} --force`."
        if changes := list_fact_changes(run, read_competition(workspace, slug)):
            raise KitsolveError(
                f"run {run.name} was trained with other facts: {'; '.join(changes)}.",
                hint=f"set them back in {workspace.competition(slug) / 'competition.toml'}, {anew}",
            )
        if changes := list_table_changes(workspace, run):
            raise KitsolveError(
                f"run {run.name} was trained on other tables: {'; '.join(changes)}.",
                hint=f"bring them back (`kitsolve folds {slug}`, `kitsolve fetch {slug}`), {anew}",
            )


def list_fact_changes(run: Run, now: Competition) -> list[str]:
    """The facts that say what the run's outputs mean, where they are others now: key, former and present value."""
    before = run.competition
    pairs: list[tuple[str, object, object]] = [("task", before.task, now.task)]
    pairs += [(f"train.{name}", getattr(before.train, name), getattr(now.train, name)) for name in LABEL_FACTS]
    if "kl_divergence" in (before.metric, now.metric):  # it reads label columns as shares of a row
        pairs.append(("metric", before.metric, now.metric))
    return [f"{key} was {_show(old)} and is {_show(new)} now" for key, old, new in pairs if old != new]


def _show(value: object) -> str:
    return "not set" if value is None else repr(value.model_dump() if isinstance(value, BaseModel) else value)


def describe_other_metric(workspace: Workspace, run: Run) -> list[str]:
    """A sentence where the facts name another metric than the run was trained with."""
    now = read_competition(workspace, run.competition.slug)
    if run.competition.metric == now.metric:
        return []
    return [
        f"the facts name {now.metric} now: run {run.name} chose its epochs by {run.competition.metric}, and is scored "
        f"with it. `kitsolve train {now.slug} --run {run.name} --force` trains it for {now.metric}."
    ]


def describe_other_code(workspace: Workspace, run: Run) -> list[str]:
    """A sentence where the prepare.py that a run was trained with has been changed since."""
    if run.prepare_sha256 in (None, hash_prepare(workspace, run.competition, run.recipe)):
        return []
    used = ["its metric chose the epochs"] if run.competition.metric == "prepare:metric" else []
    used += ["its augmentation made the batches"] if run.recipe.augment == "prepare:augmentation" else []
    return [
        f"prepare.py was changed after run {run.name} had begun: {' and '.join(used)} as it was before. "
        f"`kitsolve train {run.competition.slug} --run {run.name} --force` trains with what it is now."
    ]


def list_table_changes(workspace: Workspace, run: Run) -> list[str]:
    """What differs between the tables that a run was trained on and those of today, in words.

    Folds are compared row by row: to write the same ones anew is no change. Of pseudo-labels only the training asks.
    """
    tables = workspace.finished_tables(run.competition.slug)
    if not run.recipe.pseudo and hash_tables(tables) == run.tables_sha256:
        return []
    if run.made_from is None:
        return [] if run.recipe.pseudo else ["train.csv or folds.csv is another one"]
    present = hash_sources(workspace, run.competition.slug)
    changed = [name for name in list_changes(run.made_from, present) if name in present]
    words = {name: f"{name} is another one" for name in changed}
    if "folds.csv" in changed:
        train = read_table(workspace, run.competition.slug, "train.csv")
        moved = _describe_moved(folds_of(run), read_folds(workspace, run.competition.slug, train.image_id))
        words = {**words, "folds.csv": moved} if moved else {name: words[name] for name in words if name != "folds.csv"}
    return list(words.values())


def _describe_moved(before: pd.Series, table: pd.DataFrame) -> str | None:
    """How many rows lie in another fold, with the first; None where none does."""
    after = table.set_index("image_id").fold
    shared = before.index.intersection(after.index)
    other = shared[(before[shared].astype(str) != after[shared].astype(str)).to_numpy()]
    odd = [*other, *before.index.symmetric_difference(after.index)]
    if not odd:
        return None
    return f"{len(odd):,} of {len(before):,} rows lie in another fold of folds.csv, first: id {odd[0]!r}"
