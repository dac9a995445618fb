"""`kitsolve score`: the out-of-fold predictions of a run become its CV score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.config import Competition
from kitsolve.data.fetch import read_train_table
from kitsolve.data.leakage import describe_split_groups
from kitsolve.data.targets import Targets, encode_targets
from kitsolve.errors import translated
from kitsolve.evaluation.classes import check_classes
from kitsolve.evaluation.decoding import Judge, decode_out_of_fold, find_judge, fit_decoder
from kitsolve.evaluation.last_epochs import LAST_OOF, find_last_oof
from kitsolve.evaluation.oof import Oof, align_oofs, read_oof, write_oof
from kitsolve.evaluation.run_tables import check_tables, describe_other_code, describe_other_metric
from kitsolve.evaluation.runs import Run, folds_of
from kitsolve.inference.bundle import Blend, Decoder
from kitsolve.inference.combine import combine
from kitsolve.workspace import Workspace, write_sealed


@dataclass(frozen=True)
class CvScore:
    """The score of every fold, in their order, their mean and standard deviation, and that of all OOF rows together.

    Thresholds and the like are fitted for each fold on the rows of the others; `plain` is the pooled score without
    them. `oof_rows` of the `train_rows` are predicted out of fold; fewer where folds are missing. `last_epochs`: the
    pooled score of every fold's last epoch, which nobody has chosen, and `chosen_gain`: by how much `pooled` is better,
    because each fold's epoch is chosen on the rows that are scored. None: not known, or nothing was chosen.
    `notices`: why else the CV may be better than the test score will be.
    """

    metric: str
    folds: list[float]
    mean: float
    std: float
    pooled: float
    oof_rows: int
    train_rows: int
    plain: float
    last_epochs: float | None = field(default=None, compare=False)
    chosen_gain: float | None = field(default=None, compare=False)
    notices: list[str] = field(default_factory=list, compare=False)


def score_run(workspace: Workspace, run: Run) -> CvScore:
    """Score all folds of a run that are done; when all are, also write the run's oof.csv and score.json.

    Raises:
        KitsolveError: no fold is done, a file of it is damaged, or the tables are not those of the training any more.
    """
    check_tables(workspace, run)
    subject = read_subject(workspace, run.competition)
    check_classes(run, subject.targets.names)
    oof = subject.read_oof(run)
    cv = compare_epochs(subject, run, score_oof(subject, oof))
    told = describe_split_groups(workspace.tables(subject.slug), folds_of(run), run.competition, short=True)
    told = describe_other_code(workspace, run) + describe_other_metric(workspace, run) + told
    cv = replace(cv, notices=[*cv.notices, *told])
    if cv.oof_rows == cv.train_rows:
        write_oof(run.folder / "oof.csv", oof, subject.targets.output_names)
        write_sealed(run.folder / "score.json", asdict(cv))
    return cv


def compare_epochs(subject: Subject, run: Run, cv: CvScore) -> CvScore:
    """The score of a run's chosen epochs with that of its last ones beside it, where the latter is known."""
    folds = [fold for fold in sorted(subject.train.fold.unique().tolist()) if run.fold_is_done(fold)]
    found = {fold: find_last_oof(run, fold) for fold in folds}
    places = {fold: path for fold, path in found.items() if path is not None}
    if run.recipe.best_epoch == "last" or len(places) < len(folds):
        return cv
    last = cv.pooled
    if any(path.name == LAST_OOF for path in places.values()):
        oof = subject.read_oof(run, places=places)
        last = score_oof(subject, oof).pooled
    gain = cv.pooled - last if subject.judge.metric.greater_is_better else last - cv.pooled
    return replace(cv, last_epochs=last, chosen_gain=gain)


def score_blend(workspace: Workspace, runs: list[Run], blend: Blend) -> tuple[CvScore, Decoder, NDArray[np.float64]]:
    """The CV of the runs' blend, over the rows that all of them have predicted out of fold.

    Returns:
        It, and what a bundle carries: the decoder that is fitted on all of these rows, and their mean outputs.
    """
    check_tables(workspace, *runs)
    subject = read_subject(workspace, runs[0].competition)
    for run in runs:
        check_classes(run, subject.targets.names)
    oof = blend_oofs(subject, [subject.read_oof(run) for run in runs], blend)
    prior = np.asarray(oof.outputs.mean(axis=0), dtype=float).ravel()
    return score_oof(subject, oof), fit_decoder(subject.judge, subject.targets_of(oof.image_ids), oof.outputs), prior


def blend_oofs(subject: Subject, oofs: Sequence[Oof], blend: Blend) -> Oof:
    """The runs' blend, of the rows that all of them have."""
    ids, folds, outputs = align_oofs(oofs)
    return Oof(ids, folds, combine(outputs, blend, activation=subject.targets.activation))


@dataclass(frozen=True)
class Subject:
    """What the outputs of a competition are compared with."""

    slug: str
    train: pd.DataFrame
    targets: Targets
    judge: Judge

    def read_oof(self, run: Run, *, places: Mapping[int, Path] | None = None) -> Oof:
        """A run's outputs of the rows, as many of them as the judge needs; see evaluation.oof.read_oof."""
        whole = self.judge.needs_all
        return read_oof(run, self.train, self.targets.output_names, whole=whole, places=places)

    def targets_of(self, image_ids: pd.Index) -> NDArray[Any]:
        """The targets of these rows."""
        return np.asarray(self.targets.scored[pd.Index(self.train.image_id).get_indexer(image_ids)])


def read_subject(workspace: Workspace, competition: Competition) -> Subject:
    """The train table of a competition with its labels and its judge."""
    train = read_train_table(workspace, competition.slug)
    targets = encode_targets(train, competition, workspace.raw(competition.slug))
    return Subject(competition.slug, train, targets, find_judge(workspace, competition, targets))


def score_oof(subject: Subject, oof: Oof) -> CvScore:
    """Score outputs by the labels of the train table."""
    metric, values = subject.judge.metric, subject.targets_of(oof.image_ids)
    with translated(f'set folds.scheme = "stratified" for {subject.slug}, or lower folds.count.'):
        decoded = decode_out_of_fold(subject.judge, values, oof.outputs, oof.folds)
        scores = [metric.score(values[oof.folds == fold], decoded[oof.folds == fold]) for fold in np.unique(oof.folds)]
        pooled = metric.score(values, decoded)
        plain = subject.judge.score(values, oof.outputs, subject.judge.plain) if subject.judge.fits else pooled
    return CvScore(
        metric=subject.judge.name,
        folds=scores,
        mean=float(np.mean(scores)),
        std=float(np.std(scores)),
        pooled=pooled,
        oof_rows=len(values),
        train_rows=len(subject.train),
        plain=plain,
    )
