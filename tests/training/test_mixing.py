"""Labels mix as images do."""

import numpy as np
import pytest
import torch

from kitsolve.recipe import Recipe
from kitsolve.training.mixing import Mix, draw_mix, mix_images, mix_targets


def recipe(**choices):
    return Recipe(**{"backbone": "timm/test_resnet", "epochs": 10, **choices})


def draw(seed, *, epoch=0, **choices):
    return draw_mix(np.random.default_rng(seed), recipe(**choices), epoch=epoch, epochs=10, rows=6, size=(32, 32))


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("seed", range(8))
def test_an_images_share_is_the_share_of_its_label(name, seed):
    mix = draw(seed, **{name: 1.0})
    images = torch.zeros(6, 6, 32, 32)
    for row in range(6):
        images[row, row] = 1  # image n is all of channel n
    shares = mix_images(images, mix).mean(dim=(2, 3))
    targets = mix_targets(torch.arange(6), mix, classes=6)
    torch.testing.assert_close(shares, targets, atol=1e-6, rtol=0)
    torch.testing.assert_close(targets.sum(1), torch.ones(6))


def test_cutmix_pastes_one_box_of_the_other_image():
    mix = Mix(0.75, (1, 0), box=(0, 2, 2, 4))
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    mixed = mix_images(images, mix)
    assert mixed[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert (mixed[1] == 1 - mixed[0]).all()
    assert images[0].sum() == 0, "the batch itself stays"


def test_label_sets_mix_as_well():
    mix = Mix(0.75, (1, 0))
    assert mix_targets(torch.tensor([[1, 0], [1, 1]]), mix, classes=2).tolist() == [[1, 0.25], [1, 0.75]]


def test_the_same_place_in_the_training_has_the_same_mix():
    assert draw(3, mixup=0.4, cutmix=1.0) == draw(3, mixup=0.4, cutmix=1.0)
    assert len({draw(seed, mixup=0.4) for seed in range(9)}) == 9


def test_batches_are_mixed_as_often_as_the_recipe_says():
    assert draw(0) is None
    mixed = sum(draw(seed, mixup=0.4, mix_prob=0.3) is not None for seed in range(2000))
    assert mixed / 2000 == pytest.approx(0.3, abs=0.04)


def test_both_kinds_have_half_of_the_batches():
    boxes = [draw(seed, mixup=0.4, cutmix=1.0).box is None for seed in range(1000)]
    assert sum(boxes) / 1000 == pytest.approx(0.5, abs=0.05)


def test_the_last_epochs_can_be_left_alone():
    assert draw(0, mixup=1.0, mix_off_epochs=2, epoch=7) is not None
    assert draw(0, mixup=1.0, mix_off_epochs=2, epoch=8) is None
