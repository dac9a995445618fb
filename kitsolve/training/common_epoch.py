"""`best_epoch = "common"`: one epoch for all folds, chosen by their mean score when all of them are trained.

Until then every fold keeps the state_dicts of all its epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import ALL, Run, name_fold
from kitsolve.metrics import Metric
from kitsolve.training.checkpoint import TrainState, save_best
from kitsolve.training.distributed import Machine, share
from kitsolve.training.epochs import rank_epoch
from kitsolve.training.finish import finish_fold
from kitsolve.training.job import FoldJob, Labelled
from kitsolve.training.settle import settle_fold
from kitsolve.training.soup import ingredient
from kitsolve.training.validation import BEST, LAST
from kitsolve.workspace import Workspace, locked, read_csv, read_json, write_bytes, write_json

TRAINED = "trained.json"
"""A fold has it when all its epochs are done; it waits for the others."""


def keep_epoch(job: FoldJob, state: TrainState) -> None:
    """Keep the newest epoch's state_dict where the epoch is chosen for all folds."""
    if job.recipe.best_epoch == "common" and job.machine.leads:
        save_best(state.evaluated, ingredient(job.folder, len(state.history) - 1))


def is_waiting(run: Run, fold: int) -> bool:
    """Whether a fold has trained all its epochs and waits for the choice."""
    return (run.fold(fold) / TRAINED).is_file()


def mark_trained(job: FoldJob, *, seconds: float) -> None:
    """Let the fold wait for the others."""
    if job.machine.leads:
        write_json(job.folder / TRAINED, {"seconds": round(seconds, 1)})


def finish_together(workspace: Workspace, run: Run, labelled: Labelled, machine: Machine) -> None:
    """Choose the epoch of all folds, and finish each with its state_dict of that epoch.

    Raises:
        KitsolveError: a fold is not trained yet.
    """
    folds = sorted(set(labelled.folds.tolist()))
    epoch = share(lambda: choose_epoch(run, folds, labelled.judge.metric), machine)
    waiting = [fold for fold in (*folds, ALL) if is_waiting(run, fold) and not run.fold_is_done(fold)]
    for fold in share(lambda: waiting, machine):
        doing = f"finishing fold {name_fold(fold)} of run {run.name}"
        with locked(run.lock(fold), doing=doing) if machine.leads else nullcontext():
            take_epoch(settle_fold(workspace, run, labelled, fold, machine=machine), epoch)


def choose_epoch(run: Run, folds: Sequence[int], metric: Metric) -> int:
    """The 0-based epoch, of those that all folds have, whose mean score is best; between equal ones the mean loss.

    Raises:
        KitsolveError: a fold is not trained yet.
    """
    lacking = [str(fold) for fold in folds if not is_waiting(run, fold)]
    if lacking:
        raise KitsolveError(
            f"fold{'s' * (len(lacking) > 1)} {', '.join(lacking)} of run {run.name} must be trained before an epoch "
            'can be chosen for all of them (best_epoch = "common"); those that are trained wait.',
            hint=f"run `kitsolve train {run.competition.slug} --run {run.name}`.",
        )
    histories = [_read_history(run.fold(fold) / "history.csv") for fold in folds]
    means = [
        {name: float(np.mean([line[name] for line in lines])) for name in ("score", "val_loss")}
        for lines in zip(*histories, strict=False)  # where the time was over, a fold has fewer
    ]
    return min(range(len(means)), key=lambda epoch: rank_epoch(metric, means[epoch]))


def _read_history(path: Path) -> list[dict[str, float]]:
    """Score and validation loss of each epoch, to the last bit: pandas' own parser is not that exact."""
    table = read_csv(path)
    columns = {name: [float(cell or "nan") for cell in table[name]] for name in ("score", "val_loss")}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def take_epoch(job: FoldJob, epoch: int) -> None:
    """Finish a fold with its state_dict of this epoch, or of its last one where it ended before."""
    last = max(int(path.stem.removeprefix("epoch_")) for path in job.folder.glob("epoch_*.safetensors"))
    chosen = min(epoch, last)
    if job.machine.leads:
        write_bytes(job.folder / BEST, ingredient(job.folder, chosen).read_bytes())
        if chosen != last:
            write_bytes(job.folder / LAST, ingredient(job.folder, last).read_bytes())
    finish_fold(job, epoch=chosen, seconds=read_json(job.folder / TRAINED)["seconds"])
