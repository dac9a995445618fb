"""Images for the benchmarks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

CLASSES = 10


def write_photos(folder: Path, count: int) -> list[Path]:
    """JPEG files of 800 x 600 px and 100 to 200 KB that decode as photographs do.

    Photo n has the n % 10th of ten levels of brightness: a label that can be learned.
    """
    random = np.random.default_rng(0)
    grain = random.normal(0, 7.5, (700, 900, 3)).astype(np.float32)
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        image = np.full((600, 800, 3), 50 + 17 * (number % CLASSES), np.float32)
        for cells, contrast in ((6, 35), (40, 12), (150, 8)):
            coarse = random.normal(0, contrast, (cells * 3 // 4, cells, 3)).astype(np.float32)
            image += cv2.resize(coarse, (800, 600), interpolation=cv2.INTER_CUBIC)
        top, left = random.integers(0, 100, 2)
        image += grain[top : top + 600, left : left + 800]
        cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 93])
    return paths
