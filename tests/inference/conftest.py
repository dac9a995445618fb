import cv2
import numpy as np
import pytest


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, size=(11, 13, 3), dtype=np.uint8)
        cv2.imwrite(str(path), pixels)
    return paths
