"""From an image file of any kind to a model's input."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor

from kitsolve.inference.bundle import Preprocessing
from kitsolve.inference.decoders import ImageError, decode_image
from kitsolve.inference.pixels import Seen, find_range, stretch, to_rgb, to_uint8

CV2_INTERPOLATION = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def read_image(
    path: Path | str, channels: int = 3, *, background: str = "ignore", bits: int = 16, scale: str = "set"
) -> np.ndarray:
    """The image as (height, width, channels) uint8: RGB, grey (1), or what an array file (.npy) holds.

    A grey image gets three equal channels, a camera's orientation is applied, and of several pages or frames the first
    is taken. Numbers that are no 8 bits become 8 as `to_uint8` says; those of DICOM files by `stretch`.

    Args:
        background: what transparency is laid on, "white", "black" or "mean"; "ignore" takes the colours as they are,
            which are any where nothing is to be seen.
        bits: how many the integers of 16 bits or more use.
        scale: see `to_uint8`; with "image" numbers of an array that are no 8 bits become 8 by `stretch`.

    Raises:
        ValueError: missing, empty, truncated, no image, or not of so many channels; names the file.
    """
    return inspect_image(path, channels, background=background, bits=bits, scale=scale)[0]


def read_as(path: Path | str, preprocessing: Preprocessing) -> np.ndarray:
    """The image as a model gets it, not yet resized; see `read_image`."""
    kind = preprocessing
    return read_image(path, kind.channels, background=kind.background, bits=kind.bits, scale=kind.scale)


def inspect_image(
    path: Path | str,
    channels: int = 3,
    *,
    background: str = "ignore",
    bits: int = 16,
    scale: str = "set",
    data: bytes | None = None,
) -> tuple[np.ndarray, Seen]:
    """What `read_image` gives, and what was special in the file, whose content may be `data` already."""
    data = read_bytes(path) if data is None else data
    suffix = os.path.splitext(path)[1].lower()
    try:
        if suffix == ".npy":
            return _scale_array(_read_array(data, channels), bits=bits, scale=scale)
        if suffix in (".dcm", ".dicom"):
            image, seen = _read_dicom(path), Seen()
        else:
            decoded = decode_image(data, transparency=background != "ignore")
            image, seen = to_rgb(decoded, background=background, bits=bits, scale=scale)
    except ImageError as error:
        raise ValueError(f"image {path} {error}") from error
    except UnidentifiedImageError as error:  # its own words name an object in memory
        begin = f"it begins with {data[:20]!r}, as no image that can be read does"
        raise ValueError(f"image {path} is damaged or no image: {begin}.") from error
    except Exception as error:  # the decoders of some fifty formats raise of every kind for a damaged file
        raise ValueError(f"image {path} is damaged or no image: {error or type(error).__name__}.") from error
    if channels not in (1, 3):
        raise ValueError(f"image {path} has colours, not the {channels} channels that the competition's file names.")
    return image if channels == 3 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], seen


def read_bytes(path: Path | str) -> bytes:
    """The content of an image file.

    Raises:
        ValueError: missing, no file, or empty; names it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise ValueError(f"image {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not data:
        raise ValueError(f"image {path} is empty (0 bytes).")
    return data


def _read_array(data: bytes, channels: int) -> np.ndarray:
    """(height, width, channels) the numbers of an array file, which has its channels first or last."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, and raises whatever that does
        raise ImageError(f"is damaged or no array: {error or type(error).__name__}.") from error
    if not isinstance(array, np.ndarray):
        raise ImageError("is an archive of arrays (.npz), no array.")
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim == 3 and array.shape[-1] != channels:
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[-1] != channels:
        raise ImageError(f"has the shape {array.shape}; the competition's file names {channels} channels.")
    if not array.size:
        raise ImageError(f"has the shape {array.shape}: it holds no pixel.")
    return np.ascontiguousarray(array)


def _scale_array(array: np.ndarray, *, bits: int, scale: str) -> tuple[np.ndarray, Seen]:
    if scale == "image" and array.dtype != np.uint8:
        return stretch(array), Seen(range=find_range(array))
    return to_uint8(array, bits=bits, scale=scale)


def _read_dicom(path: Path | str) -> np.ndarray:
    """A DICOM image as RGB, through its own window where it has one; MONOCHROME1 (white is low) is inverted."""
    try:
        from pydicom import dcmread
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError as error:
        raise ImageError(f'is DICOM: `pip install "kitsolve[dicom]"` reads it ({error}).') from error
    try:
        dataset = dcmread(path)
        pixels = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    except Exception as error:  # pydicom and its decoders raise of every kind for a damaged file
        raise ImageError(f"is damaged or no DICOM image: {error}.") from error
    image: np.ndarray = pixels if pixels.dtype == np.uint8 else stretch(pixels)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        image = 255 - image
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=-1)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ImageError(f"has the shape {image.shape}: a series of images is not read, only one.")
    return image


def resize_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The image at `image_size`, (height, width, channels)."""
    return place_image(scale_image(image, preprocessing), preprocessing)


def scale_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The image scaled so that it fits: exactly (squash), from outside (crop) or from inside (letterbox).

    Shrinking averages whole areas (no aliasing, unlike cv2's bilinear); enlarging takes `interpolation`.
    """
    before, after = image.shape[:2], preprocessing.image_size
    if preprocessing.resize != "squash":
        choose = max if preprocessing.resize == "crop" else min
        scale = choose(after[0] / before[0], after[1] / before[1])
        after = (max(1, round(before[0] * scale)), max(1, round(before[1] * scale)))
    if before == after:
        return image
    shrinks = before[0] > after[0] and before[1] > after[1]
    how = cv2.INTER_AREA if shrinks else CV2_INTERPOLATION[preprocessing.interpolation]
    parts = [image[..., first : first + 4] for first in range(0, image.shape[2], 4)]  # cv2 resizes 4 channels at most
    resized = [cv2.resize(part, after[::-1], interpolation=how).reshape(*after, -1) for part in parts]
    return resized[0] if len(resized) == 1 else np.concatenate(resized, axis=-1)


def place_image(image: np.ndarray, preprocessing: Preprocessing, place: tuple[float, float] = (0.5, 0.5)) -> np.ndarray:
    """A scaled image cut or filled up to `image_size`.

    Args:
        place: where the cut is, (down, across): 0 at the upper left corner, 1 at the lower right one.
    """
    height, width = preprocessing.image_size
    more = image.shape[0] - height, image.shape[1] - width
    if more == (0, 0):
        return image
    if min(more) >= 0:
        top, left = (round(pixels * share) for pixels, share in zip(more, place, strict=True))
        return image[top : top + height, left : left + width]
    filled = np.empty((height, width, image.shape[2]), dtype=np.uint8)
    filled[:] = np.rint(255 * np.array(preprocessing.mean))
    top, left = -more[0] // 2, -more[1] // 2
    filled[top : top + image.shape[0], left : left + image.shape[1]] = image
    return filled


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(images, height, width, channels) uint8 -> (images, channels, height, width) float32, channels_last in memory."""
    mean = torch.tensor(preprocessing.mean, device=images.device) * 255
    scale = 1 / (torch.tensor(preprocessing.std, device=images.device) * 255)
    return images.permute(0, 3, 1, 2).float().sub_(mean.view(-1, 1, 1)).mul_(scale.view(-1, 1, 1))


def iter_batches(
    paths: Sequence[Any],
    kinds: Sequence[Preprocessing],
    *,
    batch_size: int,
    workers: int,
    ahead: int = 2,
    read: Callable[[Any, Preprocessing], np.ndarray] = read_as,
    lenient: bool = False,
) -> Iterator[tuple[list[Tensor], dict[int, str]]]:
    """Batches of decoded images in the order of `paths`; so many further ones are read while a batch is in use.

    Every image is read once for all `kinds` that read alike. Each batch holds one uint8 tensor (images, height, width,
    channels) for each kind, and why some of its images, by their place in it, are black: those that cannot be read,
    where that is no error.
    Threads do the work: cv2 leaves Python's lock while it decodes, and threads also work inside a notebook.
    """
    readings = [(kind.channels, kind.background, kind.bits, kind.scale) for kind in kinds]
    black = [np.zeros((*kind.image_size, kind.channels), dtype=np.uint8) for kind in kinds]

    def read_all(path: Any) -> list[np.ndarray] | str:  # noqa: ANN401  (what `read` takes)
        images: dict[tuple[int, str, int, str], np.ndarray] = {}
        try:
            for kind, reading in zip(kinds, readings, strict=True):
                if reading not in images:
                    images[reading] = read(path, kind)
            return [resize_image(images[reading], kind) for kind, reading in zip(kinds, readings, strict=True)]
        except (ValueError, OSError, MemoryError, cv2.error) as error:
            if lenient:
                return str(error) if isinstance(error, ValueError) else f"image {path}: {error!r}"
            raise

    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            waiting = (
                [pool.submit(read_all, path) for path in paths[start : start + batch_size]]
                for start in range(0, len(paths), batch_size)
            )
            queue = deque(islice(waiting, ahead))
            while True:
                queue.extend(islice(waiting, 1))
                if not queue:
                    return
                found = [future.result() for future in queue.popleft()]
                lost = {place: image for place, image in enumerate(found) if isinstance(image, str)}
                images = [black if isinstance(image, str) else image for image in found]
                yield [torch.from_numpy(np.stack(sized)) for sized in zip(*images, strict=True)], lost
        finally:
            pool.shutdown(cancel_futures=True)
