"""Runs that nobody has trained: their outputs are made up, more or less right."""

import shutil

import numpy as np
import pandas as pd
import torch
from lookalikes import LOOKALIKES
from safetensors.torch import save_file

from kitsolve.data.fetch import fetch
from kitsolve.evaluation.oof import Oof, stack_outputs, write_oof
from kitsolve.evaluation.runs import Wanted, open_run, record_run
from kitsolve.evaluation.score import score_run
from kitsolve.inference.members import ACTIVATIONS
from kitsolve.inference.models import build_model
from kitsolve.training.backbones import find_architecture
from kitsolve.training.job import read_labelled
from kitsolve.workspace import Workspace, catalogue, write_json

RECIPE = 'backbone = "timm/test_resnet"\npretrained = false\nimage_size = 64\nepochs = 4\n'


def fetch_lookalike(root, slug):
    """The workspace of a shipped competition's look-alike after `kitsolve fetch`."""
    shutil.copytree(catalogue() / slug, root / "competitions" / slug)
    recipes = root / "competitions" / slug / "recipes"
    recipes.mkdir(exist_ok=True)
    (recipes / "baseline.toml").write_text(RECIPE)
    (root / "download").mkdir()
    LOOKALIKES[slug](root / "download")
    workspace = Workspace(root)
    fetch(workspace, slug, source=root / "download")
    return workspace


def make_outputs(targets, rng, *, skill):
    """(rows, outputs) activated, the nearer to the truth the greater the skill."""
    learned = targets.learned
    if targets.task == "regression":
        return (learned + rng.normal(0, 0.2 / skill, learned.shape)).clip(0, 1).astype(np.float32)
    if learned.ndim == 1:  # the unknown label is none of the columns
        learned = np.eye(len(targets.names) + 1, dtype=np.float32)[learned][:, :-1]
    logits = skill * (2.0 * learned - 1) + rng.normal(0, 1.5, learned.shape)
    return ACTIVATIONS[targets.activation](torch.from_numpy(logits.astype(np.float32))).numpy()


def write_run(workspace, slug, *, name="made-up", skill=1.5, seed=0, done=None, overrides=()):
    """A run whose folds are `done`, all where it is None."""
    run = open_run(workspace, Wanted(slug, run_name=name, overrides=tuple(overrides)))
    record_run(workspace, run)
    labelled, rng = read_labelled(workspace, run.competition), np.random.default_rng(seed)
    targets, features = labelled.targets, labelled.features
    outputs = make_outputs(targets, rng, skill=skill)
    torch.manual_seed(seed)
    numbers = 0 if features is None else features.shape[1]
    channels = run.competition.image.channels
    architecture = find_architecture(run.recipe, targets, channels=channels, num_features=numbers)
    model = build_model(architecture, image_size=run.recipe.size)
    for fold in sorted(set(labelled.folds.tolist())) if done is None else done:
        rows = np.flatnonzero(labelled.folds == fold)
        kept = stack_outputs(iter([outputs[rows]]), whole=labelled.judge.needs_all)
        oof = Oof(labelled.image_ids[rows], np.full(len(rows), fold), kept)
        write_oof(run.fold(fold) / "oof.csv", oof, targets.output_names)
        save_file(model.state_dict(), run.fold(fold) / "best.safetensors")
        write_history(run.fold(fold), rng)
        write_json(run.fold(fold) / "fold.json", {"fold": str(fold), "score": 0.5, "epoch": 2, "seconds": 75.0})
    score_run(workspace, run)
    return run


def write_history(folder, rng, *, epochs=4):
    """history.csv of a fold whose third epoch was the best."""
    lines = [
        {
            "epoch": epoch,
            "lr": 1e-3 / (epoch + 1),
            "train_loss": 1 / (epoch + 1) + 0.1 * rng.random(),
            "val_loss": 1.2 / (epoch + 1) + 0.1 * rng.random(),
            "score": 0.5 + 0.1 * min(epoch, 2) + 0.05 * rng.random(),
            "best": epoch < 3,
            "images_per_s": 100.0,
        }
        for epoch in range(epochs)
    ]
    pd.DataFrame(lines).to_csv(folder / "history.csv", index=False)
