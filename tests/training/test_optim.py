import itertools

import numpy as np
import pytest
import torch
from torch import nn

from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Architecture
from kitsolve.inference.models import build_model
from kitsolve.recipe import Recipe
from kitsolve.training.optim import build_optimizer, find_head, freeze_backbone, lr_at, needs_scaler

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


def model_of(backbone="timm/test_resnet"):
    return build_model(Architecture(backbone, 3), image_size=(32, 32))


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "lion", "muon", "nadamw"])
def test_timms_optimizers_take_a_step(name):
    model = model_of()
    optimizer = build_optimizer(model, RECIPE.model_copy(update={"optimizer": name}))
    before = [tensor.detach().clone() for tensor in find_head(model).parameters()]
    model(torch.rand(2, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    assert all((old != new).any() for old, new in zip(before, find_head(model).parameters(), strict=True))


def test_an_unknown_optimizer_names_the_nearest():
    with pytest.raises(KitsolveError, match="no optimizer 'adamx'") as caught:
        build_optimizer(model_of(), RECIPE.model_copy(update={"optimizer": "adamx"}))
    assert "adam" in caught.value.hint


@pytest.mark.parametrize("backbone", ["timm/test_resnet", "timm/test_vit", "torchvision/resnet18"])
def test_the_head_alone_has_its_own_lr_and_nothing_is_lost(backbone):
    model = model_of(backbone)
    groups = build_optimizer(model, RECIPE.model_copy(update={"head_lr": 10.0})).param_groups
    fast = {id(tensor) for group in groups if group.get("lr_scale") == 10 for tensor in group["params"]}
    assert fast == {id(tensor) for tensor in find_head(model).parameters()}
    everything = [id(tensor) for group in groups for tensor in group["params"]]
    assert sorted(everything) == sorted(id(tensor) for tensor in model.parameters())


def test_with_layer_decay_the_lr_falls_from_the_head_to_the_stem():
    model = model_of("timm/test_vit")
    groups = build_optimizer(model, RECIPE.model_copy(update={"layer_decay": 0.5, "head_lr": 4.0})).param_groups
    scale = {id(tensor): group["lr_scale"] for group in groups for tensor in group["params"]}
    named = dict(model.named_parameters())
    first, last = scale[id(named["patch_embed.proj.weight"])], scale[id(named["blocks.1.attn.qkv.weight"])]
    assert first < last < 1
    assert scale[id(named["head.weight"])] == 4


def test_a_frozen_backbone_learns_nothing_and_learns_again():
    model = model_of()
    freeze_backbone(model, frozen=True)
    learning = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
    assert learning == {"fc.weight", "fc.bias"}
    freeze_backbone(model, frozen=False)
    assert all(tensor.requires_grad for tensor in model.parameters())


def lrs_of(schedule, **choices):
    recipe = RECIPE.model_copy(update={"schedule": schedule, **choices})
    return [lr_at(step, recipe, steps_per_epoch=10) for step in range(40)]


def test_constant_stays_and_linear_falls_by_equal_steps():
    assert set(lrs_of("constant")[10:]) == {1e-2}
    linear = lrs_of("linear")[10:]
    assert [before - after for before, after in itertools.pairwise(linear)] == pytest.approx([1e-2 * 0.99 / 29] * 29)
    assert linear[-1] == pytest.approx(1e-4)


def test_one_cycle_starts_low_peaks_after_the_warm_up_and_ends_lowest():
    lrs = lrs_of("one_cycle")
    assert lrs.index(max(lrs)) == 10
    assert lrs[10] == pytest.approx(1e-2)
    assert 4e-4 < lrs[0] < 1e-3
    assert lrs[-1] == pytest.approx(1e-6)


def test_warm_up_can_be_a_share_of_all_steps():
    recipe = RECIPE.model_copy(update={"warmup_share": 0.25})
    lrs = [lr_at(step, recipe, steps_per_epoch=10) for step in range(40)]
    assert int(np.argmax(lrs)) == 10


def test_a_shortened_training_has_the_whole_schedule_and_a_shorter_warm_up():
    lrs = [lr_at(step, RECIPE, 10, total_steps=20) for step in range(20)]
    assert int(np.argmax(lrs)) == 5
    assert lrs[-1] == pytest.approx(1e-4)
