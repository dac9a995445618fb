"""HTML in which every text is escaped that does not say of itself that it is HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from kitsolve.pictures.summary import percent

VOID = ("img",)


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


class Share(float):
    """A number in [0, 1] that people read as per cent."""

    __slots__ = ()


class Fixed(str):
    """The text of a number: numbers of a column stand below each other, digit by digit."""

    __slots__ = ()

    def __new__(cls, value: float, digits: int) -> Fixed:
        """With so many digits after the point."""
        return super().__new__(cls, f"{value:.{digits}f}")


def join(parts: Iterable[object]) -> Html:
    """The parts one after the other; what is no Html is escaped, None is left out."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in parts if part is not None))


def element(name: str, *children: object, **attributes: object) -> Html:
    """An element of HTML or SVG.

    Args:
        children: see `join`.
        attributes: `class_` stands for class, `text_anchor` for text-anchor; None is left out.
    """
    given = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    end = "" if name in VOID else f"{join(children)}</{name}>"
    return Html(f"<{name}{''.join(given)}>{end}")


def table(heads: Sequence[object], rows: Sequence[Sequence[object]], *, marked: int | None = None) -> Html:
    """A table of one row or more; columns of numbers stand at the right, the row `marked` stands out."""
    sides = [
        "n" if any(isinstance(row[place], int | float | Fixed) for row in rows) else None for place in range(len(heads))
    ]
    head = [element("th", text, class_=side) for text, side in zip(heads, sides, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = [element("td", show(value), class_=side) for value, side in zip(row, sides, strict=True)]
        lines.append(element("tr", *cells, class_="marked" if number == marked else None))
    return element("table", element("thead", element("tr", *head)), element("tbody", *lines))


def show(value: object) -> object:
    """A value as people read it, an unknown one as a dash."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Share):
        return percent(value)
    if isinstance(value, float):
        return f"{value:.5g}" if value == value else "–"
    return f"{value:,}" if isinstance(value, int) else "–" if value is None else value


def bar(share: float) -> Html:
    """A bar in a cell that is so long a part of its column."""
    return element("span", element("span", style=f"width:{100 * share:.1f}%"), class_="bar")
