"""`kitsolve pseudo`: what each fold of a run predicts for the test images, for a next run to learn from.

Fold k's pupil learns from fold k's teacher alone, which has never seen the rows that the pupil is validated on: the CV
score of the next run stays honest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kitsolve.data.cache import encode_paths
from kitsolve.data.features import fit_features
from kitsolve.data.fetch import read_train_table
from kitsolve.data.stored import read_table
from kitsolve.errors import KitsolveError, translated
from kitsolve.evaluation.classes import check_classes
from kitsolve.evaluation.fold_files import WEIGHTS, check_weights
from kitsolve.evaluation.lineage import check_teacher
from kitsolve.evaluation.oof import Oof, Outputs, iter_dense, read_outputs, stack_outputs, write_oof
from kitsolve.evaluation.runs import ALL, Run, find_pseudo, folds_of, read_run
from kitsolve.inference.bundle import file_sha256
from kitsolve.inference.ensemble import one_member
from kitsolve.inference.loop import iter_probs
from kitsolve.inference.members import load_member
from kitsolve.inference.testset import encode_features
from kitsolve.provenance import list_changes
from kitsolve.training.distributed import Machine
from kitsolve.training.job import FoldData, Labelled, fold_spec, read_labelled
from kitsolve.workspace import Workspace, digest, read_json, write_csv, write_sealed


@dataclass(frozen=True)
class Pseudo:
    """What was written: how many of the test images each fold's teacher is sure enough about."""

    folder: str
    test_rows: int
    kept: dict[int, int]


@dataclass(frozen=True)
class TestImages:
    """The rows of test.csv."""

    image_ids: pd.Index
    paths: NDArray[np.bytes_]
    features: NDArray[np.float32] | None


def make_pseudo(workspace: Workspace, run: Run, machine: Machine, *, min_confidence: float = 0.0) -> Pseudo:
    """Predict the test images with every fold of a run.

    Args:
        min_confidence: rows below it are left out, in [0, 1]; see `rate_confidence`.

    Raises:
        KitsolveError: a fold is missing, a regression is asked for its confidence, or the run was made on other folds.
    """
    labelled = read_labelled(workspace, run.competition)
    slug, targets = run.competition.slug, labelled.targets
    check_classes(run, targets.names)
    if min_confidence and targets.task == "regression":
        raise KitsolveError("a regression has no confidence.", hint="leave --min-confidence out.")
    folds = sorted(set(labelled.folds.tolist()))
    lacking = [fold for fold in folds if not run.fold_is_done(fold)]
    if lacking:
        raise KitsolveError(
            f"fold {lacking[0]} of {run.name} is not trained.", hint=f"run `kitsolve train {slug} --run {run.name}`."
        )
    check_teacher(run, pd.Series(labelled.folds, index=labelled.image_ids))
    images, folder, kept = read_test_images(workspace, run), workspace.pseudo(slug, run.name), {}
    (folder / "pseudo.json").unlink(missing_ok=True)  # a kill leaves no labels of two teachers
    for fold in folds:
        outputs = _predict(run, fold, labelled, images, machine)
        sure = np.flatnonzero(rate_confidence(outputs, activation=targets.activation) >= min_confidence)
        oof = Oof(images.image_ids[sure], np.full(len(sure), fold), outputs[sure])
        write_oof(folder / f"fold_{fold}.csv", oof, targets.output_names)
        kept[fold] = len(sure)
    if not any(kept.values()):
        raise KitsolveError(
            f"no prediction of run {run.name} reaches the confidence {min_confidence:g}.",
            hint="lower --min-confidence.",
        )
    theirs = folds_of(run)
    write_csv(folder / "folds.csv", pd.DataFrame({"image_id": theirs.index, "fold": theirs.to_numpy()}))
    content = digest(*(folder / f"fold_{fold}.csv" for fold in folds))
    tables = digest(workspace.tables(slug) / "folds.csv")
    made: dict[str, Any] = {"folds_sha256": tables, "sha256": content, "folds": folds, "teacher_started": run.started}
    made |= {"made_from": _hash_sources(workspace, run, folds)}
    write_sealed(folder / "pseudo.json", made)
    return Pseudo(str(folder), len(images.image_ids), kept)


def _hash_sources(workspace: Workspace, teacher: Run, folds: Sequence[int]) -> dict[str, str]:
    """What pseudo-labels are made from: the test table, and the weights of each fold."""
    weights = {f"the weights of fold {fold}": file_sha256(teacher.fold(fold) / WEIGHTS) for fold in folds}
    return {"test.csv": file_sha256(workspace.tables(teacher.competition.slug) / "test.csv"), **weights}


def read_test_images(workspace: Workspace, run: Run) -> TestImages:
    """The test images as tables and raw files hold them now."""
    slug, raw = run.competition.slug, workspace.raw(run.competition.slug)
    test = read_table(workspace, slug, "test.csv")
    names = run.competition.train.features
    features = encode_features(test, fit_features(read_train_table(workspace, slug), names)) if names else None
    return TestImages(pd.Index(test.image_id), encode_paths([f"{raw}/{path}" for path in test.path]), features)


def _predict(run: Run, fold: int, labelled: Labelled, images: TestImages, machine: Machine) -> Outputs:
    num_features = 0 if images.features is None else images.features.shape[1]
    check_weights(run, fold)
    spec = fold_spec(run, fold, labelled.targets, num_features=num_features)
    member = load_member(spec, run.fold(fold), machine.device)
    with translated(f"run `kitsolve fetch {run.competition.slug} --force`."):
        batches = iter_probs(
            [one_member(member, machine.device, batch_size=64)],
            [os.fsdecode(path) for path in images.paths],
            features=images.features,
            workers=max(1, machine.workers),
        )
        return stack_outputs(batches, whole=labelled.judge.needs_all)


def rate_confidence(outputs: Outputs, *, activation: str) -> NDArray[np.float64]:
    """(rows,) the probability of the most probable class; of labels that stand alone, that of the least sure answer."""
    rated = []
    for _, part in iter_dense(outputs):
        rated.append(part.max(axis=1) if activation == "softmax" else np.maximum(part, 1 - part).min(axis=1))
    return np.concatenate(rated)


def add_pseudo(workspace: Workspace, run: Run, data: FoldData) -> FoldData:
    """The fold with the test images that its teacher is sure about, and what that says of them, to learn from.

    Raises:
        KitsolveError: there are no pseudo-labels of that run, they are damaged, or what they are made from has changed.
    """
    name, slug = run.recipe.pseudo, run.competition.slug
    assert name is not None
    known = read_json(find_pseudo(workspace, slug, name), hint=f"run `kitsolve pseudo {slug} {name}`.")
    _check_labels(workspace, slug, name, known)
    images = read_test_images(workspace, run)
    teachers = known["folds"] if data.fold == ALL else [data.fold]
    outputs, rows = _read_labels(workspace, run, teachers, images, data.targets.output_names)
    beside, first = images.features, len(data.image_ids)
    return replace(
        data,
        image_ids=data.image_ids.append(images.image_ids[rows]),
        paths=np.concatenate([data.paths, images.paths[rows]]),
        learned=_join_labels(data.learned, outputs),
        features=None if data.features is None or beside is None else np.concatenate([data.features, beside[rows]]),
        train=np.concatenate([data.train, np.arange(first, first + len(rows))]),
    )


def _check_labels(workspace: Workspace, slug: str, name: str, known: dict[str, Any]) -> None:
    """Raise KitsolveError where pseudo-labels are not as they were written, or their sources are others now."""
    hint, folder = f"run `kitsolve pseudo {slug} {name}`.", workspace.pseudo(slug, name)
    files = [folder / f"fold_{fold}.csv" for fold in known["folds"]]
    if not all(path.is_file() for path in files) or digest(*files) != known["sha256"]:
        raise KitsolveError(f"the pseudo-labels of run {name} in {folder} were changed or damaged.", hint)
    teacher = workspace.runs(slug) / name
    if "made_from" not in known or not (teacher / "run.json").is_file():
        return  # an older version has made them, or the teacher is gone: its labels are as good as before
    there = [fold for fold in known["folds"] if (teacher / f"fold_{fold}" / WEIGHTS).is_file()]
    present = _hash_sources(workspace, read_run(teacher), there)
    changed = [what for what in list_changes(known["made_from"], present) if what in present]
    if changed:
        problem = f"{', '.join(changed)} changed after the pseudo-labels of run {name} were made."
        raise KitsolveError(problem, hint)


def _read_labels(
    workspace: Workspace, run: Run, teachers: list[int], images: TestImages, names: tuple[str, ...]
) -> tuple[Outputs, NDArray[np.int64]]:
    """The mean of the teachers' outputs for the test rows that all of them are sure about, and these rows."""
    assert run.recipe.pseudo is not None
    folder = workspace.pseudo(run.competition.slug, run.recipe.pseudo)
    held = [read_outputs(folder / f"fold_{teacher}.csv", names) for teacher in teachers]
    ids = held[0][0]
    for others, _ in held[1:]:
        ids = ids[ids.isin(others)]
    total = sum(outputs[own.get_indexer(ids)] for own, outputs in held)
    rows = images.image_ids.get_indexer(ids)
    if (rows < 0).any():
        raise KitsolveError(
            f"{(rows < 0).sum()} pseudo-labelled images are not in test.csv, first: {ids[rows < 0][0]!r}.",
            hint=f"run `kitsolve pseudo {run.competition.slug} {run.recipe.pseudo}`.",
        )
    return total / np.float32(len(held)), rows


def _join_labels(learned: NDArray[np.generic], outputs: Outputs) -> NDArray[np.generic]:
    """Labels and pseudo-labels below each other: soft, but of sparse outputs the most probable classes."""
    if isinstance(outputs, csr_array) and learned.ndim == 2:
        outputs = outputs.toarray()
    if isinstance(outputs, csr_array):
        return np.concatenate([learned, np.asarray(outputs.argmax(axis=1)).ravel()])
    if learned.ndim == 1:
        learned = np.eye(outputs.shape[1], dtype=np.float32)[learned]
    return np.concatenate([learned.astype(np.float32), outputs.astype(np.float32)])
