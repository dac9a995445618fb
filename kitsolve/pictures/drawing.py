"""Pictures drawn with Pillow: text that fits, and grids of images.

Sizes and places are in px of the picture, (x, y) from its upper left corner.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH = 1600
MARGIN = 48
GAP = 16
HEADER = 148
PAPER, INK, FAINT, RULE, CELL, ACCENT, QUIET = (
    "#ffffff", "#2b2f36", "#757c87", "#e4e7eb", "#f3f4f6", "#2f6fb7", "#c2c8d0"
)  # fmt: skip
CAPTION = 16
CAPTION_LINE = 21


@dataclass(frozen=True)
class Heading:
    """What stands above a picture: its title, and a line that says what is to be seen."""

    title: str
    subtitle: str


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture."""

    left: int
    top: int
    width: int
    height: int


# ------------------------------------------------------------------------------------------------ text


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that Pillow brings, so that a picture looks alike on every machine."""
    face = ImageFont.load_default(size=size)
    assert isinstance(face, ImageFont.FreeTypeFont), "this Pillow is built without FreeType"
    return face


REPLACED = str.maketrans(
    {"×": "x", "–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "ß": "ss", "æ": "ae", "Æ": "AE"}
    | {"ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "ı": "i", "≥": ">=", "≤": "<="}
)


def readable(text: str) -> str:
    """`text` in letters that the font has: without accents, blanks for line ends, "?" for what it cannot show."""
    return "".join(_readable(character) for character in text.translate(REPLACED))


@cache
def _readable(character: str) -> str:
    if unicodedata.category(character)[0] in "CZ":
        return " "
    if unicodedata.combining(character):
        return ""
    if _has_glyph(character):
        return character
    parts = [part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)]
    return "".join(part if _has_glyph(part) else "?" for part in parts)


def _has_glyph(character: str) -> bool:
    masks = [font(20).getmask(text) for text in (character, "\uffff")]  # the second is no character of any font
    return (masks[0].size, bytes(masks[0])) != (masks[1].size, bytes(masks[1]))


def readable_names(names: Sequence[str]) -> list[str]:
    """Each name as `readable` gives it, with its number in front where that made it unclear or like another."""
    texts = [readable(name).strip() for name in names]
    times = Counter(texts)
    return [
        f"#{number} {text}".strip() if text != name and (times[text] > 1 or not text or "?" in text) else text
        for number, (name, text) in enumerate(zip(names, texts, strict=True))
    ]


def text_width(text: str, size: int) -> int:
    """The width in px."""
    return math.ceil(font(size).getlength(text))


def shorten(text: str, width: int, size: int) -> str:
    """`text`, or its beginning and an ellipsis, no wider than `width`."""
    if text_width(text, size) <= width:
        return text
    kept = bisect_right(range(len(text)), width, key=lambda count: text_width(f"{text[:count].rstrip()}…", size)) - 1
    return f"{text[: max(0, kept)].rstrip()}…"


def wrap(text: str, width: int, size: int, *, lines: int) -> list[str]:
    """Up to so many lines, broken behind blanks, underscores, hyphens, slashes; the last one shortened."""
    pieces = re.findall(r"[^ _/-]*[ _/-]+|[^ _/-]+", text)
    wrapped: list[str] = []
    while pieces and len(wrapped) < lines - 1:
        count = bisect_right(list(accumulate(pieces)), width, key=lambda start: text_width(start.rstrip(), size))
        wrapped.append(shorten("".join(pieces[: max(1, count)]).strip(), width, size))
        pieces = pieces[max(1, count) :]
    return [*wrapped, shorten("".join(pieces).strip(), width, size)] if pieces else wrapped or [""]


# ------------------------------------------------------------------------------------------------ canvas


def start_picture(height: int, heading: Heading) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty picture with its heading, and the pen that draws on it."""
    picture = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(picture)
    room = WIDTH - 2 * MARGIN
    draw.text((MARGIN, MARGIN - 6), shorten(readable(heading.title), room, 36), fill=INK, font=font(36))
    draw.text((MARGIN, MARGIN + 46), shorten(readable(heading.subtitle), room, 20), fill=FAINT, font=font(20))
    return picture, draw


# ------------------------------------------------------------------------------------------------ grids of images


def draw_grid(
    images: Sequence[NDArray[np.uint8]],
    captions: Sequence[Sequence[str]],
    heading: Heading,
    *,
    columns: int = 8,
    heads: tuple[str, str] | None = None,
) -> Image.Image:
    """Images in rows, each letterboxed in a cell, its labels beneath.

    Args:
        images: (height, width, channels) each.
        captions: the labels of each image.
        heads: what stands above the first column, which is set apart, and above the others.
    """
    boxes = grid_boxes(images, captions, columns=columns, apart=heads is not None)
    lines = caption_lines(captions, boxes[0].width)
    bottom = boxes[-1].top + boxes[-1].height + max(map(len, lines)) * CAPTION_LINE
    picture, draw = start_picture(bottom + MARGIN, heading)
    for head, box in zip(heads or (), boxes[:2], strict=False):
        draw.text((box.left, box.top - 12), head, fill=FAINT, font=font(CAPTION), anchor="ls")
    for image, box, caption in zip(images, boxes, lines, strict=True):
        draw.rectangle((box.left, box.top, box.left + box.width - 1, box.top + box.height - 1), fill=CELL)
        fitted = letterbox(tile_channels(image), box.width, box.height)
        place = (box.left + (box.width - fitted.width) // 2, box.top + (box.height - fitted.height) // 2)
        picture.paste(fitted, place)
        for number, line in enumerate(caption):
            middle = (box.left + box.width // 2, box.top + box.height + 5 + number * CAPTION_LINE)
            draw.text(middle, line, fill=INK, font=font(CAPTION), anchor="ma")
    return picture


def grid_boxes(
    images: Sequence[NDArray[np.uint8]], captions: Sequence[Sequence[str]], *, columns: int, apart: bool = False
) -> list[Box]:
    """The cell of each image: as wide as `columns` allow, as high as suits the images' usual shape."""
    extra = 2 * GAP if apart else 0
    width = (WIDTH - 2 * MARGIN - extra - (columns - 1) * GAP) // columns
    shapes = [image.shape[0] / image.shape[1] for image in map(tile_channels, images)]
    height = round(width * min(max(float(np.median(shapes)), 0.6), 1.4))
    step = height + max(map(len, caption_lines(captions, width))) * CAPTION_LINE + GAP + 8
    top = HEADER + (28 if apart else 0)
    return [
        Box(
            MARGIN + column * (width + GAP) + (extra if column else 0),
            top + row * step,
            width,
            height,
        )
        for row, column in (divmod(number, columns) for number in range(len(images)))
    ]


def caption_lines(captions: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """A label in one or two lines; of several labels each in a line, and at most three lines."""
    return [_caption_lines(labels, width) for labels in captions]


def _caption_lines(labels: Sequence[str], width: int) -> list[str]:
    if len(labels) == 1:
        return wrap(labels[0], width, CAPTION, lines=2)
    shown = labels if len(labels) <= 3 else [*labels[:2], f"and {len(labels) - 2} more"]
    return [shorten(label, width, CAPTION) for label in shown]


def tile_channels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 3): of other than 1 or 3 channels the first nine beside each other, as squarely as possible."""
    height, width, channels = image.shape
    if channels in (1, 3):
        return np.broadcast_to(image, (height, width, 3))
    count = min(channels, 9)
    columns = min(range(1, count + 1), key=lambda n: abs(math.log(n * width / (math.ceil(count / n) * height))))
    rows = math.ceil(count / columns)
    rim = max(1, min(height, width) // 60)
    tiles = np.full((rows * (height + rim) - rim, columns * (width + rim) - rim, 3), 255, dtype=np.uint8)
    for channel in range(count):
        row, column = divmod(channel, columns)
        top, left = row * (height + rim), column * (width + rim)
        tiles[top : top + height, left : left + width] = image[..., channel, None]
    return tiles


def letterbox(image: NDArray[np.uint8], width: int, height: int) -> Image.Image:
    """The image as large as fits; small images keep their pixels visible."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    method = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return Image.fromarray(np.ascontiguousarray(image)).resize(size, method)
