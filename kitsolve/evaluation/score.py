"""`kitsolve score`: the out-of-fold predictions of a run become its CV score."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kitsolve.data.fetch import read_train_table
from kitsolve.data.targets import encode_targets
from kitsolve.errors import KitsolveError, translated
from kitsolve.evaluation.decoding import decode_out_of_fold, find_judge, fit_decoder
from kitsolve.evaluation.runs import Run
from kitsolve.inference import Decoder
from kitsolve.workspace import Workspace, write_csv, write_json

PROB = "prob_"


@dataclass(frozen=True)
class CvScore:
    """The score of every fold, in their order, their mean and standard deviation, and that of all OOF rows together.

    Thresholds and the like are fitted for each fold on the rows of the others; `plain` is the pooled score without
    them. `oof_rows` of the `train_rows` are predicted out of fold; fewer where folds are missing.
    """

    metric: str
    folds: list[float]
    mean: float
    std: float
    pooled: float
    oof_rows: int
    train_rows: int
    plain: float


def oof_table(image_ids: pd.Series, outputs: np.ndarray, names: tuple[str, ...]) -> pd.DataFrame:
    """image_id and a column prob_NAME for each output; float32 survives the way through CSV."""
    table = pd.DataFrame(outputs, columns=[PROB + name for name in names])
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
    return score_oof(workspace, runs[0], blend_oof(runs, train), train)


def blend_oof(runs: list[Run], train: pd.DataFrame) -> pd.DataFrame:
    """image_id, fold and the mean of the runs' outputs, of the rows that all of them have."""
    tables = [read_oof(run, train).set_index("image_id") for run in runs]
    mean = tables[0].copy()
    for name in [name for name in mean if name.startswith(PROB)]:
        mean[name] = sum(table[name] for table in tables) / len(tables)  # aligned by image_id; NaN where one lacks it
    return mean.dropna().reset_index()


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
    """Score image_id, fold and outputs by the labels of the train table."""
    competition = run.competition
    targets = encode_targets(train, competition, workspace.raw(competition.slug))
    judge = find_judge(workspace, competition, targets)
    values = targets.values[pd.Index(train.image_id).get_indexer(oof.image_id)]
    outputs = oof[[PROB + name for name in targets.output_names]].to_numpy()
    folds = oof.fold.to_numpy()
    with translated(f'set folds.scheme = "stratified" for {competition.slug}, or lower folds.count.'):
        decoded = decode_out_of_fold(judge, values, outputs, folds)
        scores = [judge.metric.score(values[folds == fold], decoded[folds == fold]) for fold in np.unique(folds)]
        pooled, plain = judge.metric.score(values, decoded), judge.score(values, outputs, judge.plain)
    return CvScore(
        metric=competition.metric,
        folds=scores,
        mean=float(np.mean(scores)),
        std=float(np.std(scores)),
        pooled=pooled,
        oof_rows=len(oof),
        train_rows=len(train),
        plain=plain,
    )


def fit_on_oof(workspace: Workspace, runs: list[Run]) -> Decoder:
    """The decoder that a bundle carries: fitted on all rows that every run has predicted out of fold."""
    competition = runs[0].competition
    train = read_train_table(workspace, competition.slug)
    targets = encode_targets(train, competition, workspace.raw(competition.slug))
    oof = blend_oof(runs, train)
    outputs = oof[[PROB + name for name in targets.output_names]].to_numpy()
    values = targets.values[pd.Index(train.image_id).get_indexer(oof.image_id)]
    return fit_decoder(find_judge(workspace, competition, targets), values, outputs)
