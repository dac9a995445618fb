"""What a fold trains on and with: all that is settled before its first step and stays the same."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from kitsolve.config import Competition
from kitsolve.data.augment import MakeAugmentation, find_augmentation
from kitsolve.data.cache import ScaledImages, encode_paths
from kitsolve.data.dataset import BatchSchedule, Look, derive_seed
from kitsolve.data.features import fit_features
from kitsolve.data.targets import Targets
from kitsolve.errors import KitsolveError, translated
from kitsolve.evaluation.decoding import Judge
from kitsolve.evaluation.runs import ALL, Run
from kitsolve.evaluation.score import read_subject
from kitsolve.inference.bundle import Architecture, ModelSpec, Preprocessing
from kitsolve.inference.devices import (
    choose_device,
    choose_dtype,
    has_bfloat16,
    keep_memory,
    limit_threads,
    usable_cores,
)
from kitsolve.inference.testset import encode_features
from kitsolve.recipe import Recipe
from kitsolve.training.backbones import find_architecture, find_preprocessing
from kitsolve.training.distributed import Machine, is_launched, join_group
from kitsolve.training.losses import LossChoices, balance_classes
from kitsolve.workspace import Workspace


@dataclass(frozen=True)
class Labelled:
    """The train table, encoded once for all folds.

    `paths`: of the images, see data.cache.ScaledImages. `learned`: see Targets. `features`: (rows, numbers) float32
    for models that take them beside the image. `folds`: (rows,).
    """

    image_ids: pd.Index
    paths: NDArray[np.bytes_]
    targets: Targets
    learned: NDArray[np.generic]
    features: NDArray[np.float32] | None
    folds: NDArray[np.int64]
    judge: Judge


@dataclass(frozen=True)
class FoldData:
    """The images of a competition as one fold sees them: `train` and `val` are rows.

    The rows of the train table come first; where pseudo-labels are learned, those of the test table follow.
    """

    fold: int
    image_ids: pd.Index
    paths: NDArray[np.bytes_]
    targets: Targets
    learned: NDArray[np.generic]
    features: NDArray[np.float32] | None
    train: NDArray[np.int64]
    val: NDArray[np.int64]

    @property
    def val_paths(self) -> list[str]:
        """The validation images, in the order of `val`."""
        return [os.fsdecode(path) for path in self.paths[self.val]]

    @property
    def num_features(self) -> int:
        """The numbers beside the image."""
        return 0 if self.features is None else self.features.shape[1]


@dataclass(frozen=True)
class Settled:
    """What a recipe leaves to the machine, settled once for all folds of a run.

    `cache`: the format of the cache. `epochs`: fewer than the recipe's where the time does not suffice, and then
    perhaps a part of one. `limit_s`: the time limit that was planned for; None: none.
    """

    batch_size: int
    cache: str
    epochs: float
    limit_s: float | None = None


@dataclass(frozen=True)
class FoldJob:
    """All that stays the same while a fold trains."""

    run: Run
    data: FoldData
    judge: Judge
    machine: Machine
    settled: Settled
    seed: int
    dtype: torch.dtype
    architecture: Architecture
    preprocessing: Preprocessing
    augmentation: MakeAugmentation

    @property
    def recipe(self) -> Recipe:
        """The choices."""
        return self.run.recipe

    @property
    def activation(self) -> str:
        """What makes the logits outputs."""
        return find_activation(self.recipe, self.data.targets)

    @property
    def images(self) -> ScaledImages:
        """The images as files."""
        return ScaledImages(self.data.paths, self.preprocessing)

    @property
    def least_rows(self) -> int:
        """The fewest rows that go through the model at once: arcface's head normalises over them."""
        return 2 if self.recipe.loss == "arcface" else 1

    @cached_property
    def loss(self) -> LossChoices:
        """What the training minimises."""
        recipe = self.recipe
        return LossChoices(self.activation, recipe.loss, recipe.label_smoothing, self.weights, recipe.margin)

    @cached_property
    def weights(self) -> torch.Tensor | None:
        """(outputs,) float32 weights of the classes in the loss, on the device; None: all alike."""
        if self.recipe.class_weights == "none":
            return None
        balanced = balance_classes(self._labels, len(self.data.targets.output_names))
        return torch.from_numpy(balanced).to(self.machine.device)

    @cached_property
    def shares(self) -> np.ndarray | None:
        """(train rows,) how often each is drawn, so that all classes come alike often; None: each once an epoch."""
        if self.recipe.sampler == "uniform":
            return None
        of_row = 1 / np.bincount(self._labels)[self._labels]
        return np.asarray(of_row / of_row.sum())

    @property
    def _labels(self) -> NDArray[np.generic]:
        """The train rows' classes, or their sets of labels."""
        learned = self.data.learned[self.data.train]
        softmax = self.data.targets.activation == "softmax"
        return learned.argmax(axis=1) if softmax and learned.ndim == 2 else learned

    @property
    def folder(self) -> Path:
        """Where the fold's files go."""
        return self.run.fold(self.data.fold)

    @property
    def image_hint(self) -> str:
        """What repairs an image that cannot be read."""
        return f"run `kitsolve fetch {self.run.competition.slug} --force`."

    @property
    def look(self) -> Look:
        """What the training makes of its images."""
        recipe = self.recipe
        sizes = tuple((size, size) for size in recipe.train_sizes) or (recipe.size,)
        return Look(
            self.augmentation, sizes, self.epochs, ramp=recipe.augment_ramp_epochs, off=recipe.augment_off_epochs
        )

    @property
    def epochs(self) -> int:
        """How many there are, the last one perhaps not whole."""
        return math.ceil(self.settled.epochs)

    def schedule(self, first_step: int = 0) -> BatchSchedule:
        """The batches from `first_step` on; of several processes this one's part of each."""
        size = min(self.settled.batch_size, len(self.data.train))
        return BatchSchedule(
            self.data.train,
            batch_size=size,
            total_steps=max(1, round(self.settled.epochs * (len(self.data.train) // size))),
            seed=self.seed,
            first_step=first_step,
            shares=self.shares,
            part=(self.machine.rank, self.machine.world),
        )


def choose_machine(device: str = "auto", workers: int | None = None) -> Machine:
    """The device by name and the number of loading processes, by default what suits the device.

    Of processes that torchrun started each has its own GPU.

    Raises:
        KitsolveError: torch cannot use that device here.
    """
    with translated("take --device cpu or auto; `nvidia-smi` shows whether the driver sees a GPU."):
        chosen = choose_device(device)
    keep_memory(chosen)
    rank, world = 0, 1
    if is_launched():
        chosen, rank, world = join_group(chosen.type)
    limit_threads(world)
    cores = usable_cores() // world
    return Machine(chosen, choose_workers(chosen.type, cores) if workers is None else workers, rank, world)


def choose_workers(device_type: str, cores: int) -> int:
    """Loading processes: one a core but the first, at most 8; on the CPU only a quarter of the cores.

    There every process takes a core from the arithmetic: on 2 cores one of them made training 3 to 10 % slower.
    """
    return max(0, min(8, cores // 4 if device_type == "cpu" else cores - 1))


def read_labelled(workspace: Workspace, competition: Competition) -> Labelled:
    """The train table of a competition."""
    subject, raw = read_subject(workspace, competition), workspace.raw(competition.slug)
    train, targets = subject.train, subject.targets
    features = fit_features(train, competition.train.features)
    return Labelled(
        image_ids=pd.Index(train.image_id),
        paths=encode_paths([f"{raw}/{path}" for path in train.path]),
        targets=targets,
        learned=targets.learned,
        features=encode_features(train, features) if features else None,
        folds=train.fold.to_numpy(dtype=np.int64),
        judge=subject.judge,
    )


def split_fold(labelled: Labelled, fold: int) -> FoldData:
    """The rows of a fold's validation, and those of the others to learn from."""
    return FoldData(
        fold=fold,
        image_ids=labelled.image_ids,
        paths=labelled.paths,
        targets=labelled.targets,
        learned=labelled.learned,
        features=labelled.features,
        train=np.flatnonzero((labelled.folds != fold) & labelled.targets.known),
        val=np.flatnonzero(labelled.folds == fold),
    )


def plan_fold(
    workspace: Workspace, run: Run, data: FoldData, judge: Judge, *, machine: Machine, settled: Settled
) -> FoldJob:
    """Settle what the recipe leaves to the task and the backbone.

    Raises:
        KitsolveError: a choice that the task does not have.
    """
    recipe, channels = run.recipe, run.competition.image.channels
    check_choices(recipe, data.targets)
    check_division(min(settled.batch_size, len(data.train)), machine.world)
    return FoldJob(
        run=run,
        data=data,
        judge=judge,
        machine=machine,
        settled=settled,
        seed=derive_seed(recipe.seed, data.fold if data.fold != ALL else ALL_SEED),
        dtype=choose_dtype(recipe.precision, machine.device.type, has_bfloat16=has_bfloat16(machine.device)),
        architecture=find_architecture(recipe, data.targets, channels=channels, num_features=data.num_features),
        preprocessing=find_preprocessing(recipe, run.competition.image),
        augmentation=find_augmentation(workspace, run.competition.slug, recipe.augment, channels),
    )


def check_division(batch_size: int, processes: int) -> None:
    """Raise KitsolveError where processes would get different numbers of rows."""
    if batch_size % processes:
        fewer = batch_size // processes * processes
        raise KitsolveError(
            f"a batch of {batch_size} cannot be divided among {processes} processes.",
            hint=f"--set batch_size={fewer}." if fewer > 1 else "train with fewer --gpus.",
        )


ALL_SEED = 1_000_000
"""Stands for the fold of all rows where its seed is derived."""


def check_choices(recipe: Recipe, targets: Targets) -> None:
    """Raise KitsolveError for a choice that the task does not have."""
    single = targets.activation == "softmax"
    odd = [
        ("sampler", recipe.sampler, "balanced", single),
        ("class_weights", recipe.class_weights, "balanced", single or targets.task == "multilabel"),
        ("loss", recipe.loss, "focal", targets.task != "regression"),
        ("loss", recipe.loss, "smooth_l1", targets.task in ("regression", "ordinal")),
        ("loss", recipe.loss, "corn", targets.task == "ordinal"),
        ("loss", recipe.loss, "arcface", single),
    ]
    for name, given, value, fits in odd:
        if given == value and not fits:
            raise KitsolveError(f"{name} = {value!r} does not fit task = {targets.task!r}.", f"leave {name} out.")


def find_activation(recipe: Recipe, targets: Targets) -> str:
    """What makes the model's logits outputs: the task's way, or that of its loss."""
    return "corn" if recipe.loss == "corn" else targets.activation


def fold_spec(run: Run, fold: int, targets: Targets, *, num_features: int = 0) -> ModelSpec:
    """The best state_dict of a fold as a bundle describes it, which adds the sha256."""
    channels = run.competition.image.channels
    return ModelSpec(
        architecture=find_architecture(run.recipe, targets, channels=channels, num_features=num_features),
        activation=find_activation(run.recipe, targets),
        preprocessing=find_preprocessing(run.recipe, run.competition.image),
        views=run.recipe.views,
        precision=run.recipe.precision,
        file="best.safetensors",
        sha256="",
        run=run.name,
    )
