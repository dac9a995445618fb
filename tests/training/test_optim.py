import itertools

import pytest
import torch
from torch import nn

from kitsolve.config import Recipe
from kitsolve.training.optim import build_optimizer, lr_at, needs_scaler

RECIPE = Recipe(backbone="timm/test_resnet", epochs=4, warmup_epochs=1, lr=1e-2)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_a_hundredth():
    lrs = [lr_at(step, RECIPE, steps_per_epoch=10) for step in range(40)]
    assert max(lrs) == lrs[10] == pytest.approx(1e-2)
    assert all(before < after for before, after in itertools.pairwise(lrs[:11]))
    assert all(before > after for before, after in itertools.pairwise(lrs[10:]))
    assert lrs[-1] == pytest.approx(1e-4)


def test_warm_up_is_linear_from_the_first_step_on():
    lrs = [lr_at(step, RECIPE, steps_per_epoch=4) for step in range(5)]
    assert lrs == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])


def test_the_middle_of_the_cosine_is_the_middle_of_its_ends():
    recipe = RECIPE.model_copy(update={"warmup_epochs": 0.0})
    lrs = [lr_at(step, recipe, steps_per_epoch=1) for step in (0, 3)]
    middle = lr_at(1, recipe.model_copy(update={"epochs": 3}), steps_per_epoch=1)
    assert middle == pytest.approx(sum(lrs) / 2)


@pytest.mark.parametrize("warmup", [0.0, 1.0, 9.0])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_learning_rate_stays_within_its_bounds_in_the_shortest_trainings(warmup, steps):
    recipe = RECIPE.model_copy(update={"warmup_epochs": warmup, "epochs": 1})
    assert all(0 < lr_at(step, recipe, steps) <= 1e-2 for step in range(steps))


def test_norms_and_biases_have_no_weight_decay():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    decayed, plain = build_optimizer(model, RECIPE).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (RECIPE.weight_decay, 0)
    assert [tensor.ndim for tensor in decayed["params"]] == [2]
    assert [tensor.ndim for tensor in plain["params"]] == [1, 1, 1]


def test_frozen_parameters_are_left_out():
    model = nn.Linear(4, 3)
    model.bias.requires_grad_(False)
    assert sum(len(group["params"]) for group in build_optimizer(model, RECIPE).param_groups) == 1


def test_only_float16_needs_a_scaler():
    assert [needs_scaler(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32)] == [True, False, False]
