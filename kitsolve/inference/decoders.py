"""From the bytes of an image file of any format to its numbers and its transparency."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
WEBP = b"WEBP"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
AVIF = (b"avif", b"avis", b"mif1", b"msf1")
JP2 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
PNM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
FLOATS = (b"PF", b"Pf", b"#?R")
OPAQUE = (JPEG, *PNM, *FLOATS, b"\x59\xa6\x6a\x95")
"""How files of formats begin that have no transparency: JPEG, the PNM family, Radiance, Sun raster."""
BITS_PER_SAMPLE = 258


class ImageError(ValueError):
    """What is wrong with an image, in words that follow the file's name."""


@dataclass(frozen=True)
class Decoded:
    """What a file holds: `numbers` (height, width, 3), RGB of any dtype; `alpha` (height, width) uint8, 255 is opaque.

    `alpha` is None where the file has none, or where it was not asked for.
    """

    numbers: np.ndarray
    alpha: np.ndarray | None = None


def decode_image(data: bytes, *, transparency: bool) -> Decoded:
    """The first image of a file, turned as the camera's orientation says.

    What both OpenCV and Pillow read comes from OpenCV, which is faster; Pillow is asked for transparency, and whether a
    TIFF or JPEG 2000 file is whole, where OpenCV fills up what is missing.

    Raises:
        ImageError: truncated, damaged or no image.
        Exception: of any kind, by a decoder that a damaged file has misled.
    """
    if data.startswith(JPEG):
        _check_jpeg(data)
    chunks = _read_chunks(data) if data.startswith(PNG) else {}
    if transparency and _may_be_transparent(data, chunks):
        plain = data.startswith(PNG) and b"tRNS" not in chunks and b"eXIf" not in chunks
        whole = _decode_with_alpha(data) if plain else None
        if whole is not None:
            return whole
        try:
            with Image.open(io.BytesIO(data)) as image:
                if image.has_transparency_data:
                    return _decode_transparent(data, image)
        except (UnidentifiedImageError, Image.DecompressionBombError):
            # A kind, or so large an image, that OpenCV alone reads.
            return _decode_with_alpha(data) or Decoded(_decode_opaque(data))
    return Decoded(_decode_opaque(data))


def decode_jpeg(data: bytes, flag: int) -> np.ndarray | None:
    """A JPEG by one of OpenCV's flags; None where OpenCV cannot read it.

    Raises:
        ImageError: it is truncated.
    """
    _check_jpeg(data)
    return _decode_with_cv2(data, flag)


def _check_jpeg(data: bytes) -> None:
    """Raise ImageError where no end marker follows the pixels: OpenCV takes the zeros of a broken download for some."""
    end = data.rfind(b"\xff\xd9")
    place = 2
    while end >= 0 and data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    if end < place:  # an end marker before the pixels is that of a preview
        raise ImageError("is damaged or no image: it is truncated, the end of the JPEG is missing.")


def _read_chunks(data: bytes) -> dict[bytes, bytes]:
    """The first 32 bytes of each kind of chunk of a PNG.

    Raises:
        ImageError: the last one is missing.
    """
    chunks: dict[bytes, bytes] = {}
    place = len(PNG)
    while place + 12 <= len(data):
        kind, after = data[place + 4 : place + 8], place + 12 + int.from_bytes(data[place : place + 4], "big")
        if kind not in chunks:
            chunks[kind] = data[place + 8 : min(after - 4, place + 40)]
        if kind == b"IEND" and after <= len(data):
            return chunks
        place = after
    raise ImageError("is damaged or no image: it is truncated, the end of the PNG is missing.")


def _may_be_transparent(data: bytes, chunks: dict[bytes, bytes]) -> bool:
    """Whether the header leaves room for transparency; False for most files, which need no second look."""
    if data.startswith(PNG):
        return chunks.get(b"IHDR", b"").ljust(10, b"\0")[9] in (4, 6) or b"tRNS" in chunks
    if data[8:12] == WEBP:  # a lossless image and an extended header say it, a plain lossy one has none
        return (data[12:16] == b"VP8X" and bool(data[20:21] > b"\x0f")) or data[12:16] == b"VP8L"
    if data.startswith(b"BM"):
        return data[28:29] in (b"\x10", b"\x20")
    return not data.startswith(OPAQUE)


def _decode_opaque(data: bytes) -> np.ndarray:
    if data.startswith(TIFF):
        return _decode_tiff(data)
    if data.startswith(PNM):  # only Pillow scales by the greatest value that the header names
        with Image.open(io.BytesIO(data)) as opened:
            numbers = _numbers_of(opened)
        return numbers if numbers.dtype == np.uint8 else numbers.astype(np.uint16)
    if data.startswith(JP2):
        _load_whole(data)
    depth = cv2.IMREAD_ANYDEPTH if data.startswith((PNG, *FLOATS)) else 0
    image = _decode_with_cv2(data, cv2.IMREAD_COLOR_RGB | depth)
    if image is not None:
        return image
    if data[4:8] == b"ftyp" and data[8:12] in AVIF:  # of a damaged one Pillow shows what it can
        raise ImageError("is damaged or no image: OpenCV cannot decode it.")
    if data.startswith(b"GIF8") and b"\0;" not in data[-4096:]:
        raise ImageError("is damaged or no image: it is truncated, the end of the GIF is missing.")
    with Image.open(io.BytesIO(data)) as opened:
        return _numbers_of(opened)


def _decode_with_cv2(data: bytes, flag: int) -> np.ndarray | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flag)
    except cv2.error:  # a damaged header can trip cv2's own checks; Pillow has the last word
        return None
    return image if image is None or image.size else None


def _decode_tiff(data: bytes) -> np.ndarray:
    """Pillow reads what has 8 bits or one channel, and tells a damaged file; OpenCV the rest."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            if image.mode in ("1", "L", "P", "RGB") and max(tags.get(BITS_PER_SAMPLE, (1,))) <= 8:
                return _numbers_of(image)
            if image.mode in ("F", "I") or image.mode.startswith("I;16"):
                return _numbers_of(image)
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError):
        pass  # a kind, or so large an image, that OpenCV alone reads
    # With IMREAD_COLOR it exchanges colours of 16 bits, and gives no float of one channel.
    numbers = _decode_with_cv2(data, cv2.IMREAD_UNCHANGED)
    if numbers is None or numbers.dtype == np.uint8:
        numbers = _decode_with_cv2(data, cv2.IMREAD_COLOR_RGB)
    elif numbers.ndim == 3:
        numbers = numbers[..., 2::-1] if numbers.shape[2] >= 3 else numbers[..., :1]
    if numbers is None:
        raise ImageError("is damaged or no image: neither OpenCV nor Pillow can read it.")
    return _three_channels(numbers)


def _load_whole(data: bytes) -> None:
    """Let Pillow, which is strict, decode the file."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Image.DecompressionBombError:
        return


def _numbers_of(image: Image.Image) -> np.ndarray:
    """The pixels of an image that Pillow has opened; numbers of more than 8 bits stay as they are."""
    image.load()
    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("F", "I") or turned.mode.startswith("I;16"):  # convert() would cut these off at 255
        return _three_channels(np.asarray(turned))
    return np.asarray(turned.convert("RGB"))


def _three_channels(numbers: np.ndarray) -> np.ndarray:
    numbers = numbers[..., None] if numbers.ndim == 2 else numbers
    return np.repeat(numbers, 3, axis=-1) if numbers.shape[-1] == 1 else np.ascontiguousarray(numbers)


def _decode_transparent(data: bytes, image: Image.Image) -> Decoded:
    """The same of an image that has an alpha channel, a palette with one, or a colour that means transparent.

    Values of 16 bits come from OpenCV, since Pillow has no mode for colours of 16 bits.
    """
    key = image.info.get("transparency")
    image.load()
    deep = _decode_opaque(data) if data.startswith(TIFF) or data[24:25] == b"\x10" else None
    if deep is not None and deep.dtype != np.uint8:
        if isinstance(key, int | tuple):
            return Decoded(deep, np.where((deep == np.array(key)).all(axis=-1), 0, 255).astype(np.uint8))
        return Decoded(deep, _rgba(image)[..., 3])
    rgba = _rgba(image)
    return Decoded(np.ascontiguousarray(rgba[..., :3]), rgba[..., 3])


def _decode_with_alpha(data: bytes) -> Decoded | None:
    """The same by OpenCV alone, whose fourth channel is the alpha; None where there is none."""
    image = _decode_with_cv2(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        return None
    colours = np.ascontiguousarray(image[..., 2::-1])
    if image.dtype == np.uint8:
        return Decoded(colours, image[..., 3])
    top = 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)
    alpha = np.rint((image[..., 3] / top).clip(0, 1) * 255).astype(np.uint8)
    return Decoded(colours, alpha)


def _rgba(image: Image.Image) -> np.ndarray:
    turned = ImageOps.exif_transpose(image)
    return np.asarray((turned.convert("LA") if turned.mode == "La" else turned).convert("RGBA"))
