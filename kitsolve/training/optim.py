"""Optimizer, learning rate and precision as functions of the recipe."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers, param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from kitsolve.errors import KitsolveError, nearest
from kitsolve.inference.models import Composed
from kitsolve.recipe import Recipe

MIN_LR_SHARE = 0.01


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer, by timm's factory; every group's lr is `lr_at` times its own `lr_scale`.

    Norms and biases, all one-dimensional, have no weight decay.

    Raises:
        KitsolveError: an unknown optimizer.
    """
    if recipe.optimizer not in list_optimizers():
        raise KitsolveError(
            f"there is no optimizer {recipe.optimizer!r}.",
            hint=f"take one of: {nearest(recipe.optimizer, list_optimizers())}.",
        )
    groups = _split_head(_group_parameters(model, recipe), model, recipe)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
    # timm would sort the groups anew where it is given the weight decay.
    optimizer: torch.optim.Optimizer = create_optimizer_v2(groups, opt=recipe.optimizer, lr=recipe.lr, weight_decay=0.0)
    return optimizer


def _group_parameters(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    if recipe.layer_decay < 1:
        decay = {"weight_decay": recipe.weight_decay, "layer_decay": recipe.layer_decay}
        return list(param_groups_layer_decay(model, **decay))
    groups = param_groups_weight_decay(model, weight_decay=recipe.weight_decay)
    return sorted(groups, key=lambda group: group["weight_decay"], reverse=True)


def _split_head(groups: list[dict[str, Any]], model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The groups with the head's parameters in groups of their own, whose lr is `head_lr` times as large."""
    if recipe.head_lr == 1:
        return groups
    head = {id(tensor) for tensor in find_head(model).parameters()}
    split = []
    for group in groups:
        scale = group.get("lr_scale", 1.0)
        for own, factor in ((False, 1.0), (True, recipe.head_lr)):
            params = [tensor for tensor in group["params"] if (id(tensor) in head) is own]
            split += [{**group, "params": params, "lr_scale": scale * factor}] if params else []
    return split


def find_head(model: nn.Module) -> nn.Module:
    """The layer that makes the logits: new in a pretrained model."""
    if isinstance(model, Composed):
        return model.head
    classifier = getattr(model, "get_classifier", None)
    if classifier is not None:
        head: nn.Module = classifier()
        return head
    return [layer for layer in model.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))][-1]


def freeze_backbone(model: nn.Module, *, frozen: bool) -> None:
    """Let all but the head learn nothing, or learn again; BatchNorm's averages go on."""
    head = {id(tensor) for tensor in find_head(model).parameters()}
    for tensor in model.parameters():
        tensor.requires_grad_(not frozen or id(tensor) in head)


def lr_at(step: int, recipe: Recipe, steps_per_epoch: int, total_steps: int = 0) -> float:
    """Linear warm-up to `recipe.lr`, then the recipe's schedule.

    cosine: a half cosine down to 1 % of lr (SGDR without restarts, arXiv:1608.03983). linear: down to 1 % of it.
    constant: lr. one_cycle: up from 4 % by a half cosine and down to 0.01 % of it (Smith 2018, arXiv:1803.09820).

    Args:
        step: 0-based step of the whole training.
        total_steps: of the whole training where it is not the recipe's epochs; its warm-up is then shorter alike.
    """
    planned = recipe.epochs * steps_per_epoch
    total = total_steps or planned
    warmup = recipe.warmup_epochs * steps_per_epoch * min(1.0, total / planned)
    if recipe.warmup_share is not None:
        warmup = recipe.warmup_share * total
    warmup = min(round(warmup), total - 1)
    if step < warmup and recipe.schedule == "one_cycle":
        return recipe.lr * _between(0.04, 1.0, (step + 1) / (warmup + 1))
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - 1 - warmup)
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "linear":
        return recipe.lr * (1 - (1 - MIN_LR_SHARE) * progress)
    return recipe.lr * _between(1.0, 1e-4 if recipe.schedule == "one_cycle" else MIN_LR_SHARE, progress)


def _between(first: float, last: float, progress: float) -> float:
    """Half a cosine from `first` to `last`."""
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


def needs_scaler(dtype: torch.dtype) -> bool:
    """float16 gradients underflow; bfloat16 has float32's exponent and needs no scaling."""
    return dtype is torch.float16
