"""`kitsolve export --half`: weights in float16, half as large, and what that changes in the out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.oof import Outputs, stack_parts
from kitsolve.evaluation.runs import ALL, Run
from kitsolve.evaluation.score import blend_oofs, read_subject, score_oof
from kitsolve.inference.bundle import Blend, ModelSpec
from kitsolve.inference.members import load_member
from kitsolve.training.distributed import Machine
from kitsolve.training.job import read_labelled, split_fold
from kitsolve.training.validation import predict_rows
from kitsolve.workspace import Workspace

LARGEST = 0.05
"""How far an output may move, as a share of the range of all outputs: bfloat16 arithmetic alone moves one by 0.03."""


@dataclass(frozen=True)
class HalfDifference:
    """By how much an out-of-fold output changes at most, and the pooled CV with float32 and with float16 weights."""

    largest: float
    cv: float
    cv_half: float


def write_half(source: Path, target: Path) -> None:
    """A state_dict in float16; tensors with numbers that float16 does not reach (above 65,504) stay as they are."""
    halves = {name: _halve(tensor) for name, tensor in load_file(source).items()}
    save_file(halves, target)


def _halve(tensor: torch.Tensor) -> torch.Tensor:
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if half.isfinite().all() else tensor


def measure_half(
    workspace: Workspace,
    members: Sequence[tuple[Run, int, ModelSpec]],
    blend: Blend,
    folder: Path,
    *,
    machine: Machine,
    batch_size: int,
) -> HalfDifference:
    """Predict all validation rows again with the weights in `folder`.

    Args:
        members: run, fold and description of each; those of a run by their folds.

    Raises:
        KitsolveError: an output changes by more than LARGEST.
    """
    runs = list({run.name: run for run, _, _ in members}.values())
    subject = read_subject(workspace, runs[0].competition)
    labelled = read_labelled(workspace, runs[0].competition)
    before = {run.name: subject.read_oof(run) for run in runs}
    parts: dict[str, list[Outputs]] = {run.name: [] for run in runs}
    for run, fold, spec in tqdm(members, desc="float16", unit="fold", leave=False, disable=None):
        if fold != ALL:
            member, data = load_member(spec, folder, machine.device), split_fold(labelled, fold)
            whole = subject.judge.needs_all
            parts[run.name].append(predict_rows(member, data, machine, batch_size=batch_size, whole=whole))
    after = {name: replace(oof, outputs=stack_parts(parts[name])) for name, oof in before.items()}
    largest = max(_largest_change(oof.outputs, after[name].outputs) for name, oof in before.items())
    if largest > LARGEST:
        raise KitsolveError(
            f"with float16 weights an out-of-fold output changes by {largest:.3f}, more than {LARGEST}.",
            hint="export without --half.",
        )
    scores = [score_oof(subject, blend_oofs(subject, list(oofs.values()), blend)).pooled for oofs in (before, after)]
    return HalfDifference(largest, *scores)


def _largest_change(before: Outputs, after: Outputs) -> float:
    """As a share of the range of all outputs."""
    spread = max(float(before.max() - before.min()), 1e-6)
    return float(abs(after - before).max()) / spread
