"""What a run has predicted out of fold, beside what is true: what all sections of the page look at."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kitsolve.data.fetch import read_train_table
from kitsolve.data.targets import Targets
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.classes import check_classes
from kitsolve.evaluation.decoding import Judge, decode_out_of_fold
from kitsolve.evaluation.oof import Oof, Outputs, decode_rows, iter_dense, read_oof
from kitsolve.evaluation.run_tables import check_tables
from kitsolve.evaluation.runs import Run
from kitsolve.evaluation.score import CvScore, score_run
from kitsolve.pictures.summary import TrainSet, row_labels
from kitsolve.training.job import read_labelled
from kitsolve.workspace import Workspace, read_json


@dataclass(frozen=True)
class Outcome:
    """The rows that a run has predicted out of fold, all in one order.

    `train`: their labels and images. `folds`: (rows,). `features`: (rows, numbers), see training.job.Labelled.
    `outputs`: see evaluation.oof.Outputs. `probs`: the same, but (rows, classes) of an ordinal task. `predicted`:
    (rows,) labels or values as in the targets' `values`, (rows, labels) bool of a multilabel task; thresholds and the
    like are fitted on the rows of the other folds.
    """

    run: Run
    cv: CvScore
    judge: Judge
    train: TrainSet
    folds: NDArray[np.int64]
    features: NDArray[np.float32] | None
    outputs: Outputs
    probs: Outputs
    predicted: NDArray[Any]

    @property
    def slug(self) -> str:
        """The competition's name."""
        return self.run.competition.slug

    @property
    def targets(self) -> Targets:
        """The labels of the rows."""
        return self.train.targets

    @property
    def task(self) -> str:
        """The kind of the targets."""
        return self.targets.task

    @property
    def metric(self) -> str:
        """The name of the competition's metric."""
        return self.judge.name.removeprefix("prepare:")

    def image_id(self, row: int) -> str:
        """The id of a row's image."""
        return str(self.train.table.image_id.iloc[row])

    def label(self, row: int) -> str:
        """What a row is labelled with."""
        return ", ".join(row_labels(self.train, row, self.train.names))


def read_outcome(workspace: Workspace, run: Run) -> Outcome:
    """The outcome of all folds of a run that are done.

    Raises:
        KitsolveError: none is, or the tables are no longer those that the run was made with.
    """
    check_tables(workspace, run)
    labelled, table = read_labelled(workspace, run.competition), read_train_table(workspace, run.competition.slug)
    check_classes(run, labelled.targets.names)
    oof = read_oof(run, table, labelled.targets.output_names, whole=labelled.judge.needs_all)
    rows = labelled.image_ids.get_indexer(oof.image_ids)
    targets = labelled.targets
    shares = None if targets.shares is None else targets.shares[rows]
    own = replace(targets, values=targets.values[rows], shares=shares)
    paths = [Path(os.fsdecode(path)) for path in labelled.paths[rows]]
    ordinal = targets.task == "ordinal"
    return Outcome(
        run=run,
        cv=read_cv(workspace, run),
        judge=labelled.judge,
        train=TrainSet(run.competition, table.iloc[rows], own, paths),
        folds=oof.folds,
        features=None if labelled.features is None else labelled.features[rows],
        outputs=oof.outputs,
        probs=decode_rows(oof.outputs, labelled.judge.plain, "probs") if ordinal else oof.outputs,
        predicted=predict_labels(labelled.judge, own, oof),
    )


def read_cv(workspace: Workspace, run: Run) -> CvScore:
    """The score of a finished run, else that of its folds that are done; of a damaged score.json too."""
    try:
        return CvScore(**read_json(run.folder / "score.json")) if run.finished else score_run(workspace, run)
    except (KitsolveError, TypeError):
        return score_run(workspace, run)


def predict_labels(judge: Judge, targets: Targets, oof: Oof) -> NDArray[Any]:
    """The labels or values that the outputs stand for; see Outcome."""
    wants = judge.metric.wants
    if wants == "probs":
        return decode_rows(oof.outputs, judge.plain, "labels")
    decoded = decode_out_of_fold(judge, targets.scored, oof.outputs, oof.folds)
    return decoded[:, 0] if wants == "ranking" else decoded


def pick(outputs: Outputs, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """(rows,) the output of each row that stands in its column."""
    parts = [
        np.take_along_axis(part, columns[rows, None], axis=1)[:, 0].astype(np.float64)
        for rows, part in iter_dense(outputs)
    ]
    return np.concatenate(parts)
