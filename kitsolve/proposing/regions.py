"""Cells that describe regions of an image, or images themselves: run lengths, boxes, polygons, pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

MOST_LOOKED_AT = 200
LEAST_PIXELS = 64
RUN_NAMES = re.compile(r"(?:^|_)rles?(?:_|$)|encoded_?pixels|run_?length", re.IGNORECASE)
MASK_NAMES = re.compile(r"segment|mask|polygon|wkt|predict|annotation", re.IGNORECASE)
BOX_NAMES = re.compile(r"prediction_?strings?|bbox|bounding_?box|^box(?:es)?$", re.IGNORECASE)
CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("x1", "y1", "width", "height"),
    ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
    ("left", "top", "width", "height"),
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
)
NUMBER = r"-?\d+(?:\.\d+)?"
BOX = re.compile(rf"\[\s*{NUMBER}(?:[,\s]+{NUMBER}){{3}}\s*\]|\[?\{{'x': ?\d.*'width'.*")
POLYGON = re.compile(rf"(?:MULTI)?POLYGON\b.*|\[\s*[\[(]\s*{NUMBER}\s*,\s*{NUMBER}.*", re.IGNORECASE | re.DOTALL)
POINT_NAMES = re.compile(r".*(?:^|[a-z\d]_)[xy]", re.IGNORECASE)
PIXEL_NAMES = re.compile(r"(?:pixel|px)[\W_]?\d+|\d+x\d+", re.IGNORECASE)


def hold_runs(cells: pd.Series) -> bool:
    """Whether the cells are run lengths of pixels: pairs of a start and a length, in order, that hardly come again."""
    filled = _filled(cells)
    if len(filled) < 3 or not all(re.fullmatch(r"\d+(?: \d+)+", cell) for cell in filled):
        return False
    numbers = [list(map(int, cell.split())) for cell in filled]
    words = [word for cell in numbers for word in cell]
    # Sets of labels are short lists of few different numbers, some of them odd.
    rare = len(set(words)) > len(words) / 3 and max(words) > 255
    return rare and sum(map(_are_runs, numbers)) > 0.95 * len(numbers) and max(map(len, numbers)) > 2


def _are_runs(numbers: Sequence[int]) -> bool:
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    ordered = all(start < later for (start, _), (later, _) in zip(pairs, pairs[1:], strict=False))
    return len(numbers) % 2 == 0 and ordered


def hold_boxes(cells: pd.Series) -> bool:
    """Whether the cells are lists of four numbers, or of objects with x and width."""
    filled = _filled(cells)
    return len(filled) > 0 and all(BOX.fullmatch(cell) for cell in filled)


def hold_polygons(cells: pd.Series) -> bool:
    """Whether the cells are polygons: well-known text, or a list of points."""
    filled = _filled(cells)
    return len(filled) > 0 and all(POLYGON.fullmatch(cell) for cell in filled)


def find_corners(columns: Sequence[str]) -> list[str]:
    """The columns of a box's corners or of its corner and its size; none where there are no such four."""
    plain = {re.sub(r"[\W_]", "", name.lower()): name for name in columns}
    for names in CORNERS:
        for prefix in ("", "bbox", "box"):
            if all(prefix + name in plain for name in names):
                return [plain[prefix + name] for name in names]
    return []


def find_places(columns: Sequence[str]) -> list[str]:
    """The columns that say where in an image something is, boxes and points: no labels of the whole image."""
    points = [name for name in columns if POINT_NAMES.fullmatch(name)]
    return [*find_corners(columns), *(points if len(points) > 1 else [])]


def find_pixels(rows: pd.DataFrame) -> list[str]:
    """The columns that are the pixels of an image, a row an image."""
    named = [name for name in map(str, rows) if PIXEL_NAMES.fullmatch(name)]
    if len(named) > 3:
        return named
    if rows.shape[1] < LEAST_PIXELS:
        return []
    few = rows.iloc[:5]
    grey = [name for name in rows if all(cell.isdecimal() and int(cell) < 256 for cell in few[name])]
    return grey if len(grey) >= LEAST_PIXELS else []


def hold_pixels(cells: pd.Series) -> bool:
    """Whether a cell is a whole image: many numbers of a byte each."""
    for cell in _filled(cells)[:5]:
        words = cell.replace(",", " ").strip("[] ").split()
        if len(words) < LEAST_PIXELS or not all(word.isdecimal() and int(word) < 256 for word in words):
            return False
    return bool(_filled(cells))


def _filled(cells: pd.Series) -> list[str]:
    return [cell.strip() for cell in cells.iloc[:MOST_LOOKED_AT] if cell.strip() and cell.strip() != "-1"]
