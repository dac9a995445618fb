"""Whether an image file holds several pages or frames, of which only the first is read."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from kitsolve.inference.decoders import JPEG, PNG, TIFF, WEBP

NEW_SUBFILE_TYPE = 254
MP_ENTRIES = 0xB002
AVIF_SEQUENCE = b"avis"


def has_pages(data: bytes) -> bool:
    """Whether further pages or frames of a file's size follow the first.

    Smaller ones are none: the levels of a pyramid, the preview that a camera adds to a JPEG.
    """
    if data.startswith(JPEG):
        return b"MPF\0" in data[:65536] and _ask_pillow(data)
    if data.startswith(PNG):
        return b"acTL" in data[: data.find(b"IDAT")]
    if data[8:12] == WEBP:
        return data[12:16] == b"VP8X" and bool(data[20] & 2)
    if data[4:8] == b"ftyp":
        return data[8:12] == AVIF_SEQUENCE
    return data.startswith((*TIFF, b"GIF8")) and _ask_pillow(data)


def _ask_pillow(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if not getattr(image, "is_animated", False):
                return False
            return _has_equal_page(image)
    except Exception:  # noqa: BLE001  (decoders raise of every kind, and the first page, which is used, was read)
        return False


def _has_equal_page(image: Any) -> bool:  # noqa: ANN401  (of its format's class)
    if image.format == "MPO":
        kinds = [entry["Attribute"]["MPType"] for entry in image.mpinfo[MP_ENTRIES]]
        return any(kind.startswith("Multi-Frame") for kind in kinds)
    if image.format != "TIFF":
        return bool(image.format == "GIF")
    size = image.size
    for page in range(1, min(image.n_frames, 16)):
        image.seek(page)
        if image.size == size and not image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & 1:
            return True
    return False
