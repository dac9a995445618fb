"""Transforms of albumentations' kind that cost a fraction of its own."""

from __future__ import annotations

from typing import Any

import albumentations as A  # noqa: N812  (A is its name everywhere in the field)
import cv2
import numpy as np


class Transpose(A.Transpose):  # type: ignore[misc]
    """Rows and columns exchanged, by OpenCV: numpy's strided copy takes sixteen times as long."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:  # noqa: ANN401
        """(height, width, channels) -> (width, height, channels); OpenCV takes four channels at most."""
        if img.shape[2] > 4:
            return np.asarray(super().apply(img, **params))
        return np.asarray(cv2.transpose(img)).reshape(*img.shape[1::-1], -1)


class LumaCLAHE(A.ImageOnlyTransform):  # type: ignore[misc]
    """Contrast-limited adaptive histogram equalisation of the brightness, in YCrCb.

    albumentations goes by way of L*a*b*, whose cube roots take more time than the equalisation itself.
    """

    def __init__(self, clip_limit: float = 4.0, tiles: int = 8, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.clip_limit, self.tiles = clip_limit, tiles

    def apply(self, img: np.ndarray, clip_limit: float = 1.0, **params: Any) -> np.ndarray:  # noqa: ANN401
        """(height, width, 3) uint8."""
        luma, red, blue = cv2.split(cv2.cvtColor(img, cv2.COLOR_RGB2YCrCb))
        equalised = cv2.createCLAHE(clip_limit, (self.tiles, self.tiles)).apply(luma)
        return np.asarray(cv2.cvtColor(cv2.merge([equalised, red, blue]), cv2.COLOR_YCrCb2RGB))

    def get_params(self) -> dict[str, float]:
        """The clip limit, from 1 to the largest one."""
        return {"clip_limit": self.py_random.uniform(1.0, self.clip_limit)}
