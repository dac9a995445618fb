"""What a fold trains on and with: all that is settled before its first step and stays the same."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kitsolve.config import Recipe
from kitsolve.data.dataset import BatchSchedule, derive_seed
from kitsolve.data.features import fit_features
from kitsolve.data.targets import Targets, encode_targets
from kitsolve.errors import KitsolveError, translated
from kitsolve.evaluation.decoding import Judge
from kitsolve.evaluation.runs import Run
from kitsolve.inference import (
    ModelSpec,
    Preprocessing,
    choose_device,
    choose_dtype,
    encode_features,
    file_sha256,
    has_bfloat16,
)
from kitsolve.training.backbones import find_preprocessing
from kitsolve.training.losses import balance_classes
from kitsolve.workspace import Workspace


@dataclass(frozen=True)
class Machine:
    """What computes; on one type of device, none of it changes a result."""

    device: torch.device
    workers: int


@dataclass(frozen=True)
class FoldData:
    """The images of a competition as one fold sees them: `train` and `val` are rows of the table.

    `features`: (rows, numbers) float32 for models that take them beside the image.
    """

    fold: int
    image_ids: pd.Series
    paths: list[Path]
    targets: Targets
    features: np.ndarray | None
    train: np.ndarray
    val: np.ndarray

    @property
    def val_paths(self) -> list[Path]:
        """The validation images, in the order of `val`."""
        return [self.paths[row] for row in self.val]

    @property
    def num_features(self) -> int:
        """The numbers beside the image."""
        return 0 if self.features is None else self.features.shape[1]


@dataclass(frozen=True)
class FoldJob:
    """All that stays the same while a fold trains."""

    run: Run
    data: FoldData
    judge: Judge
    machine: Machine
    seed: int
    dtype: torch.dtype
    preprocessing: Preprocessing

    @property
    def recipe(self) -> Recipe:
        """The choices."""
        return self.run.recipe

    @cached_property
    def weights(self) -> np.ndarray | None:
        """(outputs,) float32 weights of the classes in the loss; None: all alike."""
        targets = self.data.targets
        if self.recipe.class_weights == "none":
            return None
        labels = targets.values if targets.activation == "softmax" else targets.learned
        return balance_classes(labels[self.data.train], len(targets.output_names))

    @cached_property
    def shares(self) -> np.ndarray | None:
        """(train rows,) how often each is drawn, so that all classes come alike often; None: each once an epoch."""
        if self.recipe.sampler == "uniform":
            return None
        values = self.data.targets.values[self.data.train]
        of_row = 1 / np.bincount(values)[values]
        return np.asarray(of_row / of_row.sum())

    @property
    def folder(self) -> Path:
        """Where the fold's files go."""
        return self.run.fold(self.data.fold)

    @property
    def image_hint(self) -> str:
        """What repairs an image that cannot be read."""
        return f"run `kitsolve fetch {self.run.competition.slug} --force`."

    def schedule(self, first_step: int = 0) -> BatchSchedule:
        """The batches from `first_step` on."""
        recipe = self.recipe
        return BatchSchedule(
            self.data.train,
            batch_size=recipe.batch_size,
            epochs=recipe.epochs,
            seed=self.seed,
            first_step=first_step,
            shares=self.shares,
        )


def choose_machine(device: str = "auto", workers: int | None = None) -> Machine:
    """The device by name and the number of loading processes, by default what suits the device.

    Raises:
        KitsolveError: torch cannot use that device here.
    """
    with translated("take --device cpu or auto; `nvidia-smi` shows whether the driver sees a GPU."):
        chosen = choose_device(device)
    return Machine(chosen, choose_workers(chosen.type, os.cpu_count() or 1) if workers is None else workers)


def choose_workers(device_type: str, cores: int) -> int:
    """Loading processes: one a core but the first, at most 8; on the CPU only a quarter of the cores.

    There every process takes a core from the arithmetic: on 2 cores one of them made training 3 to 10 % slower.
    """
    return min(8, cores // 4 if device_type == "cpu" else cores - 1)


def split_fold(workspace: Workspace, run: Run, train: pd.DataFrame, fold: int) -> FoldData:
    """The rows of train.csv, those of `fold` for validation."""
    raw = workspace.raw(run.competition.slug)
    targets = encode_targets(train, run.competition, raw)
    features = fit_features(train, run.competition.train.features)
    return FoldData(
        fold=fold,
        image_ids=train.image_id,
        paths=[raw / path for path in train.path],
        targets=targets,
        features=encode_features(train, features) if features else None,
        train=np.flatnonzero((train.fold != fold) & targets.known),
        val=np.flatnonzero(train.fold == fold),
    )


def plan_fold(run: Run, data: FoldData, judge: Judge, machine: Machine) -> FoldJob:
    """Settle what the recipe leaves to the machine and the backbone.

    Raises:
        KitsolveError: a choice that the task does not have.
    """
    check_choices(run.recipe, data.targets)
    device = machine.device
    return FoldJob(
        run=run,
        data=data,
        judge=judge,
        machine=machine,
        seed=derive_seed(run.recipe.seed, data.fold),
        dtype=choose_dtype(run.recipe.precision, device.type, has_bfloat16=has_bfloat16(device)),
        preprocessing=find_preprocessing(run.recipe, run.competition.image.channels),
    )


def check_choices(recipe: Recipe, targets: Targets) -> None:
    """Raise KitsolveError for a choice that the task does not have."""
    single = targets.activation == "softmax"
    odd = [
        ("sampler", recipe.sampler, "balanced", single),
        ("class_weights", recipe.class_weights, "balanced", single or targets.task == "multilabel"),
        ("loss", recipe.loss, "focal", targets.task != "regression"),
        ("loss", recipe.loss, "smooth_l1", targets.task in ("regression", "ordinal")),
    ]
    for name, given, value, fits in odd:
        if given == value and not fits:
            raise KitsolveError(f"{name} = {value!r} is not for a {targets.task} task.", f"leave {name} out.")


def fold_spec(run: Run, fold: int, targets: Targets, *, num_features: int = 0) -> ModelSpec:
    """The best state_dict of a fold as a member of a bundle."""
    file = "best.safetensors"
    return ModelSpec(
        backbone=run.recipe.backbone,
        num_classes=len(targets.output_names),
        num_features=num_features,
        activation=targets.activation,
        preprocessing=find_preprocessing(run.recipe, run.competition.image.channels),
        tta=run.recipe.tta,
        precision=run.recipe.precision,
        file=file,
        sha256=file_sha256(run.fold(fold) / file),
        weight=1.0,
    )
