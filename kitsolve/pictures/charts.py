"""Charts drawn with Pillow: bars, a histogram, a scatter plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kitsolve.pictures.drawing import (
    ACCENT,
    FAINT,
    GAP,
    HEADER,
    INK,
    MARGIN,
    PAPER,
    QUIET,
    RULE,
    WIDTH,
    Heading,
    font,
    shorten,
    start_picture,
    text_width,
)
from kitsolve.pictures.summary import histogram_edges, number_text, round_step

BINS = 50
ROWS = 8
BOTTOM = HEADER + 790


@dataclass(frozen=True)
class Bar:
    """A bar of `length` (any unit, not negative), its name before it and what it says behind it."""

    name: str
    length: float
    note: str
    quiet: bool = False


def draw_bars(bars: Sequence[Bar], heading: Heading, *, rest: str = "") -> Image.Image:
    """Horizontal bars, one below the other, and `rest` as the last line."""
    step = min(max(720 // len(bars), 28), 56)
    size = 18 if step < 40 else 20
    names = [shorten(bar.name, 420, size) for bar in bars]
    left = MARGIN + max(text_width(name, size) for name in names) + GAP
    room = WIDTH - MARGIN - left - GAP - max(text_width(bar.note, size) for bar in bars)
    picture, draw = start_picture(HEADER + step * (len(bars) + bool(rest)) + MARGIN, heading)
    for number, (bar, name, length) in enumerate(zip(bars, names, bar_lengths(bars, room), strict=True)):
        middle, half = HEADER + step * number + step // 2, round(step * 0.36)
        draw.text((left - GAP, middle), name, fill=FAINT if bar.quiet else INK, font=font(size), anchor="rm")
        if length:
            colour = QUIET if bar.quiet else ACCENT
            draw.rectangle((left, middle - half, left + length - 1, middle + half), fill=colour)
        draw.text((left + length + 12, middle), bar.note, fill=FAINT, font=font(size), anchor="lm")
    draw.text((left, HEADER + step * len(bars) + step // 2), rest, fill=FAINT, font=font(size), anchor="lm")
    return picture


def bar_lengths(bars: Sequence[Bar], room: int) -> list[int]:
    """In px, the longest `room`; what is not nothing has at least 1 px."""
    longest = max(bar.length for bar in bars) or 1
    return [max(round(room * bar.length / longest), int(bar.length > 0)) for bar in bars]


# ------------------------------------------------------------------------------------------------ axes


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` between two places; `name` with its unit; `whole`: ticks are whole numbers."""

    low: float
    high: float
    start: int
    end: int
    name: str
    whole: bool = False

    def place(self, value: float) -> int:
        """Where a value stands."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start))

    def ticks(self, at_most: int) -> list[float]:
        """Round values within the axis."""
        step = max(round_step(self.high - self.low, at_most), 1.0 if self.whole else 0.0)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def draw_axes(draw: ImageDraw.ImageDraw, x: Axis, y: Axis) -> None:
    """Both axes with ticks and names, and faint lines across."""
    for value in y.ticks(ROWS):
        place = y.place(value)
        draw.line((x.start, place, x.end, place), fill=RULE)
        draw.text((x.start - 12, place), number_text(value), fill=FAINT, font=font(18), anchor="rm")
    for value in x.ticks(12):
        place = x.place(value)
        draw.line((place, y.start, place, y.start + 7), fill=FAINT)
        draw.text((place, y.start + 12), number_text(value), fill=FAINT, font=font(18), anchor="ma")
    draw.line((x.start, y.start, x.end, y.start), fill=FAINT)
    draw.text((x.end, y.start + 44), shorten(x.name, x.end - x.start, 18), fill=INK, font=font(18), anchor="ra")
    draw.text((MARGIN, y.end - 18), y.name, fill=INK, font=font(18), anchor="ls")


def _left_of(y: Axis) -> int:
    """Where the other axis starts, so that the texts of this one's ticks find room."""
    return MARGIN + 16 + max(text_width(number_text(value), 18) for value in y.ticks(ROWS))


def draw_histogram(values: NDArray[np.float64], heading: Heading, *, name: str) -> Image.Image:
    """How often values occur."""
    edges = histogram_edges(values, at_most=BINS)
    counts, _ = np.histogram(values, edges)
    y = Axis(0, float(counts.max()) * 1.04, BOTTOM, HEADER + 40, "rows", whole=True)
    beside = float(edges[1] - edges[0]) if len(edges) == 2 else 0.0  # a single bar needs room to look like one
    x = Axis(float(edges[0]) - beside, float(edges[-1]) + beside, _left_of(y), WIDTH - MARGIN, name)
    picture, draw = start_picture(BOTTOM + 76 + MARGIN, heading)
    draw_axes(draw, x, y)
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            top = min(y.place(count), BOTTOM - 1)
            draw.rectangle((x.place(start) + 1, top, x.place(end) - 1, BOTTOM - 1), fill=ACCENT)
    return picture


def draw_curve(
    x: NDArray[np.float64], y: NDArray[np.float64], heading: Heading, *, names: tuple[str, str], mark: float
) -> Image.Image:
    """A line through points of rising `x`, and an upright one at `mark`."""
    room = 0.04 * float(np.ptp(y)) or 1.0
    across = Axis(float(x[0]), float(x[-1]), 0, WIDTH - MARGIN, names[0])
    up = Axis(float(y.min()) - room, float(y.max()) + room, BOTTOM, HEADER + 40, names[1])
    across = replace(across, start=_left_of(up))
    picture, draw = start_picture(BOTTOM + 76 + MARGIN, heading)
    draw_axes(draw, across, up)
    draw.line((across.place(mark), up.start, across.place(mark), up.end), fill=FAINT, width=2)
    draw.line([(across.place(one), up.place(other)) for one, other in zip(x, y, strict=True)], fill=ACCENT, width=4)
    return picture


def draw_scatter(sizes: NDArray[np.int64], heading: Heading) -> Image.Image:
    """Width against height of images.

    Args:
        sizes: (images, 2), each a width and a height in px.
    """
    points, counts = np.unique(sizes, axis=0, return_counts=True)
    y = Axis(0, float(sizes[:, 1].max()) * 1.12, BOTTOM, HEADER + 40, "height in px", whole=True)
    x = Axis(0, float(sizes[:, 0].max()) * 1.12, _left_of(y), WIDTH - MARGIN, "width in px", whole=True)
    picture, draw = start_picture(BOTTOM + 76 + MARGIN, heading)
    draw_axes(draw, x, y)
    _draw_diagonal(picture, draw, x, y)
    for number in np.argsort(-counts, kind="stable"):
        radius = max(4, round(26 * math.sqrt(counts[number] / len(sizes))))
        _draw_dot(picture, x.place(points[number, 0]), y.place(points[number, 1]), radius)
    width, height = points[counts.argmax()].tolist()
    text = f"{width:,} x {height:,}: {counts.max():,} of {len(sizes):,}"
    _annotate(draw, text, x=x, y=y, point=(width, height))
    return picture


def _draw_diagonal(picture: Image.Image, draw: ImageDraw.ImageDraw, x: Axis, y: Axis) -> None:
    """Where square images are."""
    end = min(x.high, y.high)
    points = math.hypot(x.place(end) - x.start, y.place(end) - y.start) // 10
    for value in np.linspace(0, end, max(2, int(points)))[1:]:
        _draw_dot(picture, x.place(value), y.place(value), 1, colour=QUIET)
    left, top = x.place(end * 0.15) + 14, y.place(end * 0.15)
    low = y.start - top < 32  # beneath it there is no room above the axis
    place = (left, top - 26 if low else top + 4)
    draw.text(place, "square", fill=FAINT, font=font(18), stroke_width=4, stroke_fill=PAPER)


def _draw_dot(picture: Image.Image, x: int, y: int, radius: int, *, colour: str = ACCENT) -> None:
    picture.paste(colour, (x - radius - 1, y - radius - 1), _dot(radius))


@cache
def _dot(radius: int) -> Image.Image:
    """An opacity mask: drawn large and shrunk, since Pillow draws circles with steps."""
    side, fine = 2 * radius + 3, 8
    mask = Image.new("L", (side * fine, side * fine))
    ImageDraw.Draw(mask).ellipse((fine, fine, (side - 1) * fine - 1, (side - 1) * fine - 1), fill=140)
    return mask.resize((side, side), Image.Resampling.BOX)


def _annotate(draw: ImageDraw.ImageDraw, text: str, *, x: Axis, y: Axis, point: tuple[int, int]) -> None:
    """Name a point on the side where there is more room; off the diagonal, on which most frequent sizes are."""
    left, top = x.place(point[0]), y.place(point[1])
    side = 1 if left < (x.start + x.end) / 2 else -1
    bend = top - 52 if side < 0 or top + 72 > y.start else top + 52
    draw.line((left, top, left, bend, left + side * 36, bend), fill=INK)
    place, anchor = (left + side * 44, bend), "lm" if side > 0 else "rm"
    draw.text(place, text, fill=INK, font=font(20), anchor=anchor, stroke_width=4, stroke_fill=PAPER)
