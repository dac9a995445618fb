"""Optimizer, learning rate and precision as functions of the recipe."""

from __future__ import annotations

import math

import torch
from torch import nn

from kitsolve.config import Recipe

MIN_LR_SHARE = 0.01


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; norms and biases, all one-dimensional, without weight decay."""
    decayed = [tensor for tensor in model.parameters() if tensor.requires_grad and tensor.ndim > 1]
    plain = [tensor for tensor in model.parameters() if tensor.requires_grad and tensor.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def lr_at(step: int, recipe: Recipe, steps_per_epoch: int) -> float:
    """Linear warm-up to `recipe.lr`, then a half cosine down to 1 % of it (SGDR without restarts, arXiv:1608.03983).

    Args:
        step: 0-based step of the whole training.
    """
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total - 1)
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - 1 - warmup)
    share = MIN_LR_SHARE + (1 - MIN_LR_SHARE) * (1 + math.cos(math.pi * progress)) / 2
    return recipe.lr * share


def needs_scaler(dtype: torch.dtype) -> bool:
    """float16 gradients underflow; bfloat16 has float32's exponent and needs no scaling."""
    return dtype is torch.float16
