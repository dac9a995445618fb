"""Mixup and cutmix: images of a batch are mixed with others of it, and their targets by the same shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kitsolve.recipe import Recipe


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed with itself: row n keeps the share `kept` and gets the rest from row `order[n]`.

    `box` is what cutmix pastes (top, bottom, left, right, in px), None for mixup.
    """

    kept: float
    order: tuple[int, ...]
    box: tuple[int, int, int, int] | None = None


def draw_mix(
    rng: np.random.Generator, recipe: Recipe, *, epoch: int, epochs: int, rows: int, size: tuple[int, int]
) -> Mix | None:
    """The mix of a batch, or None where it stays as it is.

    mixup: Zhang et al. 2017, arXiv:1710.09412; cutmix: Yun et al. 2019, arXiv:1905.04899. Where a recipe has both,
    each has half of the batches.

    Args:
        epochs: of the whole training.
        size: (height, width) of the images, in px.
    """
    alphas = {name: alpha for name, alpha in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix)) if alpha > 0}
    if not alphas or epoch >= epochs - recipe.mix_off_epochs or rng.random() >= recipe.mix_prob:
        return None
    name = list(alphas)[int(rng.integers(len(alphas)))]
    kept, order = float(rng.beta(alphas[name], alphas[name])), tuple(rng.permutation(rows).tolist())
    if name == "mixup":
        return Mix(kept, order)
    box = _draw_box(rng, kept, size)
    top, bottom, left, right = box
    return Mix(1 - (bottom - top) * (right - left) / (size[0] * size[1]), order, box)


def _draw_box(rng: np.random.Generator, kept: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box of the image's form and the share 1 - `kept` of its area around a random point, cut off at the border."""
    edges = []
    for side in size:
        half, middle = round(side * float(np.sqrt(1 - kept))) / 2, int(rng.integers(0, side))
        edges += [int(max(0, middle - half)), int(min(side, middle + half))]
    top, bottom, left, right = edges
    return top, bottom, left, right


def mix_images(images: Tensor, mix: Mix) -> Tensor:
    """(rows, channels, height, width) mixed; the memory layout stays."""
    others = images[list(mix.order)]
    if mix.box is None:
        return images.lerp(others, 1 - mix.kept)
    top, bottom, left, right = mix.box
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return mixed


def mix_targets(targets: Tensor, mix: Mix, *, classes: int) -> Tensor:
    """(rows, classes) soft targets of (rows,) classes, or (rows, outputs) mixed as they are."""
    if targets.ndim == 1:
        targets = torch.nn.functional.one_hot(targets, classes)
    soft = targets.float()
    return soft.lerp(soft[list(mix.order)], 1 - mix.kept)
