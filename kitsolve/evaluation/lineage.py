"""The runs that a run learns from: none of them may have seen the rows that it is validated on.

A fold starts from the weights of the same fold of another run (`init_from`) and learns what that fold says of the test
images (`pseudo`). Where the other run was made on other folds, its fold has been trained on rows that are validated
now, and the CV is too good: 0.726 in the place of 0.668. Weights of one fold as the start of all (`pretrained`) are no
better: see own_weights.py.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.own_weights import check_pretrained
from kitsolve.evaluation.runs import ALL, Run, folds_of, name_fold, read_run
from kitsolve.workspace import Workspace, read_csv, read_json


@dataclass(frozen=True)
class Source:
    """Rows that a run learns from, through `how`, as in "init_from = 'one'": the fold of each, by image_id.

    `whole`: whether `folds` has all rows; a run of an older version knows those of its finished folds alone.
    """

    how: str
    run: str
    folds: pd.Series
    whole: bool = True


@dataclass(frozen=True)
class Leak:
    """What a source's fold has seen of the rows that the same fold validates now: how many, and the first."""

    fold: int
    rows: int
    validated: int
    image_id: str
    source_fold: int | None


def find_leak(folds: pd.Series, source: Source, wanted: Collection[int]) -> Leak | None:
    """The first of the wanted folds that has a row, validated there, which the source's fold was trained on.

    Args:
        folds: (rows,) the fold in which each row is validated now, by image_id. Rows that the source does not have
            are no leak.
    """
    theirs = source.folds.reindex(folds.index)
    seen = theirs.ne(folds) & (theirs.notna() | (not source.whole))
    for fold in sorted(set(wanted) - {ALL}):
        own = folds.index[seen & folds.eq(fold)]
        if len(own):
            first = theirs[own[0]]
            known = None if pd.isna(first) else int(first)
            return Leak(fold, len(own), int(folds.eq(fold).sum()), str(own[0]), known)
    return None


def check_lineage(workspace: Workspace, run: Run, folds: pd.Series, wanted: Collection[int], *, quiet: bool) -> None:
    """Refuse to train folds of a run that learns from one which has seen their validation rows.

    Args:
        folds: see `find_leak`.
        wanted: the folds to train; runs.ALL validates nothing.
        quiet: do not say what cannot be told.

    Raises:
        KitsolveError: names the rows and what to do.
    """
    if not wanted:
        return
    for source in find_sources(workspace, run):
        if isinstance(source, str):
            if not quiet:
                tqdm.write(f"note: {source}", file=sys.stderr)
        elif leak := find_leak(folds, source, wanted):
            raise _refuse(source, leak, run.competition.slug)


def check_teacher(run: Run, folds: pd.Series) -> None:
    """Refuse to make pseudo-labels that a pupil on these folds could not learn from honestly.

    Raises:
        KitsolveError: see `check_lineage`.
    """
    source = Source(f"the pseudo-labels of {run.name}", run.name, folds_of(run), is_whole(run))
    if leak := find_leak(folds, source, set(folds)):
        raise _refuse(source, leak, run.competition.slug)


def find_sources(workspace: Workspace, run: Run) -> Iterator[Source | str]:
    """All runs that a run learns from, directly and through others; a sentence for each that cannot be looked at.

    Raises:
        KitsolveError: one of them, or the run, starts all folds from weights of one; see `check_pretrained`.
    """
    waiting, met = [run], {run.name}
    while waiting:
        pupil = waiting.pop(0)
        check_pretrained(workspace, pupil)
        for key in ("init_from", "pseudo"):
            name = getattr(pupil.recipe, key)
            if name is None:
                continue
            how = f"{key} = {name!r}" + (f" of run {pupil.name}" if pupil is not run else "")
            made = workspace.pseudo(run.competition.slug, name)
            labels = _read_labelled_folds(made) if key == "pseudo" else None
            source = _read_source(pupil.folder.parent / name)
            if labels is not None:
                yield Source(how, name, labels)
                if source is not None and source.started != read_json(made / "pseudo.json")["teacher_started"]:
                    yield f"{how}: its labels are of an earlier run of that name; `kitsolve pseudo` makes new ones."
                    continue
            elif source is None:
                yield f"{how}: that run is gone, so nobody can tell which rows it has seen."
            elif source.competition.slug == run.competition.slug:
                yield Source(how, name, folds_of(source), is_whole(source))
            else:
                yield f"{how} is of {source.competition.slug}: nobody can tell which of these rows it has seen there."
            if source is not None and name not in met:
                met.add(name)
                waiting.append(source)


def is_whole(run: Run) -> bool:
    """Whether `folds_of` a run has all rows that it was made with."""
    return run.finished or (run.folder / "folds.csv").is_file()


def _read_source(folder: Path) -> Run | None:
    return read_run(folder) if (folder / "run.json").is_file() else None


def _read_labelled_folds(folder: Path) -> pd.Series | None:
    """The folds of the teacher of pseudo-labels, as it was then; None where an older version made them."""
    path = folder / "folds.csv"
    if not path.is_file():
        return None
    table = read_csv(path)
    return pd.Series(table.fold.astype(int).to_numpy(), index=pd.Index(table.image_id))


def _refuse(source: Source, leak: Leak, slug: str) -> KitsolveError:
    theirs = "does not validate" if leak.source_fold is None else f"validates in fold {name_fold(leak.source_fold)}"
    return KitsolveError(
        f"{source.how}: fold {leak.fold} of run {source.run} was trained on {leak.rows} of the {leak.validated} rows "
        f"that fold {leak.fold} validates now, first: id {leak.image_id!r}, which it {theirs}.",
        hint=f"train a run on the folds as they are now, `kitsolve train {slug}`, and name that one; or bring back the "
        "folds.csv that the run was made with.",
    )
