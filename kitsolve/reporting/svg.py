"""Charts as SVG inside of the page, whose style gives them their colours, in the light and in the dark.

Sizes and places are in px of a picture, (x, y) from its upper left corner.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kitsolve.pictures.charts import Axis
from kitsolve.pictures.summary import number_text
from kitsolve.reporting.html import Html, element, join

WIDTH, HEIGHT = 500, 270
TOP, BOTTOM = 30, 36
DIGIT = 7
"""No character of a tick is wider."""


@dataclass(frozen=True)
class Line:
    """A line through points of rising `x`; `colour` is a number; `marked` is the point that counts."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int
    marked: int | None = None


def draw(*content: object, label: str, width: int = WIDTH, height: int = HEIGHT) -> Html:
    """A picture; `label` says to those who cannot see it what it shows."""
    return element("svg", *content, viewBox=f"0 0 {width} {height}", role="img", aria_label=label)


def write(text: str, x: float, y: float, *, at: str = "middle", kind: str | None = None, **further: object) -> Html:
    """Text that starts, ends or has its middle `at` a place of its baseline."""
    return element("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=at, class_=kind, **further)


def box(
    x: float, y: float, *, width: float, height: float, kind: str, title: str = "", fill_opacity: float | None = None
) -> Html:
    """A rectangle that says `title` when it is pointed at."""
    hover = element("title", title) if title else None
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{max(width, 0):g}", "height": f"{max(height, 0):g}"}
    return element("rect", hover, class_=kind, **place, fill_opacity=fill_opacity)


def make_axes(
    x: tuple[float, float, str], y: tuple[float, float, str], *, whole: bool = False, height: int = HEIGHT
) -> tuple[Axis, Axis]:
    """The axes of a picture, each from a least to a greatest value; `whole`: the ticks of x are whole numbers."""
    up = Axis(y[0], y[1], height - BOTTOM, TOP, y[2])
    left = 14 + DIGIT * max(len(number_text(value)) for value in up.ticks(5))
    return Axis(x[0], x[1], left, WIDTH - 10, x[2], whole=whole), up


def draw_axes(x: Axis, y: Axis) -> Html:
    """Faint lines across, ticks, the names of both axes."""
    parts = [write(y.name, 0, TOP - 14, at="start", kind="name")]
    for value in y.ticks(5):
        place = y.place(value)
        parts.append(element("path", d=f"M{x.start} {place}H{x.end}", class_="rule"))
        parts.append(write(number_text(value), x.start - 8, place + 4, at="end"))
    parts.append(element("path", d=f"M{x.start} {y.start}H{x.end}", class_="axis"))
    for value in x.ticks(8):
        parts.append(element("path", d=f"M{x.place(value)} {y.start}v5", class_="axis"))
        parts.append(write(number_text(value), x.place(value), y.start + 18))
    parts.append(write(x.name, x.end, y.start + 33, at="end", kind="name"))
    return join(parts)


def draw_lines(lines: Sequence[Line], *, names: tuple[str, str], early: float = 0.0) -> Html:
    """Lines over whole numbers; points that are no numbers are left out.

    Args:
        early: the share of the points, from the first, that may run out of the picture so that the later ones show.
    """
    last = max(max(line.x) for line in lines)
    low, high = _range_of(lines, first=early * last)
    room = 0.05 * (high - low) or abs(high) or 1.0
    x, y = make_axes((1, max(last, 2), names[0]), (low - room, high + room, names[1]), whole=True)
    # A picture within a picture cuts what runs out of it; beside it there is room for half a dot.
    frame = {"x": x.start - 6, "y": y.end, "width": x.end - x.start + 12, "height": y.start - y.end}
    view = f"{frame['x']} {frame['y']} {frame['width']} {frame['height']}"
    inner = element("svg", *(_draw_line(line, x, y) for line in lines), viewBox=view, **frame)
    return draw(draw_axes(x, y), inner, label=f"{names[1]} by {names[0]}")


def _range_of(lines: Sequence[Line], *, first: float) -> tuple[float, float]:
    """The least and the greatest number at `first` or after it, or marked."""
    points = [(line, place, x, y) for line in lines for place, (x, y) in enumerate(zip(line.x, line.y, strict=True))]
    shown = [y for line, place, x, y in points if np.isfinite(y) and (x >= first or place == line.marked)]
    return (min(shown), max(shown)) if shown else (0.0, 1.0)


def _draw_line(line: Line, x: Axis, y: Axis) -> Html:
    points = [(one, other) for one, other in zip(line.x, line.y, strict=True) if np.isfinite(other)]
    places = " ".join(f"{x.place(one)},{y.place(other)}" for one, other in points)
    colour = f"var(--s{line.colour % 8})"
    dots = []
    for one, other in points:
        marked = line.marked is not None and one == line.x[line.marked]
        title = element("title", f"{line.name}, {x.name} {one:g}: {other:.5g}{' (best)' if marked else ''}")
        style = f"stroke:{colour}" if marked else f"fill:{colour}"
        size, kind = (4.5, "best") if marked else (2, None)
        dots.append((marked, _dot(title, x.place(one), y.place(other), radius=size, class_=kind, style=style)))
    dots.sort(key=lambda pair: pair[0])  # the marked one lies on top
    return join(
        [element("polyline", points=places, class_="line", style=f"stroke:{colour}"), *(dot for _, dot in dots)]
    )


def _dot(title: Html, x: int, y: int, *, radius: float, **further: object) -> Html:
    return element("circle", title, cx=x, cy=y, r=radius, **further)


def draw_bars(counts: NDArray[np.int64], edges: NDArray[np.float64], *, names: tuple[str, str]) -> Html:
    """A histogram: how many values lie between neighbouring edges."""
    x, y = make_axes((float(edges[0]), float(edges[-1]), names[0]), (0, float(counts.max()) * 1.05 or 1, names[1]))
    bars = [
        box(
            x.place(low) + 0.5,
            y.place(count),
            width=x.place(high) - x.place(low) - 1,
            height=y.start - y.place(count),
            kind="fill",
            title=f"{number_text(low)} to {number_text(high)}: {count:,}",
        )
        for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if count
    ]
    return draw(draw_axes(x, y), *bars, label=f"{names[1]} by {names[0]}")


def draw_dots(x_values: NDArray[np.float64], y_values: NDArray[np.float64], *, names: tuple[str, str]) -> Html:
    """Points, and a line where both values are equal."""
    low, high = float(min(x_values.min(), y_values.min())), float(max(x_values.max(), y_values.max()))
    room = 0.04 * (high - low) or 1.0
    x, y = make_axes((low - room, high + room, names[0]), (low - room, high + room, names[1]), height=400)
    dots = "".join(f"M{x.place(a)} {y.place(b)}h0" for a, b in zip(x_values, y_values, strict=True))
    line = element("path", d=f"M{x.place(low)} {y.place(low)}L{x.place(high)} {y.place(high)}", class_="ideal")
    return draw(
        draw_axes(x, y),
        element("path", d=dots, class_="dots"),
        line,
        label=f"{names[1]} by {names[0]}",
        height=400,
    )


def legend(entries: Iterable[tuple[str, int]], *more: object) -> Html:
    """Names beside their colours."""
    shown = [element("span", element("i", style=f"color:var(--s{colour % 8})"), name) for name, colour in entries]
    return element("div", *shown, *more, class_="legend")
