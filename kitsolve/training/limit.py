"""A time limit is a choice of the run: what was planned for one is not gone on with under another, or under none."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import ALL, Run, is_recorded
from kitsolve.settings import format_duration
from kitsolve.training.job import Settled
from kitsolve.training.settle import read_settled


def check_limit(run: Run, folds: Sequence[int], limit_s: float) -> None:
    """Compare a time limit with the one that the run was planned for; a plan that nothing was trained by goes.

    What has all epochs goes on without a limit, and so does the fold of all rows, which follows the plan of the others.

    Args:
        folds: those that are left to train.
        limit_s: infinite: none was given.

    Raises:
        KitsolveError: the folds would be trained for different numbers of epochs.
    """
    plan = read_settled(run) if is_recorded(run) else None
    if plan is None or not folds:
        return
    given = limit_s if math.isfinite(limit_s) else None
    short = plan.epochs < run.recipe.epochs
    older = short and plan.limit_s is None  # an older version kept no limit
    if given == plan.limit_s and not older or (given is None and not short) or (older and given is not None):
        return
    if not _has_begun(run):
        (run.folder / "plan.json").unlink()
        return
    if given is None and list(folds) == [ALL]:
        tqdm.write(f"the fold of all rows follows the plan of run {run.name}: {_describe(run, plan)}", file=sys.stderr)
        return
    raise _refuse(run, plan)


def _has_begun(run: Run) -> bool:
    """Whether a fold was trained by the plan, or a part of one."""
    return any(True for name in ("last.pt", "previous.pt", "fold.json") for _ in run.folder.glob(f"fold_*/{name}"))


def _describe(run: Run, plan: Settled) -> str:
    limit = "no --time-limit" if plan.limit_s is None else f"--time-limit {format_duration(plan.limit_s)}"
    return f"{plan.epochs:.3g} of {run.recipe.epochs} epochs, for {limit}"


def _refuse(run: Run, plan: Settled) -> KitsolveError:
    command = f"kitsolve train {run.competition.slug} --run {run.name}"
    same = command if plan.limit_s is None else f"{command} --time-limit {format_duration(plan.limit_s)}"
    if plan.limit_s is None and plan.epochs < run.recipe.epochs:
        same = f"{command} --time-limit …"
    return KitsolveError(
        f"run {run.name} was planned with {_describe(run, plan)}; folds of different lengths cannot be mixed.",
        hint=f"go on with that plan: `{same}`; or train it anew with another one: add --force.",
    )
