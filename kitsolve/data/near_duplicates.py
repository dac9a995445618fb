"""Which images are near-duplicates of each other, with a control for images that are all alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kitsolve.data.duplicates import connect, iter_near_pairs
from kitsolve.data.signatures import Signatures

DISTANCE = 6
"""In how many of 64 bits the hashes of near-duplicates differ at most."""
MAX_DIFFERENCE = 0.15
"""The root mean square difference of the normalised grey images of near-duplicates, in standard deviations."""
MAX_COLOUR = 12
"""How far the mean of a channel may be off, of 255."""
MIN_CONTRAST = 3.0
"""An image with a smaller standard deviation, of 255, is plain: it looks like every other plain one."""
MAX_STEPS = 64
CROWD_SAMPLE = 200
BLOCK = 50
CROWD = 3.0
"""A near-duplicate has at most so many times as many images at up to twice the distance as within it."""


def find_near_duplicates(signatures: Signatures) -> NDArray[np.int64]:
    """(images,) groups 0, 1, … of near-duplicates, in the order of their first images; a lone image is its own group.

    Images that are near-duplicates by their hash are compared pixel by pixel. Where all images look alike, as drawings
    of few lines and scans of one kind do, there are near ones and ever more a little less near: these are none.
    """
    thumbs, contrast = _normalise(signatures.thumbs)
    pairs = _list_pairs(signatures.hashes)
    pairs = pairs[:, _confirm(pairs, signatures, thumbs, contrast)]
    if pairs.shape[1] and _is_crowd(np.unique(pairs), thumbs, contrast):
        pairs = pairs[:, :0]
    return connect(len(signatures), pairs)


def _normalise(thumbs: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(images, pixels) of mean 0 and length 1, so that a product is a correlation; (images,) standard deviations."""
    grey = thumbs.astype(np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    lengths = np.sqrt((grey**2).sum(axis=1))
    return grey / np.maximum(lengths, 1e-6)[:, None], lengths / np.sqrt(grey.shape[1])


def _list_pairs(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(2, pairs) of images whose hashes are near; of equal ones each with the next one of them."""
    unique, first, codes = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    equal = codes[order][1:] == codes[order][:-1]
    found = [np.stack([order[:-1][equal], order[1:][equal]])]
    found += [first[pairs] for pairs in iter_near_pairs(unique, DISTANCE, max_steps=MAX_STEPS)]
    return np.unique(np.sort(np.concatenate(found, axis=1), axis=0), axis=1)


def _confirm(
    pairs: NDArray[np.int64], signatures: Signatures, thumbs: NDArray[np.float32], contrast: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(pairs,) whether both images are nearly the same in shape, contrast and colour."""
    kept = np.zeros(pairs.shape[1], dtype=bool)
    for start in range(0, pairs.shape[1], 100_000):
        one, other = pairs[:, start : start + 100_000]
        alike = (thumbs[one] * thumbs[other]).sum(axis=1) >= 1 - MAX_DIFFERENCE**2 / 2
        colours = signatures.colours[one].astype(np.int16) - signatures.colours[other]
        alike &= np.abs(colours).max(axis=1) <= MAX_COLOUR
        low = np.minimum(contrast[one], contrast[other])
        kept[start : start + 100_000] = (
            alike & (low >= MIN_CONTRAST) & (np.maximum(contrast[one], contrast[other]) <= 1.25 * low)
        )
    return kept


def _is_crowd(near_duplicates: NDArray[np.int64], thumbs: NDArray[np.float32], contrast: NDArray[np.float32]) -> bool:
    """Whether images at up to twice the distance of near-duplicates are many more than the near-duplicates.

    In a cloud of d dimensions there are 2^d - 1 times as many; of copies there are none but by chance.
    """
    count = min(CROWD_SAMPLE, len(near_duplicates))
    chosen = np.random.default_rng(0).choice(near_duplicates, count, replace=False)
    structured = np.ascontiguousarray(thumbs[contrast >= MIN_CONTRAST])
    near = about = 0
    for start in range(0, len(chosen), BLOCK):
        products = structured @ thumbs[chosen[start : start + BLOCK]].T
        near += int((products >= 1 - MAX_DIFFERENCE**2 / 2).sum())
        about += int((products >= 1 - (2 * MAX_DIFFERENCE) ** 2 / 2).sum())
    return about - near > CROWD * (near - len(chosen))  # each is within its own distance
