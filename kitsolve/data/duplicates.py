"""Images that are nearly the same -> groups of rows that belong in one fold."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

BITS = 64
SEEN_PX = 32
KEPT = 8
SPARE_BANDS = 3


def hash_image(image: np.ndarray) -> np.uint64:
    """A 64-bit perceptual hash: copies in another size or encoding differ in few bits, other images in about 32.

    Which of the 64 slowest waves of the 32 x 32 grey image are stronger than their median (pHash, Zauner 2010).
    An image of one colour has no waves: its hash is 0, whatever the colour. One of very few, a smooth gradient say,
    has few bits, so it may pass for a copy of another such image.

    Args:
        image: (height, width, channels) uint8.
    """
    if image.shape[-1] > 4:  # cv2 averages no more of them
        image = image.mean(axis=-1, dtype=np.float32)
    small = cv2.resize(image, (SEEN_PX, SEEN_PX), interpolation=cv2.INTER_AREA)
    grey = small.reshape(SEEN_PX, SEEN_PX, -1).sum(axis=-1, dtype=np.float32)
    # Rounded: what is 0 but for the last digits of a float, as every wave of a plain image, shall be 0.
    waves = cv2.dct(grey - grey.mean())[:KEPT, :KEPT].round()
    bits = np.packbits(waves > np.median(waves))
    return np.uint64(int.from_bytes(bits.tobytes(), "big"))


def group_duplicates(hashes: NDArray[np.uint64], *, distance: int = 3) -> NDArray[np.int64]:
    """(rows,) the group of each row, 0, 1, … in the order of their first rows.

    Rows whose hashes differ in at most `distance` bits are in one group, and so are those that others connect. All
    images of one colour have one hash, so they are one group.

    Args:
        hashes: (rows,) of `hash_image`.
    """
    codes, unique = pd.factorize(hashes)
    pairs = np.concatenate(list(iter_near_pairs(unique, distance)), axis=1)
    return np.asarray(connect(len(unique), pairs)[codes], dtype=np.int64)


def iter_near_pairs(
    hashes: NDArray[np.uint64], distance: int, *, max_steps: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """(2, pairs) of hashes, all different, that differ in at most `distance` bits; a pair may come several times.

    Args:
        max_steps: with how many others a hash that shares half of its bits with many is compared; None: with all.
    """
    # Of distance + 3 bands of bits at most `distance` can differ, so 3 are equal (Manku, Jain and Das Sarma 2007). Of 4
    # bands one would do, but many images share 16 bits and few share 32.
    bands = np.array_split(np.arange(BITS, dtype=np.uint64), distance + SPARE_BANDS)
    masks = [np.bitwise_or.reduce(np.uint64(1) << band) for band in bands]
    for chosen in combinations(masks, SPARE_BANDS):
        yield _near_pairs(hashes, np.bitwise_or.reduce(chosen), distance, max_steps)


def _near_pairs(hashes: NDArray[np.uint64], mask: np.uint64, distance: int, max_steps: int | None) -> NDArray[np.int64]:
    """(2, pairs) the hashes that are equal under the mask and differ in at most `distance` bits."""
    order = np.argsort(hashes & mask)
    hashes, found = hashes[order], [np.empty((2, 0), dtype=np.int64)]
    first, step = np.arange(len(hashes)), 0
    while len(first) and step != max_steps:
        step += 1
        first = first[: np.searchsorted(first, len(hashes) - step)]
        differing = hashes[first] ^ hashes[first + step]
        alike = (differing & mask) == 0
        first, differing = first[alike], differing[alike]
        near = first[_has_few_bits(differing, distance)]
        found.append(order[np.stack([near, near + step])])
    return np.concatenate(found, axis=1)


def _has_few_bits(numbers: NDArray[np.uint64], most: int) -> NDArray[np.bool_]:
    """Whether at most `most` bits of each number are set."""
    for _ in range(most):
        numbers = numbers & (numbers - np.uint64(1))  # clears the lowest bit that is set
    return np.asarray(numbers == 0)


def merge_groups(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.int64]:
    """(rows,) the group of each row where rows that either grouping connects are in one group.

    Groups are 0, 1, … in the order of their first rows.

    Args:
        one: (rows,) labels of any kind; equal ones, empty ones too, are one group.
        other: the same.
    """
    left, right = _first_come(one), _first_come(other)
    nodes = int(left.max(initial=-1)) + 1
    pairs = np.stack([left, nodes + right])
    return _first_come(connect(nodes + int(right.max(initial=-1)) + 1, pairs)[left])


def connect(nodes: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """(nodes,) the connected component of each, 0, 1, … in the order of their first nodes."""
    edges = sparse.coo_array((np.ones(pairs.shape[1], dtype=np.bool_), tuple(pairs)), shape=(nodes, nodes))
    return _first_come(connected_components(edges, directed=False)[1])


def _first_come(labels: NDArray[Any]) -> NDArray[np.int64]:
    """0, 1, … in the order in which the labels first appear."""
    return np.asarray(pd.factorize(labels, use_na_sentinel=False)[0], dtype=np.int64)
