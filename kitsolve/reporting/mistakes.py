"""The rows that a run is surest about and wrong, as pictures, and what it looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kitsolve.errors import translated
from kitsolve.evaluation.fold_files import check_weights, retrain_hint
from kitsolve.evaluation.oof import iter_dense
from kitsolve.evaluation.runs import name_fold
from kitsolve.inference.bundle import Preprocessing
from kitsolve.inference.images import normalise, read_as, resize_image
from kitsolve.inference.members import load_model
from kitsolve.reporting.gradcam import explain, overlay
from kitsolve.reporting.html import Html, element, join
from kitsolve.reporting.outcome import Outcome, pick
from kitsolve.reporting.page import Section
from kitsolve.reporting.thumbnails import embed
from kitsolve.training.backbones import find_preprocessing
from kitsolve.training.job import fold_spec

MOST = 12
SAID = {
    "regression": ("Largest residuals", "value is predicted worst", "moves"),
    "ordinal": ("Largest mistakes", "label is predicted farthest off", "moves"),
    "multiclass": ("Surest mistakes", "wrong label the run is surest about", "speaks for"),
}
"""Task, the others as multiclass -> the title, which images there are, and what the heat means."""


@dataclass(frozen=True)
class Mistake:
    """A row, what was predicted and how surely, in words, and the logit that counts, `sign` -1: that it is small.

    `output` None: the sum of all logits.
    """

    row: int
    said: str
    sure: str
    output: int | None
    sign: int = 1


@dataclass(frozen=True)
class Look:
    """An image as the model saw it, (height, width, channels), and where it looked; None: that cannot be told."""

    image: NDArray[np.uint8]
    heat: NDArray[np.float32] | None


def show_mistakes(outcome: Outcome, device: torch.device) -> Section:
    """The images of the surest mistakes, each beside what speaks for the prediction."""
    mistakes = find_mistakes(outcome)
    looks = look_at(outcome, mistakes, device)
    cards = [_draw_card(outcome, mistake, look) for mistake, look in zip(mistakes, looks, strict=True)]
    body = element("div", *cards, class_="cards") if cards else element("p", "No row is wrong.")
    if any(look.heat is None for look in looks):
        said = f"{outcome.run.recipe.backbone} keeps no map of the image: where it looks cannot be told."
        body = join([body, element("p", said, class_="note")])
    title, which, effect = SAID.get(outcome.task, SAID["multiclass"])
    return Section(
        "mistakes",
        title,
        f"The images whose {which}, as the model sees them; beside each what {effect} the prediction: Grad-CAM by the "
        "fold that never saw the row.",
        "Is the label wrong, the image bad, or does the model look at the wrong place: at a frame, a text, the "
        "background? Then crop or augment that away.",
        body,
    )


def find_mistakes(outcome: Outcome) -> list[Mistake]:
    """Up to MOST rows, the surest first; of ordered classes and values those that are farthest off."""
    if outcome.task == "regression":
        return _find_residuals(outcome)
    return _find_wrong_sets(outcome) if outcome.task == "multilabel" else _find_wrong_classes(outcome)


def _find_residuals(outcome: Outcome) -> list[Mistake]:
    residuals = outcome.predicted - outcome.targets.values
    rows = np.argsort(-np.abs(residuals), kind="stable")[:MOST].tolist()
    return [Mistake(row, f"{outcome.predicted[row]:.5g}", f"off by {residuals[row]:+.5g}", output=None) for row in rows]


def _find_wrong_classes(outcome: Outcome) -> list[Mistake]:
    true, predicted, classes = outcome.targets.values, outcome.predicted, len(outcome.targets.names)
    # The unknown label has no probability: rows that are given it are left out, and of those that have it is not told.
    given, own = (pick(outcome.probs, labels.clip(max=classes - 1)) for labels in (predicted, true))
    ordinal = outcome.task == "ordinal"
    rows = np.flatnonzero((predicted != true) & (predicted < classes))
    far = np.abs(predicted - true)[rows] * ordinal
    mistakes = []
    for row in rows[np.lexsort((-given[rows], -far))[:MOST]].tolist():
        sure = f"probability {given[row]:.3f}" + (f", of its label {own[row]:.3f}" if true[row] < classes else "")
        label = int(predicted[row])
        mistakes.append(Mistake(row, outcome.train.names[label], sure, output=None if ordinal else label))
    return mistakes


def _find_wrong_sets(outcome: Outcome) -> list[Mistake]:
    """Of each row the label that is most surely wrong."""
    sure, labels = [], []
    for rows, part in iter_dense(outcome.outputs):
        true, predicted = outcome.targets.values[rows].astype(bool), outcome.predicted[rows]
        wrong = np.where(true != predicted, np.where(predicted, part, 1 - part), -1.0)
        sure.append(wrong.max(axis=1))
        labels.append(wrong.argmax(axis=1))
    surest, label = np.concatenate(sure), np.concatenate(labels)
    mistakes = []
    for row in np.argsort(-surest, kind="stable")[:MOST].tolist():
        if surest[row] >= 0:
            name, has = outcome.targets.names[label[row]], bool(outcome.targets.values[row, label[row]])
            said, sign = (f"not {name}", -1) if has else (name, 1)
            mistakes.append(Mistake(row, said, f"probability {surest[row]:.3f}", int(label[row]), sign))
    return mistakes


# ------------------------------------------------------------------------------------------------ looking


def look_at(outcome: Outcome, mistakes: Sequence[Mistake], device: torch.device) -> list[Look]:
    """What the model of each row's own fold makes of it; the models are loaded one after the other.

    Raises:
        KitsolveError: a state_dict is gone or was changed, or an image is gone.
    """
    looks: dict[int, Look] = {}
    preprocessing = find_preprocessing(outcome.run.recipe, outcome.run.competition.image)
    for fold in sorted({int(outcome.folds[mistake.row]) for mistake in mistakes}):
        model = _load_fold(outcome, fold, device)
        with translated(f"run `kitsolve fetch {outcome.slug} --force`."):
            looks |= {
                mistake.row: _look(outcome, mistake, model, preprocessing)
                for mistake in mistakes
                if outcome.folds[mistake.row] == fold
            }
    return [looks[mistake.row] for mistake in mistakes]


def _load_fold(outcome: Outcome, fold: int, device: torch.device) -> nn.Module:
    """In float32, whatever the recipe's precision: gradients of less are coarse."""
    run, features = outcome.run, outcome.features
    folder = check_weights(run, fold).parent
    with translated(retrain_hint(run, fold)):
        spec = fold_spec(run, fold, outcome.targets, num_features=0 if features is None else features.shape[1])
        return load_model(spec, folder, device)


def _look(outcome: Outcome, mistake: Mistake, model: nn.Module, preprocessing: Preprocessing) -> Look:
    device, features = next(model.parameters()).device, outcome.features
    image = resize_image(read_as(outcome.train.paths[mistake.row], preprocessing), preprocessing)
    batch = normalise(torch.from_numpy(image[None]).to(device), preprocessing)
    beside = None if features is None else torch.from_numpy(features[[mistake.row]]).to(device)
    return Look(image, explain(model, batch, output=mistake.output, sign=mistake.sign, features=beside))


def _draw_card(outcome: Outcome, mistake: Mistake, look: Look) -> Html:
    name, label = outcome.image_id(mistake.row), outcome.label(mistake.row)
    pictures = [embed(look.image, says=name)]
    if look.heat is not None:
        pictures.append(embed(overlay(look.image, look.heat), says=f"{name}: where the model looked"))
    caption = element(
        "figcaption",
        element("b", label),
        " predicted as ",
        element("span", mistake.said, class_="wrong"),
        f" ({mistake.sure})",
        element("small", f"{name}, fold {name_fold(int(outcome.folds[mistake.row]))}"),
    )
    return element("figure", element("div", *pictures, class_="pair"), caption)
