"""Train images at the size of the training: decoded and scaled once, then read by all epochs, folds and recipes.

A cache is a folder that is safe to delete: `images.bin`, one image behind the other, `index.npy`, where each begins and
its crc32, and `cache.json`, written last. What is damaged is never used: files that are not as they were written are
built anew when the cache is opened, an image whose bytes have changed is read from its own file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from kitsolve.errors import KitsolveError, translated
from kitsolve.inference.bundle import Preprocessing, file_sha256
from kitsolve.inference.decoders import ImageError, decode_jpeg
from kitsolve.inference.devices import decoding_threads
from kitsolve.inference.images import read_as, read_bytes, scale_image
from kitsolve.workspace import Workspace, locked, read_json, write_sealed, write_whole

REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
SHARE_OF_FREE = 0.25
"""Of the free disk, at most, a cache takes that nobody asked for."""
JPEG_SHARE = 0.2
"""About how large a JPEG of quality 95 is, of its pixels' bytes."""
JPEG_444 = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
ENCODINGS: dict[str, tuple[str, list[int]]] = {
    # Small images have fine colours, which the usual 4:2:0 would halve.
    "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, JPEG_444]),
    "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
}
AHEAD = 256
"""Images that are in work at a time while a cache is built."""


def read_reduced(path: str, preprocessing: Preprocessing) -> np.ndarray:
    """The image for training: a JPEG at a half, a quarter or an eighth, as long as that is enough for `image_size`.

    A JPEG can be decoded at these sizes right away, in a fraction of the time (its blocks of 8 x 8 px are frequencies).
    Evaluation always decodes in full.

    Raises:
        ValueError: see read_image.
    """
    if preprocessing.channels == 3 and path.lower().endswith((".jpg", ".jpeg", ".jpe", ".jfif")):
        factor = _reduction(path, max(preprocessing.image_size))
        if factor > 1:
            with suppress(ImageError):  # read_image says what is wrong, with the file's name
                image = decode_jpeg(read_bytes(path), REDUCED[factor])
                if image is not None:
                    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return read_as(path, preprocessing)


def _reduction(path: str, size: int) -> int:
    """The largest factor by which an image may shrink; 1 where it is no plain JPEG, or cannot be read."""
    try:
        with Image.open(path) as image:  # reads the header alone
            shorter = min(image.size) if image.format == "JPEG" and image.mode in ("RGB", "L") else 0
    except (OSError, SyntaxError, ValueError):
        return 1
    return next((factor for factor in REDUCED if shorter >= factor * size), 1)


@dataclass(frozen=True)
class Cache:
    """A finished cache. `index`: (images, 5) int64: offset, bytes, height, width, crc32."""

    folder: Path
    format: str
    channels: int
    index: NDArray[np.int64]
    bytes: NDArray[np.uint8]

    def __reduce__(self) -> tuple[Callable[..., Cache], tuple[Path, str, int]]:
        """A process that is spawned opens the files itself: pickled, it would get all pixels."""
        return _open_stored, (self.folder, self.format, self.channels)

    def read(self, row: int) -> np.ndarray | None:
        """The scaled image of a row, (height, width, channels) uint8, not to be written to; None: it is damaged."""
        offset, size, height, width, checksum = self.index[row]
        stored = self.bytes[offset : offset + size]
        if zlib.crc32(stored.data) != checksum:
            self._give_up(row)
            return None
        if self.format == "raw":
            return stored.reshape(height, width, self.channels)
        flag = cv2.IMREAD_GRAYSCALE if self.channels == 1 else cv2.IMREAD_COLOR_RGB
        return np.asarray(cv2.imdecode(stored, flag)).reshape(height, width, self.channels)

    def _give_up(self, row: int) -> None:
        (self.folder / "cache.json").unlink(missing_ok=True)
        tqdm.write(f"{self.folder} is damaged in row {row}; it is built anew the next time.", file=sys.stderr)


@dataclass(frozen=True)
class ScaledImages:
    """The images of a table's rows, scaled for `preprocessing`: from a cache, or from their files.

    `paths`: (rows,) bytes; no list, since reading a list writes its reference counts, and so copies it into every
    process.
    """

    paths: NDArray[np.bytes_]
    preprocessing: Preprocessing
    cache: Cache | None = None

    def read(self, row: int) -> np.ndarray:
        """The scaled image, (height, width, channels) uint8, not to be written to; not yet cut or filled up.

        Raises:
            ValueError: see read_image.
        """
        cached = self.cache.read(row) if self.cache is not None else None
        if cached is not None:
            return cached
        return scale_image(read_reduced(os.fsdecode(self.paths[row]), self.preprocessing), self.preprocessing)


def encode_paths(paths: Sequence[str]) -> NDArray[np.bytes_]:
    """The paths as one array of bytes."""
    return np.array([os.fsencode(path) for path in paths])


def choose_format(wanted: str, *, count: int, channels: int, size: tuple[int, int], free_bytes: int) -> str:
    """The format of a cache: what is wanted, else raw pixels where there is room, else JPEG, else "none".

    Raises:
        KitsolveError: images of so many channels cannot be stored so.
    """
    if wanted in ENCODINGS and channels not in (1, 3):
        raise KitsolveError(f"a {wanted} cache cannot hold images of {channels} channels.", hint='set cache = "raw".')
    if wanted != "auto":
        return wanted
    pixels, room = count * channels * size[0] * size[1], SHARE_OF_FREE * free_bytes
    if pixels <= room:
        return "raw"
    return "jpeg" if channels in (1, 3) and JPEG_SHARE * pixels <= room else "none"


def free_bytes(workspace: Workspace) -> int:
    """Free space on the disk of the workspace."""
    return shutil.disk_usage(workspace.root).free


def open_cache(workspace: Workspace, slug: str, format: str, images: ScaledImages, *, hint: str) -> Cache:  # noqa: A002
    """The cache of these images in this format; built, in parallel, where there is none or an image has changed.

    Raises:
        KitsolveError: an image cannot be read (with `hint`), or the disk is full.
    """
    prep = images.preprocessing
    height, width = prep.image_size
    scaling = f"{height}x{width}-{prep.resize}-{prep.interpolation}"
    folder = workspace.cache(slug) / f"{scaling}-{len(images.paths)}-{format}"
    source = _fingerprint(images)
    with locked(folder.parent, doing="building a cache", waits=True):
        if not _is_whole(folder, source):
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, format, images, hint)
            size = (folder / "images.bin").stat().st_size
            made = {"source": source, "images": len(images.paths), "bytes": size}
            write_sealed(folder / "cache.json", made | {"index": file_sha256(folder / "index.npy")})
            text = f"cache: {len(images.paths):,} images of {height} x {width} px, {size / 1e6:,.1f} MB in {folder}"
            tqdm.write(text, file=sys.stderr)
    return _open_stored(folder, format, prep.channels)


def _open_stored(folder: Path, format: str, channels: int) -> Cache:  # noqa: A002
    stored = np.memmap(folder / "images.bin", dtype=np.uint8, mode="r")
    return Cache(folder, format, channels, np.load(folder / "index.npy"), stored)


def _is_whole(folder: Path, source: str) -> bool:
    """Whether there is a finished cache of this source, and its files are what was written; a damaged one is named."""
    if not (folder / "cache.json").is_file():
        return False
    with suppress(KitsolveError, OSError):
        made = read_json(folder / "cache.json")
        if made.get("source") != source:
            return False
        size = (folder / "images.bin").stat().st_size
        if size == made.get("bytes") and file_sha256(folder / "index.npy") == made.get("index"):
            return True
    tqdm.write(f"{folder} is damaged: it is built anew.", file=sys.stderr)
    return False


def _fingerprint(images: ScaledImages) -> str:
    """Changes with every path, with the size and time of every file, and with what decodes and scales them.

    Mean and standard deviation are for later: backbones that differ in them share a cache.
    """
    prep = images.preprocessing
    found = hashlib.sha256(f"{prep.channels} {prep.background} {prep.bits} {prep.scale} {cv2.__version__}".encode())
    for path in images.paths:
        with suppress(FileNotFoundError):  # to build the cache names the file that is missing
            state = os.stat(path)
            found.update(b"%s %d %d\n" % (path, state.st_size, state.st_mtime_ns))
    return found.hexdigest()


def _build(folder: Path, format: str, images: ScaledImages, hint: str) -> None:  # noqa: A002
    index: list[tuple[int, ...]] = []

    def write(file: BinaryIO) -> None:
        encoded, total = _encode_all(format, images), len(images.paths)
        for stored, height, width in tqdm(
            encoded, total=total, desc="caching images", unit="img", leave=False, disable=None
        ):
            index.append((file.tell(), stored.nbytes, height, width, zlib.crc32(stored)))
            file.write(stored)

    with translated(hint):
        write_whole(folder / "images.bin", write)
    write_whole(folder / "index.npy", lambda file: np.save(file, np.array(index, dtype=np.int64)))


def _encode_all(format: str, images: ScaledImages) -> Iterator[tuple[np.ndarray, int, int]]:  # noqa: A002
    """The stored bytes, height and width of every image, in the order of the rows."""
    cv2.setNumThreads(0)  # our threads already keep the cores busy

    def encode(row: int) -> tuple[np.ndarray, int, int]:
        image = images.read(row)
        stored = np.ascontiguousarray(image)
        if format != "raw":
            suffix, options = ENCODINGS[format]
            colour = image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            stored = np.asarray(cv2.imencode(suffix, colour, options)[1])
        return stored, *image.shape[:2]

    with ThreadPoolExecutor(decoding_threads()) as pool:
        for start in range(0, len(images.paths), AHEAD):
            yield from pool.map(encode, range(start, min(start + AHEAD, len(images.paths))))
