"""Training augmentation by preset, on uint8 RGB images of the model's input size."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Without this albumentations asks PyPI for its newest version at import, and stalls without a network.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: E402, N812  (A is its name everywhere in the field)
import cv2  # noqa: E402
import numpy as np  # noqa: E402

from kitsolve.config import require_prepare  # noqa: E402
from kitsolve.data.transforms import LumaCLAHE, Transpose  # noqa: E402
from kitsolve.errors import KitsolveError, own_code  # noqa: E402
from kitsolve.workspace import Workspace  # noqa: E402

MakeAugmentation = Callable[[tuple[int, int]], A.Compose]
"""The transforms for images of a (height, width) in px."""


def find_augmentation(workspace: Workspace, slug: str, augment: str, channels: int) -> MakeAugmentation:
    """What makes the transforms of a recipe's `augment` for an image size: a preset, or the competition's own.

    Its own is `augmentation(image_size)` in prepare.py, which gives a transform of albumentations, or a list of them,
    for an image size in px (of rectangles: height, width).

    Raises:
        KitsolveError: there is no such function; when it is asked: it fails, or gives anything else.
    """
    if augment != "prepare:augmentation":
        return partial(build_augmentation, augment, channels=channels)
    return OwnAugmentation(workspace, slug, require_prepare(workspace, slug, "augmentation"))


@dataclass(frozen=True)
class OwnAugmentation:
    """The transforms of a prepare.py, for a (height, width) in px; a process that is spawned runs the file anew."""

    workspace: Workspace
    slug: str
    function: Callable[[Any], Any]

    def __call__(self, size: tuple[int, int]) -> A.Compose:
        """See find_augmentation."""
        return _build_own(self.function, size)

    def __reduce__(self) -> tuple[Callable[..., MakeAugmentation], tuple[Workspace, str, str, int]]:
        """What a prepare.py defines has no module that another process could import."""
        return find_augmentation, (self.workspace, self.slug, "prepare:augmentation", 0)


def _build_own(augmentation: Callable[[Any], Any], size: tuple[int, int]) -> A.Compose:
    path = Path(getattr(getattr(augmentation, "__code__", None), "co_filename", "prepare.py"))
    with own_code(path, "augmentation", given=f"given the image size {size}"):
        made = augmentation(size[0] if size[0] == size[1] else size)
    transforms = list(made) if isinstance(made, list | tuple) else [made]
    odd = [transform for transform in transforms if not isinstance(transform, A.BasicTransform | A.BaseCompose)]
    if odd:
        raise KitsolveError(
            f"augmentation in {path} gives {odd[0]!r}, which is no transform of albumentations.",
            hint="return a list of transforms, as in `return [A.HorizontalFlip(p=0.5)]`.",
        )
    return made if isinstance(made, A.Compose) else A.Compose(transforms, strict=True)


class AugmentationError(ValueError):
    """Transforms raised an error, or made something else of an image than an image of its size."""


AUGMENTATION_HINT = (
    "correct augmentation in prepare.py; leave out what resizes, normalises or makes tensors (A.Resize, A.Normalize, "
    "A.ToFloat, ToTensorV2): the training does that itself."
)


def augment_image(augmentation: A.Compose, image: np.ndarray) -> np.ndarray:
    """The transformed image, of the same shape: (height, width, channels) uint8.

    Raises:
        AugmentationError: the transforms raise, or give another shape or type, as normalised floats, on which a model
            would learn nothing.
    """
    try:
        made = augmentation(image=image)["image"]
    except Exception as error:  # transforms of a prepare.py raise of every kind
        raise AugmentationError(f"the augmentation raised {type(error).__name__}: {error}") from error
    fits = isinstance(made, np.ndarray) and made.dtype == image.dtype and made.size == image.size
    if not fits or made.shape[:2] != image.shape[:2]:
        shown = f"{getattr(made, 'dtype', type(made).__name__)} {tuple(getattr(made, 'shape', ()))}"
        raise AugmentationError(f"the augmentation made {shown} of an image that was {image.dtype} {image.shape}.")
    return np.asarray(made).reshape(image.shape)


def build_augmentation(preset: str, size: tuple[int, int], *, channels: int = 3) -> A.Compose:
    """The preset's transforms; `strict` makes a misspelt argument an error where albumentations would only warn.

    none: nothing. light: small shifts, scales, turns and brightness, safe for text and digits. medium: flips as well.
    heavy: the list of the winners of the melanoma contest of 2020, with which others have won since. Of other channels
    than RGB the colours' own transforms are left out, and of rectangles the transposition.

    Args:
        size: (height, width) of the images, in px.
    """
    transforms = PRESETS[preset](min(size))
    left_out = (() if channels == 3 else COLOUR) + (() if size[0] == size[1] else (Transpose,))
    return A.Compose([transform for transform in transforms if not isinstance(transform, left_out)], strict=True)


def _none(image_size: int) -> list[A.BasicTransform]:
    return []


def _light(image_size: int) -> list[A.BasicTransform]:
    return [
        _affine(scale=0.1, shift=0.07, degrees=10, p=0.8),
        A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.5),
    ]


def _medium(image_size: int) -> list[A.BasicTransform]:
    return [
        A.HorizontalFlip(p=0.5),
        _affine(scale=0.2, shift=0.1, degrees=20, p=0.8),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.7),
        A.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=10, p=0.3),
        _cutout(image_size, share=0.25, p=0.3),
    ]


def _heavy(image_size: int) -> list[A.BasicTransform]:
    blur = [
        A.MotionBlur(blur_limit=5),
        A.MedianBlur(blur_limit=5),
        A.GaussianBlur(blur_limit=5),
        A.GaussNoise(std_range=(0.02, 0.1), noise_scale_factor=0.5),  # grain of two px, in a sixth of the time
    ]
    # The winners' third one, ElasticTransform(alpha=3), changes a pixel by 0.02 of 255 on average, in 8 ms an image.
    distortion = [A.OpticalDistortion(distort_limit=1.0), A.GridDistortion(num_steps=5, distort_limit=1.0)]
    return [
        Transpose(p=0.5),
        A.VerticalFlip(p=0.5),
        A.HorizontalFlip(p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.75),
        A.OneOf(blur, p=0.7),
        A.OneOf(distortion, p=0.7),
        LumaCLAHE(clip_limit=4.0, p=0.7),
        A.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=10, p=0.5),
        _affine(scale=0.1, shift=0.1, degrees=15, p=0.85),
        _cutout(image_size, share=0.375, p=0.7),
    ]


def _affine(*, scale: float, shift: float, degrees: float, p: float) -> A.BasicTransform:
    """Shift (share of the side), scale and rotation; the border repeats, since black corners are no feature."""
    return A.Affine(
        scale=(1 - scale, 1 + scale),
        translate_percent=(-shift, shift),
        rotate=(-degrees, degrees),
        border_mode=cv2.BORDER_REFLECT_101,
        p=p,
    )


def _cutout(image_size: int, *, share: float, p: float) -> A.BasicTransform:
    """One black square of `share` of the side."""
    side = max(1, round(image_size * share))
    return A.CoarseDropout(
        num_holes_range=(1, 1), hole_height_range=(side, side), hole_width_range=(side, side), fill=0, p=p
    )


COLOUR = (A.HueSaturationValue, LumaCLAHE)
PRESETS = {"none": _none, "light": _light, "medium": _medium, "heavy": _heavy}
