"""`kitsolve score`: the out-of-fold predictions of a run become its CV score."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kitsolve.data.fetch import read_train_table
from kitsolve.data.table import class_names
from kitsolve.errors import KitsolveError, translated
from kitsolve.evaluation.runs import Run
from kitsolve.metrics import METRICS
from kitsolve.workspace import Workspace, write_csv, write_json

PROB = "prob_"


@dataclass(frozen=True)
class CvScore:
    """The score of every fold, in their order, their mean and standard deviation, and that of all OOF rows together."""

    metric: str
    folds: list[float]
    mean: float
    std: float
    pooled: float


def oof_table(image_ids: pd.Series, probs: np.ndarray, names: tuple[str, ...]) -> pd.DataFrame:
    """image_id and a column prob_CLASS for each class; float32 survives the way through CSV."""
    table = pd.DataFrame(probs, columns=[PROB + name for name in names])
    table.insert(0, "image_id", image_ids.to_numpy())
    return table


def score_run(workspace: Workspace, run: Run) -> CvScore:
    """Score all folds that are done; when all are, also write the run's oof.csv and score.json.

    Raises:
        KitsolveError: no fold is done.
    """
    slug = run.competition.slug
    train = read_train_table(workspace, slug)
    folds = sorted(train.fold.unique().tolist())
    done = [fold for fold in folds if run.fold_is_done(fold)]
    if not done:
        raise KitsolveError(f"run {run.name} has no finished fold.", hint=f"run `kitsolve train {slug} --run {run.name}`.")
    oof = pd.concat([_read_oof(run, fold) for fold in done], ignore_index=True)
    oof = oof.merge(train[["image_id", "fold", run.competition.train.target]], on="image_id", validate="one_to_one")
    cv = _score_oof(oof, run, names=class_names(train, run.competition, workspace.raw(slug)))
    if done == folds:
        write_csv(run.folder / "oof.csv", oof.drop(columns=[run.competition.train.target]))
        write_json(run.folder / "score.json", asdict(cv))
    return cv


def _read_oof(run: Run, fold: int) -> pd.DataFrame:
    """oof.csv of a fold: ids as strings, probabilities as float32."""
    path = run.fold(fold) / "oof.csv"
    columns = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(path, dtype={name: "float32" if name.startswith(PROB) else str for name in columns}, keep_default_na=False)


def _score_oof(oof: pd.DataFrame, run: Run, *, names: tuple[str, ...]) -> CvScore:
    metric = METRICS[run.competition.metric]
    targets = label_indices(oof[run.competition.train.target], names)
    probs = oof[[PROB + name for name in names]].to_numpy()
    parts = [oof.fold.to_numpy() == fold for fold in sorted(oof.fold.unique())]
    with translated(f'set folds.scheme = "stratified" for {run.competition.slug}, or lower folds.count.'):
        scores = [metric.score(targets[part], probs[part]) for part in parts]
        pooled = metric.score(targets, probs)
    return CvScore(run.competition.metric, scores, float(np.mean(scores)), float(np.std(scores)), pooled)


def label_indices(labels: pd.Series, names: tuple[str, ...]) -> np.ndarray:
    """(rows,) int64: the index of every label in `names`, the class order of the probabilities."""
    class2target = {name: target for target, name in enumerate(names)}
    return np.array([class2target[label] for label in labels], dtype=np.int64)
