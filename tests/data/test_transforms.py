import albumentations as A
import cv2
import numpy as np
import pytest

from kitsolve.data.transforms import LumaCLAHE, Transpose


def image_of(channels):
    return np.random.default_rng(0).integers(0, 256, (24, 32, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_a_transposition_is_albumentations_own(channels):
    ours, theirs = (A.Compose([kind(p=1)]) for kind in (Transpose, A.Transpose))
    image = image_of(channels)
    np.testing.assert_array_equal(ours(image=image)["image"], theirs(image=image)["image"])


def test_equalising_the_luma_raises_contrast_and_keeps_hues():
    dull = (100 + image_of(3) // 16).astype(np.uint8)
    clear = LumaCLAHE().apply(dull, clip_limit=4.0)
    assert clear.shape == dull.shape
    before, after = (cv2.cvtColor(each, cv2.COLOR_RGB2YCrCb).astype(int) for each in (dull, clear))
    assert after[..., 0].std() > 2 * before[..., 0].std()
    assert np.abs(after[..., 1:] - before[..., 1:]).mean() < 3
