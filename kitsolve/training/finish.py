"""The end of a fold: its chosen state_dict predicts the validation rows, then the fold is marked done."""

from __future__ import annotations

import sys

from tqdm import tqdm

from kitsolve.evaluation.fold_files import write_fold
from kitsolve.evaluation.runs import name_fold
from kitsolve.training.checkpoint import TrainState, previous_path, save_best
from kitsolve.training.distributed import share
from kitsolve.training.job import FoldJob
from kitsolve.training.oof_score import describe_fold, list_differences, read_epoch_score
from kitsolve.training.soup import drop_ingredients
from kitsolve.training.validation import LAST, write_fold_oof


def chosen_epoch(job: FoldJob, state: TrainState) -> int:
    """The epoch whose state_dict the fold keeps; with a soup, the first that went into it."""
    if job.recipe.best_epoch == "last":
        return len(state.history) - 1
    return max(int(line["epoch"]) for line in state.history if line["best"])


def keep_last_epoch(job: FoldJob, state: TrainState) -> None:
    """Keep what nobody has chosen, the last epoch's state_dict, where the fold's own is another."""
    same = chosen_epoch(job, state) == len(state.history) - 1 and job.recipe.soup == 1
    if job.machine.leads and len(job.data.val) and not same:
        save_best(state.evaluated, job.folder / LAST)


def finish_fold(job: FoldJob, *, epoch: int, seconds: float) -> None:
    """Predict the validation rows with the chosen state_dict as the bundle will, then mark the fold done.

    Args:
        epoch: 0-based, whose state_dict was chosen.
    """
    share(lambda: None, job.machine)  # the first process has written the chosen state_dict
    score = write_fold_oof(job)
    if not job.machine.leads:
        return
    epoch_score = read_epoch_score(job, epoch)
    line = describe_fold(job, epoch=epoch, epoch_score=epoch_score, score=score)
    if line is not None:
        tqdm.write(line, file=sys.stderr)
    said = {"epoch_score": epoch_score, "oof_takes": list_differences(job)}
    values = {"fold": name_fold(job.data.fold), "score": score, "epoch": epoch, "seconds": round(seconds, 1)}
    write_fold(job.folder, values | said)
    for path in (previous_path(job.folder / "last.pt"), job.folder / LAST):
        path.unlink(missing_ok=True)
    drop_ingredients(job.folder)
