"""`kitsolve blend`: how the outputs of several runs are mixed, decided on out-of-fold rows.

What is fitted (weights, quantiles, thresholds) is fitted on all rows for the bundle, and once more for each fold on the
rows of the others. The score of the latter, which no row has helped to make, is called honest here.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tqdm import tqdm

from kitsolve.data.sampling import deal_rows, sample_rows
from kitsolve.errors import KitsolveError, nearest, translated
from kitsolve.evaluation.classes import check_classes
from kitsolve.evaluation.decoding import Array, Judge, decode_out_of_fold, fit_decoder, join_rows
from kitsolve.evaluation.oof import WIDE, Outputs, align_oofs, decode_rows
from kitsolve.evaluation.run_tables import check_tables
from kitsolve.evaluation.runs import Run
from kitsolve.evaluation.score import read_subject
from kitsolve.inference.bundle import Blend, parse
from kitsolve.inference.combine import combine
from kitsolve.metrics import Metric
from kitsolve.provenance import list_changes
from kitsolve.workspace import Workspace, digest, read_json, write_sealed

METHODS = ("mean", "weighted", "geometric", "rank")
ORDER_METRICS = ("roc_auc", "mean_column_auc", "weighted_auc", "average_precision")
"""They see nothing but the order within a column."""
GRID = np.linspace(0, 1, 1001)
MOST_PICKS, PATIENCE = 100, 10
MOST_NUMBERS, FEWEST_ROWS = 2_000_000, 5_000
"""Climbing looks at so many numbers of a run, but at no fewer rows."""
PARTS, SEED = 5, 0
"""Parts into which the rows of a single fold are dealt; the seed of all samples."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """A blend and its pooled CV: `fitted` to all rows that are scored, and `honest`: to those of the other folds alone.

    `noise` is the standard error, over the folds, of its honest lead over the mean.
    """

    method: str
    weights: tuple[float, ...]
    fitted: float
    honest: float
    noise: float


@dataclass(frozen=True)
class BlendReport:
    """What blending gives, on the `rows` that all runs have predicted out of fold.

    `singles`: run -> pooled CV. `candidates`: the mean first. `correlation`: see `correlate`. `gain`: by how much the
    honest score of what was chosen is better than that of the best run, which is chosen for each fold on the others,
    too. That one of at most four methods is chosen by the same honest scores flatters it a little.
    """

    metric: str
    rows: int
    singles: dict[str, float]
    candidates: list[Candidate]
    correlation: list[list[float]]
    chosen: Blend
    gain: float


@dataclass(frozen=True)
class Pool:
    """The rows that all runs have predicted: their targets (see Targets.scored), their folds, each run's outputs."""

    judge: Judge
    activation: str
    runs: tuple[str, ...]
    targets: Array
    folds: Rows
    outputs: list[Outputs]


def find_blend(workspace: Workspace, runs: list[Run], *, method: str = "auto") -> BlendReport:
    """Mix runs of one competition by a method of METHODS; "auto": by the one that `choose` takes.

    Raises:
        KitsolveError: fewer than two runs or shared rows, or a method that is not known or not for these outputs.
    """
    pool = _read_pool(workspace, list({run.name: run for run in runs}.values()))
    with translated(f'set folds.scheme = "stratified" for {runs[0].competition.slug}, or lower folds.count.'):
        return rate_blends(pool, method=method)


def write_blend(workspace: Workspace, slug: str, blend: Blend, *, method: str = "auto") -> Path:
    """Keep what `kitsolve export` of these runs takes, the method that was asked for, and what it was fitted to."""
    path = _path(workspace, slug, blend.runs)
    made_from = hash_oofs(workspace, slug, blend.runs)
    write_sealed(path, asdict(blend) | {"asked": method, "made_from": made_from})
    return path


def hash_oofs(workspace: Workspace, slug: str, names: Sequence[str]) -> dict[str, str]:
    """For each run the sha256 of its finished folds, which changes with every training of one."""
    folder = workspace.runs(slug)
    return {name: digest(*sorted((folder / name).glob("fold_[0-9]*/fold.json"))) for name in names}


def read_blend(workspace: Workspace, slug: str, runs: Sequence[Run]) -> Blend:
    """What `kitsolve blend` has chosen for these runs, in any order and without those of no weight; else their mean.

    Where a run was trained since, it is fitted again, by the same method, and said so.

    Raises:
        KitsolveError: the file is damaged, or the runs cannot be blended any more.
    """
    names = tuple(run.name for run in runs)
    path = _path(workspace, slug, names)
    if not path.is_file():
        return Blend(names, "mean", (1 / len(names),) * len(names))
    hint = f"run `kitsolve blend {slug} {' '.join(names)}` again, or remove {path}: then export takes the mean."
    values = read_json(path, hint=hint)
    asked, made_from = values.pop("asked", None), values.pop("made_from", {})
    with translated(hint):
        known: Blend = parse(Blend, values)
    changed = list_changes(made_from, hash_oofs(workspace, slug, names))
    if changed:
        known = find_blend(workspace, list(runs), method=asked or known.method).chosen
        write_blend(workspace, slug, known, method=asked or known.method)
        shares = ", ".join(f"{weight:.3g}" for weight in known.weights)
        text = f"the blend of {' and '.join(known.runs)} was fitted before {', '.join(changed)} was trained"
        tqdm.write(f"note: {text}: it is fitted again ({known.method}, {shares})", file=sys.stderr)
    weights = dict(zip(known.runs, known.weights, strict=True))
    return known.only([name for name in names if weights[name]])


def _path(workspace: Workspace, slug: str, names: Sequence[str]) -> Path:
    return workspace.blends(slug) / f"{hashlib.sha256(' '.join(sorted(names)).encode()).hexdigest()[:12]}.json"


def _read_pool(workspace: Workspace, runs: list[Run]) -> Pool:
    """Rows in the order of the first run, with its folds; a single fold becomes five parts: no model has seen them."""
    names = tuple(run.name for run in runs)
    if len(names) < 2:
        problem = f"a blend needs two runs, not {len(names)}: {', '.join(names) or 'none is named'}."
        raise KitsolveError(problem, hint="name another run; `kitsolve runs SLUG` lists them.")
    competition, slug = runs[0].competition, runs[0].competition.slug
    assert all(run.competition.slug == slug for run in runs), f"{names} are not all of {slug}"
    check_tables(workspace, *runs)
    subject = read_subject(workspace, competition)
    for run in runs:
        check_classes(run, subject.targets.names)
    shared, folds, outputs = align_oofs([subject.read_oof(run) for run in runs])
    if len(shared) < 2:
        raise KitsolveError(
            f"the runs {', '.join(names)} have {len(shared)} out-of-fold rows in common.",
            hint=f"train the folds that one of them lacks: `kitsolve train {slug} --run {names[-1]}`.",
        )
    targets = subject.targets_of(shared)
    return Pool(
        judge=subject.judge,
        activation=subject.targets.activation,
        runs=names,
        targets=targets,
        folds=folds if len(np.unique(folds)) > 1 else deal_rows(targets, PARTS, seed=SEED),
        outputs=outputs,
    )


def rate_blends(pool: Pool, *, method: str = "auto") -> BlendReport:
    """Score the mean and `method`, or all methods that these outputs allow, and choose.

    Raises:
        KitsolveError: the method is not known, or not for these outputs.
    """
    judge, metric = pool.judge, pool.judge.metric
    honest = {name: _predict_honestly(pool, name) for name in _methods_of(pool, method)}
    singles = [decode_out_of_fold(judge, pool.targets, outputs, pool.folds) for outputs in pool.outputs]
    candidates = [_rate(pool, name, honest[name], honest["mean"]) for name in honest]
    chosen = choose(candidates, metric) if method == "auto" else candidates[-1]
    return BlendReport(
        metric=judge.name,
        rows=len(pool.targets),
        singles={run: metric.score(pool.targets, single) for run, single in zip(pool.runs, singles, strict=True)},
        candidates=candidates,
        correlation=correlate(pool.outputs).tolist(),
        chosen=_mix(pool, chosen.method, np.arange(len(pool.targets)))[0],
        gain=_sign(metric) * (chosen.honest - metric.score(pool.targets, _take_best(pool, singles))),
    )


def _methods_of(pool: Pool, method: str) -> list[str]:
    """The mean and `method`, or all that suit the outputs and the metric."""
    dense, num_outputs = not isinstance(pool.outputs[0], csr_array), pool.outputs[0].shape[1]
    suits = {
        "geometric": dense and pool.activation in ("softmax", "sigmoid"),
        "rank": num_outputs <= WIDE and dense and pool.judge.name in ORDER_METRICS,
    }
    known = [name for name in METHODS if suits.get(name, True)]
    if method == "auto":
        return known
    if method not in known:
        unsuited = f"a {method} blend is not for {pool.judge.name} of {num_outputs} outputs ({pool.activation})."
        raise KitsolveError(
            unsuited if method in METHODS else f"there is no blend {method!r}.",
            hint=f"take one of: {nearest(method, ['auto', *known])}.",
        )
    return list(dict.fromkeys(["mean", method]))


def _predict_honestly(pool: Pool, method: str) -> Array:
    """Predictions of each fold by the blend and the decoder that suit the others best."""

    def predict(own: Rows, others: Rows) -> Array:
        _, mixed = _mix(pool, method, others)
        decoder = fit_decoder(pool.judge, pool.targets[others], mixed[others])
        return decode_rows(mixed[own], decoder, pool.judge.metric.wants)

    return _join_folds(pool, predict)


def _take_best(pool: Pool, singles: list[Array]) -> Array:
    """Of the runs' predictions those of the run that is best on the other folds."""

    def take(own: Rows, others: Rows) -> Array:
        # The thresholds behind `single[others]` have seen `own`; to fit them again for each run would take minutes.
        scores = [pool.judge.metric.score(pool.targets[others], single[others]) for single in singles]
        return singles[_best(pool.judge.metric, scores)][own]

    return _join_folds(pool, take)


def _join_folds(pool: Pool, predict: Callable[[Rows, Rows], Array]) -> Array:
    """What `predict` makes of the rows of each fold and those of the others, in the order of the pool."""
    owns = [np.flatnonzero(pool.folds == fold) for fold in np.unique(pool.folds)]
    parts = [predict(own, np.setdiff1d(np.arange(len(pool.folds)), own)) for own in owns]
    return join_rows(owns, parts)


def _mix(pool: Pool, method: str, rows: Rows) -> tuple[Blend, Outputs]:
    """The blend that suits `rows` best, and its outputs for all rows."""
    equal = (1 / len(pool.runs),) * len(pool.runs)
    quantiles = [fit_quantiles(outputs[rows]) for outputs in pool.outputs] if method == "rank" else []
    blend = Blend(pool.runs, method, climb(pool, rows) if method == "weighted" else equal, tuple(quantiles))
    return blend, combine(pool.outputs, blend, activation=pool.activation)


def _rate(pool: Pool, method: str, honest: Array, mean: Array) -> Candidate:
    """The candidate whose honest predictions these are, beside those of the mean."""
    score, targets, folds = pool.judge.metric.score, pool.targets, np.unique(pool.folds)
    blend, mixed = _mix(pool, method, np.arange(len(targets)))
    fitted = pool.judge.score(targets, mixed, fit_decoder(pool.judge, targets, mixed))
    own = [pool.folds == fold for fold in folds]
    leads = [score(targets[rows], honest[rows]) - score(targets[rows], mean[rows]) for rows in own]
    noise = float(np.std(leads, ddof=1) / np.sqrt(len(folds)))
    return Candidate(method, blend.weights, fitted, score(targets, honest), noise)


def choose(candidates: Sequence[Candidate], metric: Metric) -> Candidate:
    """The best honest score of those that lead the mean, the first candidate, by more than their noise; else the mean.

    A lead that another split into folds may turn round is no reason for what is less plain: the one-standard-error rule
    of Breiman et al. (1984), Classification and Regression Trees.
    """
    mean, sign = candidates[0], _sign(metric)
    leaders = [one for one in candidates[1:] if sign * (one.honest - mean.honest) > one.noise]
    return leaders[_best(metric, [one.honest for one in leaders])] if leaders else mean


def climb(pool: Pool, rows: Rows) -> tuple[float, ...]:
    """Weights by hill climbing on the metric: again and again the run is picked, with replacement, that helps most.

    A run's weight is its share in the picks (Caruana et al. 2004, Ensemble selection from libraries of models), of
    which the last ones that did not help are left out. Outputs are decoded by what suits their equal mean. Equal scores
    are decided by the runs' names, not by their order. Where the equal mean is better on `rows`, of which climbing may
    have looked at a sample, it stands.
    """
    climbed, equal = _climb(pool, _thin(pool, rows)), (1 / len(pool.runs),) * len(pool.runs)
    targets, scores = pool.targets[rows], []
    for weights in (equal, climbed):
        blend = Blend(pool.runs, "weighted", weights)
        mixed = combine([outputs[rows] for outputs in pool.outputs], blend, activation=pool.activation)
        scores.append(pool.judge.score(targets, mixed, fit_decoder(pool.judge, targets, mixed)))
    return equal if pool.judge.metric.is_better(*scores) else climbed


def _climb(pool: Pool, rows: Rows) -> tuple[float, ...]:
    judge, metric = pool.judge, pool.judge.metric
    targets, outputs = pool.targets[rows], [outputs[rows] for outputs in pool.outputs]
    decoder = fit_decoder(judge, targets, reduce(add, outputs) / np.float32(len(outputs)))
    order = sorted(range(len(outputs)), key=lambda run: pool.runs[run])
    total, best, kept = outputs[0] * np.float32(0), metric.worst, 0
    picks: list[int] = []
    # A pick that does not help makes the next step shorter, and that may.
    while len(picks) < min(MOST_PICKS, kept + PATIENCE):
        share = np.float32(1 / (len(picks) + 1))
        scores = [judge.score(targets, (total + outputs[run]) * share, decoder) for run in order]
        found = _best(metric, scores)
        picks.append(order[found])
        total = total + outputs[order[found]]
        if metric.is_better(scores[found], best):
            best, kept = scores[found], len(picks)
    return tuple((np.bincount(picks[:kept], minlength=len(outputs)) / kept).tolist())


def _thin(pool: Pool, rows: Rows) -> Rows:
    """A sample of the rows: it bounds the time, and a few weights do not get better with more.

    A metric of the order lives on rare positives: none is left out.
    """
    if pool.judge.name in ORDER_METRICS:
        return rows
    most = max(MOST_NUMBERS // pool.outputs[0].shape[1], FEWEST_ROWS)
    return rows[sample_rows(pool.targets[rows], most, seed=SEED)]


def _best(metric: Metric, scores: list[float]) -> int:
    """The place of the first of the best scores."""
    return int(np.argmax(_sign(metric) * np.array(scores)))


def _sign(metric: Metric) -> int:
    """1 where greater is better, else -1."""
    return 1 if metric.greater_is_better else -1


def fit_quantiles(outputs: Array) -> tuple[tuple[float, ...], ...]:
    """(outputs, 1001) the values at the shares GRID of each column's sorted rows: what `combine` takes ranks from."""
    places = np.rint(GRID * (len(outputs) - 1)).astype(np.int64)
    return tuple(tuple(column) for column in np.sort(outputs, axis=0)[places].T.tolist())


def correlate(outputs: Sequence[Outputs]) -> Array:
    """(runs, runs) Pearson's correlation over the rows, as the mean over the outputs; 1 where nothing varies.

    Of sparse outputs: over all places where a run has a number.
    """
    if isinstance(outputs[0], csr_array):
        places = reduce(add, outputs).nonzero()
        outputs = [np.asarray(own[places]).reshape(-1, 1) for own in outputs]
    total = seen = np.zeros((len(outputs), len(outputs)))
    for column in range(outputs[0].shape[1]):
        values = np.stack([own[:, column] for own in outputs]).astype(np.float64)
        values[np.ptp(values, axis=1) == 0] = np.nan
        found = np.corrcoef(values)
        total, seen = total + np.nan_to_num(found), seen + np.isfinite(found)
    return np.where(seen > 0, total / np.maximum(seen, 1), 1.0)
