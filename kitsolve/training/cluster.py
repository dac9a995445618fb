"""`kitsolve train SLUG --ray`: folds side by side on several GPUs or machines; Ray is the scheduler.

Every machine needs the same root folder with the fetched data. What a fold leaves comes back with its result, so that
the disk need not be a shared one; where it is, a fold whose machine died goes on from its checkpoint.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.classes import keep_classes
from kitsolve.evaluation.lineage import check_lineage
from kitsolve.evaluation.runs import Run, name_fold, read_run, record_run
from kitsolve.evaluation.score import CvScore, score_run
from kitsolve.training.backbones import build_backbone
from kitsolve.training.distributed import Machine
from kitsolve.training.fold import check_unused, choose_folds, drop_fold, train_folds
from kitsolve.training.job import Settled, choose_machine, read_labelled
from kitsolve.training.limit import check_limit
from kitsolve.training.settle import settle_fold, write_settled
from kitsolve.workspace import Workspace, write_bytes

RETRIES = 3
"""How often a fold is started again after its machine has died."""


def train_on_ray(
    workspace: Workspace, run: Run, folds: Sequence[int], *, address: str, workers: int | None, force: bool = False
) -> CvScore:
    """Train the folds as Ray tasks, one each, with a GPU where the cluster has some.

    Args:
        folds: those to train; none: all.
        address: of a cluster; "local": this machine.
        force: train them anew where they are done.

    Raises:
        KitsolveError: Ray is not installed or not there, or what stopped a fold.
    """
    ray = _import_ray()
    labelled = read_labelled(workspace, run.competition)
    run = keep_classes(run, labelled.targets)
    wanted = choose_folds(run, labelled, folds, force=force)
    check_lineage(workspace, run, pd.Series(labelled.folds, index=labelled.image_ids), wanted, quiet=False)
    check_limit(run, wanted, math.inf)
    check_unused(run)
    if run.recipe.batch_size == "auto":
        raise KitsolveError("machines of a cluster may find different batch sizes.", hint="--set batch_size=NUMBER.")
    if run.recipe.best_epoch == "common":
        raise KitsolveError(
            'best_epoch = "common" chooses when all folds are on one machine, and --ray spreads them.',
            hint="leave --ray out, or --set best_epoch=last.",
        )
    if not wanted:
        return score_run(workspace, run)
    plan = settle_fold(workspace, run, labelled, wanted[0], machine=Machine(torch.device("cpu"), 0))
    build_backbone(run.recipe, plan.architecture)  # a mistake shows here, not on every machine
    record_run(workspace, run)
    run = replace(run, started=read_run(run.folder).started)  # another process may have begun it first
    for fold in wanted if force else ():
        drop_fold(run, fold)
    write_settled(run, plan.settled)
    _connect(ray, address)
    try:
        task = ray.remote(_train_elsewhere).options(max_retries=RETRIES, num_cpus=1, num_gpus=_gpus(ray))
        running = {task.remote(str(workspace.root), run, fold, plan.settled, workers): fold for fold in wanted}
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            fold = running.pop(done)
            _store(run.fold(fold), _result(ray, done, fold))
            tqdm.write(f"fold {name_fold(fold)} is done", file=sys.stderr)
    finally:
        ray.shutdown()
    return score_run(workspace, run)


def _import_ray() -> Any:  # noqa: ANN401  (a module)
    try:
        import ray
    except ImportError as error:
        raise KitsolveError("Ray is not installed.", hint='pip install "kitsolve[ray]"') from error
    return ray


def _connect(ray: Any, address: str) -> None:  # noqa: ANN401
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=True, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise KitsolveError(
            f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}",
            hint="start one with `ray start --head`, or leave the address out for this machine.",
        ) from error


def _gpus(ray: Any) -> int:  # noqa: ANN401
    """GPUs of a task: one, where the cluster has any."""
    return min(1, int(ray.cluster_resources().get("GPU", 0)))


def _result(ray: Any, reference: Any, fold: int) -> dict[str, bytes]:  # noqa: ANN401
    try:
        files: dict[str, bytes] = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, KitsolveError):
            raise cause from error
        raise
    except ray.exceptions.RayError as error:
        raise KitsolveError(
            f"fold {name_fold(fold)} died {RETRIES + 1} times: {str(error).splitlines()[0]}",
            hint="look at the free memory of the machines; the same command goes on with what is done.",
        ) from error
    return files


def _train_elsewhere(root: str, run: Run, fold: int, settled: Settled, workers: int | None) -> dict[str, bytes]:
    """Train one fold on the machine where this runs; gives the fold's files but its checkpoint."""
    workspace = Workspace(Path(root))
    record_run(workspace, run)
    write_settled(run, settled)
    if not run.fold_is_done(fold):
        train_folds(workspace, run, [fold], choose_machine("auto", workers))
    return {path.name: path.read_bytes() for path in run.fold(fold).iterdir() if path.suffix != ".pt"}


def _store(folder: Path, files: dict[str, bytes]) -> None:
    """Write what a fold left where it is not there already, fold.json last."""
    for name in sorted(files, key=lambda name: name == "fold.json"):
        if not (folder / name).is_file():
            write_bytes(folder / name, files[name])
