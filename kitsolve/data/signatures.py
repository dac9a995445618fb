"""What is kept of an image to see whether another one is nearly the same: a hash, a small grey image, a colour."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from kitsolve.data.duplicates import hash_image
from kitsolve.workspace import write_whole

THUMB_PX = 16
COLOURS = 3
FILE = "signatures.npz"


@dataclass(frozen=True)
class Signatures:
    """Of each image, in the order of their rows.

    `hashes`: (images,) perceptual hashes. `thumbs`: (images, 16 * 16) uint8, the image in grey. `colours`: (images, 3)
    uint8, the means of its channels where it has three at most, else that of all.
    """

    hashes: NDArray[np.uint64]
    thumbs: NDArray[np.uint8]
    colours: NDArray[np.uint8]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.hashes)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Signatures:
        """Those of some of the images."""
        return Signatures(self.hashes[rows], self.thumbs[rows], self.colours[rows])


Signature = tuple[np.uint64, NDArray[np.uint8], NDArray[np.uint8]]
"""Hash, thumb and colour of one image."""


def sign_image(image: np.ndarray) -> Signature:
    """The signature of an image: (height, width, channels) uint8."""
    small = image if image.shape[-1] <= 4 else image.mean(axis=-1, dtype=np.float32)  # cv2 averages no more channels
    small = cv2.resize(small, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA).reshape(THUMB_PX**2, -1)
    thumb = small.mean(axis=-1, dtype=np.float32).round().astype(np.uint8)
    means = small.mean(axis=0, dtype=np.float32)
    colour = np.resize(means if len(means) <= COLOURS else means.mean(keepdims=True), COLOURS)
    return hash_image(image), thumb, colour.round().astype(np.uint8)


def write_signatures(tables: Path, paths: Sequence[str], signatures: Signatures) -> None:
    """Keep them beside the tables whose images they are of."""

    def write(file: BinaryIO) -> None:
        parts = signatures.hashes, signatures.thumbs, signatures.colours
        np.savez(file, paths=_digest(paths), hashes=parts[0], thumbs=parts[1], colours=parts[2])

    write_whole(tables / FILE, write)


def read_signatures(tables: Path, paths: Sequence[str]) -> Signatures | None:
    """Those of the images with these paths; None where none are kept, or those of other images."""
    try:
        with np.load(tables / FILE, allow_pickle=False) as kept:
            if kept["paths"].tolist() != _digest(paths).tolist():
                return None
            found = Signatures(kept["hashes"], kept["thumbs"], kept["colours"])
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
    ):  # none, or a damaged file, which `fetch` writes anew
        return None
    return found if len(found) == len(paths) else None


def _digest(paths: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256("\n".join(paths).encode(errors="surrogatepass")).digest(), dtype=np.uint8)
