"""What a run was trained on, and whether the tables still are that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitsolve.data.stored import read_folds, read_table
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Run, folds_of, hash_sources, hash_tables
from kitsolve.provenance import list_changes
from kitsolve.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def check_tables(workspace: Workspace, *runs: Run) -> None:
    """Raise KitsolveError where a run was trained on other rows, labels or folds than the tables hold now."""
    for run in runs:
        changes = list_table_changes(workspace, run)
        if changes:
            slug = run.competition.slug
            raise KitsolveError(
                f"run {run.name} was trained on other tables: {'; '.join(changes)}.",
                hint=f"bring them back (`kitsolve folds {slug}`, `kitsolve fetch {slug}`), "
                f"or train it anew: `kitsolve train {slug} --run {run.name} --force`.",
            )


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
