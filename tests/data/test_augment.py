import random

import albumentations as A
import albumentations.pytorch
import numpy as np
import pytest

from kitsolve.data.augment import PRESETS, AugmentationError, augment_image, build_augmentation, find_augmentation
from kitsolve.errors import KitsolveError


def apply(augmentation, image, seed):
    augmentation.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return augmentation(image=image)["image"]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_keeps_shape_and_type_and_is_a_function_of_the_seed(preset, image):
    first, again = build_augmentation(preset, (48, 48)), build_augmentation(preset, (48, 48))
    for seed in range(20):
        result = apply(first, image, seed)
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        assert (result == apply(again, image, seed)).all()


def test_none_changes_nothing_and_the_others_do(image):
    changed = {
        preset: sum((apply(build_augmentation(preset, (48, 48)), image, seed) != image).any() for seed in range(20))
        for preset in PRESETS
    }
    assert changed.pop("none") == 0
    assert min(changed.values()) >= 15


@pytest.mark.filterwarnings("ignore:Argument")
def test_a_misspelt_argument_is_an_error(monkeypatch):
    monkeypatch.setitem(PRESETS, "misspelt", lambda size: [A.RandomBrightnessContrast(brightnes_limit=0.2)])
    with pytest.raises(ValueError, match="brightnes_limit"):
        build_augmentation("misspelt", (48, 48))


def test_light_never_mirrors():
    corner = np.zeros((48, 48, 3), dtype=np.uint8)
    corner[4:20, 4:20] = 255
    augmentation = build_augmentation("light", (48, 48))
    for seed in range(30):
        brightest = np.unravel_index(apply(augmentation, corner, seed)[..., 0].argmax(), (48, 48))
        assert max(brightest) < 24


def test_flips_of_equal_probability_come_independently():
    quarters = np.arange(4, dtype=np.uint8).reshape(2, 2, 1).repeat(3, axis=2)
    flips = A.Compose([A.Transpose(p=0.5), A.VerticalFlip(p=0.5), A.HorizontalFlip(p=0.5)], strict=True)
    views = {apply(flips, quarters, seed)[..., 0].tobytes() for seed in range(200)}
    assert len(views) == 8


def test_rectangles_stay_rectangles():
    wide = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    augmentation = build_augmentation("heavy", (32, 48))
    assert {apply(augmentation, wide, seed).shape for seed in range(20)} == {(32, 48, 3)}


def test_a_competition_s_own_augmentation_gets_the_image_size(shades, image):
    prepare = shades.competition("shades") / "prepare.py"
    prepare.write_text(
        "import albumentations as A\n"
        "def augmentation(image_size):\n"
        "    return [A.Crop(0, 0, image_size // 2, image_size // 2), A.Resize(image_size, image_size)]\n"
    )
    make = find_augmentation(shades, "shades", "prepare:augmentation", 3)
    assert apply(make((48, 48)), image, 0).shape == (48, 48, 3)
    assert not np.array_equal(apply(make((48, 48)), image, 0), image)


def test_a_recipe_that_names_an_augmentation_that_is_not_there_says_where_to_write_it(shades):
    with pytest.raises(KitsolveError, match="has no function augmentation"):
        find_augmentation(shades, "shades", "prepare:augmentation", 3)


@pytest.mark.parametrize(
    ("transform", "made"),
    [
        (A.Normalize(), r"float32 \(48, 48, 3\)"),
        (A.Resize(16, 16), r"uint8 \(16, 16, 3\)"),
        (A.ToGray(num_output_channels=1, p=1), r"uint8 \(48, 48\)"),
        (A.pytorch.ToTensorV2(), r"torch.uint8 \(3, 48, 48\)"),
        (A.Lambda(image=lambda image, **_: None, p=1), r"NoneType \(\)"),
        (A.Lambda(image=lambda image, **_: 1 / 0, p=1), "raised ZeroDivisionError: division by zero"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, A.BasicTransform) else "",
)
def test_what_is_no_image_of_the_same_size_any_more_is_refused(image, transform, made):
    with pytest.raises(AugmentationError, match=made):
        augment_image(A.Compose([transform]), image)


def test_a_grey_image_may_come_back_without_its_channel():
    grey = np.zeros((4, 4, 1), dtype=np.uint8)
    assert augment_image(A.Compose([A.Lambda(image=lambda image, **_: image[..., 0], p=1)]), grey).shape == (4, 4, 1)
