"""`kitsolve score`: the out-of-fold predictions of a run become its CV score."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kitsolve.data.fetch import read_train_table
from kitsolve.data.table import class_names, label_indices
from kitsolve.errors import KitsolveError, translated
from kitsolve.evaluation.runs import Run
from kitsolve.metrics import METRICS
from kitsolve.workspace import Workspace, write_csv, write_json

PROB = "prob_"


@dataclass(frozen=True)
class CvScore:
    """The score of every fold, in their order, their mean and standard deviation, and that of all OOF rows together.

    `oof_rows` of the `train_rows` are predicted out of fold; fewer where folds are missing.
    """

    metric: str
    folds: list[float]
    mean: float
    std: float
    pooled: float
    oof_rows: int
    train_rows: int


def oof_table(image_ids: pd.Series, probs: np.ndarray, names: tuple[str, ...]) -> pd.DataFrame:
    """image_id and a column prob_CLASS for each class; float32 survives the way through CSV."""
    table = pd.DataFrame(probs, columns=[PROB + name for name in names])
    table.insert(0, "image_id", image_ids.to_numpy())
    return table


def score_run(workspace: Workspace, run: Run) -> CvScore:
    """Score all folds of a run that are done; when all are, also write the run's oof.csv and score.json.

    Raises:
        KitsolveError: no fold is done.
    """
    train = read_train_table(workspace, run.competition.slug)
    oof = read_oof(run, train)
    cv = score_oof(workspace, run, oof, train)
    if len(oof) == len(train):
        write_csv(run.folder / "oof.csv", oof)
        write_json(run.folder / "score.json", asdict(cv))
    return cv


def score_blend(workspace: Workspace, runs: list[Run]) -> CvScore:
    """The CV of the runs' mean prediction, over the rows that all of them have predicted out of fold."""
    train = read_train_table(workspace, runs[0].competition.slug)
    tables = [read_oof(run, train).set_index("image_id") for run in runs]
    mean = tables[0].copy()
    for name in [name for name in mean if name.startswith(PROB)]:
        mean[name] = sum(table[name] for table in tables) / len(tables)  # aligned by image_id; NaN where one lacks it
    mean = mean.dropna()
    return score_oof(workspace, runs[0], mean.reset_index(), train)


def read_oof(run: Run, train: pd.DataFrame) -> pd.DataFrame:
    """image_id, fold and the float32 probabilities of the folds that are done.

    Raises:
        KitsolveError: none is.
    """
    done = [fold for fold in sorted(train.fold.unique().tolist()) if run.fold_is_done(fold)]
    if not done:
        slug = run.competition.slug
        raise KitsolveError(
            f"run {run.name} has no finished fold.", hint=f"run `kitsolve train {slug} --run {run.name}`."
        )
    oof = pd.concat([_read_fold(run, fold) for fold in done], ignore_index=True)
    return oof.merge(train[["image_id", "fold"]], on="image_id", validate="one_to_one")


def _read_fold(run: Run, fold: int) -> pd.DataFrame:
    path = run.fold(fold) / "oof.csv"
    columns = pd.read_csv(path, nrows=0).columns
    dtypes = {name: "float32" if name.startswith(PROB) else str for name in columns}
    return pd.read_csv(path, dtype=dtypes, keep_default_na=False)


def score_oof(workspace: Workspace, run: Run, oof: pd.DataFrame, train: pd.DataFrame) -> CvScore:
    """Score image_id, fold and probabilities by the labels of the train table."""
    slug, target = run.competition.slug, run.competition.train.target
    metric = METRICS[run.competition.metric]
    names = class_names(train, run.competition, workspace.raw(slug))
    labels = train.set_index("image_id")[target].loc[oof.image_id]
    targets = label_indices(labels, names)
    probs = oof[[PROB + name for name in names]].to_numpy()
    parts = [oof.fold.to_numpy() == fold for fold in sorted(oof.fold.unique())]
    with translated(f'set folds.scheme = "stratified" for {slug}, or lower folds.count.'):
        scores = [metric.score(targets[part], probs[part]) for part in parts]
        pooled = metric.score(targets, probs)
    mean, std = float(np.mean(scores)), float(np.std(scores))
    return CvScore(run.competition.metric, scores, mean, std, pooled, oof_rows=len(oof), train_rows=len(train))
