"""From the numbers of an image, of any type and range, to 8 bits, and from transparency to a background."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kitsolve.inference.decoders import Decoded, ImageError

BACKGROUNDS: Mapping[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "mean": (124, 116, 104),
}
"""What transparency is laid on; "mean" is ImageNet's mean colour, the same for every image."""
DEPTHS = (8, 10, 12, 14, 16)
"""The bits of the sensors whose values are stored in 16 bits."""
SLACK = 0.001
"""By how much of the range a float may exceed it: what was resampled or normalised does."""


@dataclass(frozen=True)
class Seen:
    """What was special in an image.

    `bits`: of integers of 16 bits or more, how many are used, of DEPTHS; 0 where the image has no such ones. `range`:
    the least and the greatest number where they lie in no usual range, so that the image was stretched. `top`: of
    floats, which number became 255: 1 or 255; 0 where nothing tells. `transparent`: some pixels are not opaque;
    `invisible`: none is to be seen, so that the colours were taken as they are.
    """

    bits: int = 0
    range: tuple[float, float] | None = None
    top: int = 0
    transparent: bool = False
    invisible: bool = False


def to_rgb(decoded: Decoded, *, background: str, bits: int, scale: str) -> tuple[np.ndarray, Seen]:
    """The decoded image as (height, width, 3) uint8, laid on the background, and what was special in it."""
    image, seen = to_uint8(decoded.numbers, bits=bits, scale=scale)
    if decoded.alpha is None or background == "ignore" or decoded.alpha.min() == 255:
        return image, seen
    if not decoded.alpha.any():
        # Many a program writes zeros into an alpha channel that it does not use: laid on anything, nothing were left.
        return image, replace(seen, invisible=True)
    return lay_on(image, decoded.alpha, BACKGROUNDS[background]), replace(seen, transparent=True)


def lay_on(image: np.ndarray, alpha: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The image over a colour, by the share alpha / 255 of each pixel, rounded to the nearest."""
    share = alpha[..., None].astype(np.uint16)
    mixed = image * share + np.array(colour, dtype=np.uint16) * (255 - share) + np.uint16(128)
    # Division by 255, rounded, of what fits into 16 bits (Blinn, Three wrongs make a right, 1995).
    return ((mixed + (mixed >> 8)) >> 8).astype(np.uint8)


def to_uint8(numbers: np.ndarray, *, bits: int, scale: str) -> tuple[np.ndarray, Seen]:
    """Numbers of an image file or an array as 8 bits, by one rule for each kind of number:

    - 8 bits stay as they are.
    - Integers of more bits that lie in 0 to 65535: the upper 8 of the `bits` that the images of the set use, so that an
      image of low numbers stays dark beside the others. One that uses more bits keeps those that it uses, so that
      nothing is cut off.
    - Floats in 0 to 1 times 255, and in 0 to 255 as they are, rounded.
    - All others by `stretch`.

    Args:
        scale: "set" for these rules; "image", as in runs before there was a choice: integers of more than 16 bits that
            lie in 0 to 255 are as they are, whatever the bits of the set. What it does to arrays: see `read_image`.

    Raises:
        ImageError: there is no number, or they are complex, dates or text.
    """
    if numbers.dtype == np.uint8:
        return numbers, Seen()
    if numbers.dtype == np.bool_:
        return numbers.astype(np.uint8) * np.uint8(255), Seen()
    low, high = find_range(numbers)
    whole = numbers.dtype.kind in "iu"
    alike = scale == "set" and numbers.dtype.itemsize > 1
    if numbers.dtype == np.uint16 or (whole and low >= 0 and high <= 65535 and (alike or high > 255)):
        used = next(depth for depth in DEPTHS if high < 1 << depth)
        return (numbers >> (max(bits, used) - 8)).astype(np.uint8), Seen(bits=used)
    if whole and low >= 0 and high <= 255:
        return numbers.astype(np.uint8), Seen()
    top = 255 if high > 1 + SLACK else 1
    if not whole and low >= -SLACK * top and high <= (1 + SLACK) * top:
        known = np.nan_to_num(numbers, nan=0.0, posinf=top, neginf=0.0)
        return np.rint(known.clip(0, top) * (255 / top)).astype(np.uint8), Seen(top=0 if high <= 0 else top)
    return stretch(numbers), Seen(range=(low, high))


def find_range(numbers: np.ndarray) -> tuple[float, float]:
    """The least and the greatest finite number.

    Raises:
        ImageError: there is none, or they are no real numbers.
    """
    if numbers.dtype.kind not in "biuf":
        raise ImageError(f"holds {numbers.dtype}, no real numbers.")
    if numbers.size:
        low, high = float(numbers.min()), float(numbers.max())
        if math.isfinite(low) and math.isfinite(high):
            return low, high
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        raise ImageError("holds no number.")
    return float(finite.min()), float(finite.max())


def stretch(numbers: np.ndarray) -> np.ndarray:
    """Numbers of any range: the 1st to the 99th percentile of the image become 0 to 255, the few beyond 0 and 255.

    This loses how bright an image is beside others. What is missing becomes 0.
    """
    largest = max(map(abs, find_range(numbers)))
    # Of numbers as large as these float32 does not hold the differences.
    values = (numbers / largest if largest > 1e30 else numbers).astype(np.float32)
    low, high = np.percentile(values[np.isfinite(values)], (1, 99))
    scaled = (np.nan_to_num(values, nan=low) - low) * (255 / max(float(high - low), 1e-6))
    return np.asarray(np.rint(scaled.clip(0, 255)), dtype=np.uint8)
