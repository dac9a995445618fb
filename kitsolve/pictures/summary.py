"""What is in a train set, in numbers and in words: labels, image sizes, empty cells."""

from __future__ import annotations

import math
import unicodedata
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from kitsolve.config import Competition
from kitsolve.data.targets import Targets
from kitsolve.inference.images import read_image

FREQUENT, BINS, COLUMNS = 10, 10, 5
NAME_WIDTH, BAR_WIDTH = 32, 24
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""The EXIF tag, and its values for a camera that was held upright."""
HEADER_ERRORS = (OSError, ValueError, EOFError, SyntaxError, ImportError, AttributeError, Image.DecompressionBombError)


@dataclass(frozen=True)
class TrainSet:
    """The rows of train.csv, their labels, and where their images are."""

    competition: Competition
    table: pd.DataFrame
    targets: Targets
    paths: list[Path]

    @property
    def is_regression(self) -> bool:
        """Whether there are values in place of labels."""
        return self.targets.task == "regression"

    @property
    def names(self) -> list[str]:
        """The labels, and at last what is said of a row that has none of them."""
        return [*self.targets.names, self.competition.train.unknown or "no label"]

    @property
    def kind(self) -> str:
        """What the labels are called."""
        return "labels" if self.targets.task == "multilabel" else "classes"

    @property
    def content(self) -> str:
        """How many rows and labels."""
        if self.is_regression:
            low, high = number_text(self.targets.values.min()), number_text(self.targets.values.max())
            return f"{len(self.table):,} rows  ·  {self.targets.names[0]} from {low} to {high}"
        return f"{len(self.table):,} rows  ·  {len(self.targets.names):,} {self.kind}"


def number_text(value: float) -> str:
    """A number as people write it."""
    return f"{value:,.10g}"


def percent(share: float) -> str:
    """A share as people write it; what is not nothing never becomes 0%."""
    return f"{share:.1%}" if share >= 0.001 or share == 0 else f"{max(share * 100, 0.001):.1g}%"


def round_step(span: float, at_most: int) -> float:
    """The least of …, 0.1, 0.2, 0.5, 1, 2, 5, … that divides `span` into no more than `at_most` parts."""
    least = (span or 1.0) / at_most
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= least * (1 - 1e-9))


def histogram_edges(values: NDArray[np.float64], *, at_most: int) -> NDArray[np.float64]:
    """Edges at round values for at most two bars more than that; those of whole numbers are half between them."""
    low, high = float(values.min()), float(values.max())
    step, shift = round_step((high - low) or abs(high), at_most), 0.0
    if (values == np.round(values)).all():
        step, shift = max(step, 1.0), 0.5
    return np.arange(math.floor(low / step), math.floor(high / step) + 2, dtype=np.float64) * step - shift


# ------------------------------------------------------------------------------------------------ labels


def count_labels(targets: Targets) -> list[tuple[int, int]]:
    """Each label's number and its rows, the most frequent first; the number of names: rows with none of them."""
    names = len(targets.names)
    if targets.task == "multilabel":
        counts = np.append(targets.values.sum(axis=0, dtype=np.int64), (~targets.values.any(axis=1)).sum())
    else:
        counts = np.bincount(targets.values, minlength=names + 1)
    shown = range(names + int(counts[names] > 0))
    return sorted(((label, int(counts[label])) for label in shown), key=lambda pair: (-pair[1], pair[0]))


def row_labels(train: TrainSet, row: int, names: Sequence[str]) -> list[str]:
    """What a row is labelled with; `names` as in `TrainSet.names`."""
    value = train.targets.values[row]
    if train.is_regression:
        return [number_text(value)]
    if train.targets.task != "multilabel":
        return [names[int(value)]]
    return [names[label] for label in np.flatnonzero(value).tolist()] or [names[-1]]


# ------------------------------------------------------------------------------------------------ sizes


def measure_images(paths: Sequence[Path], channels: int) -> NDArray[np.int64]:
    """(images, 2): width and height in px as a model gets them, from the headers where these tell.

    Raises:
        ValueError: an image cannot be read; names it.
    """
    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
        # Pillow warns of images that could fill the memory; only headers are read.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return np.array(list(pool.map(partial(_measure, channels=channels), paths)), dtype=np.int64).reshape(-1, 2)


def _measure(path: Path, channels: int) -> tuple[int, int]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            return _measure_array(path, channels)
        return _measure_dicom(path) if suffix in (".dcm", ".dicom") else _measure_file(path)
    except HEADER_ERRORS:
        height, width, _ = read_image(path, channels).shape  # what only the whole file tells, or a clear error
        return width, height


def _measure_array(path: Path, channels: int) -> tuple[int, int]:
    shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    first = len(shape) == 3 and shape[-1] != channels
    height, width = shape[1:] if first else shape[:2]
    return width, height


def _measure_dicom(path: Path) -> tuple[int, int]:
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True, force=True)
    return int(header.Columns), int(header.Rows)


def _measure_file(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        turned = image.format in ("JPEG", "MPO") and image.getexif().get(ORIENTATION) in TURNED
        return (image.height, image.width) if turned else image.size


def size_range(sizes: NDArray[np.int64]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """The sizes of least, middle and greatest area."""
    order = np.lexsort((sizes[:, 1], sizes[:, 0], sizes.prod(axis=1)))
    smallest, median, largest = ((int(w), int(h)) for w, h in sizes[order[[0, (len(order) - 1) // 2, -1]]])
    return smallest, median, largest


# ------------------------------------------------------------------------------------------------ words


def describe(train: TrainSet, sizes: NDArray[np.int64]) -> list[str]:
    """Lines for a terminal."""
    labels = _describe_values(train.targets) if train.is_regression else _describe_labels(train)
    content = train.content.replace("  ·  ", ", ")
    title = printable(f"{train.competition.title}: {content} ({train.competition.task})")
    return [title, *labels, _describe_sizes(sizes, len(train.paths)), *_describe_cells(train)]


def _describe_labels(train: TrainSet) -> list[str]:
    counts, rows = count_labels(train.targets), len(train.table)
    most = FREQUENT if len(counts) > FREQUENT + 1 else len(counts)
    shown = [(printable(train.names[label]), count) for label, count in counts[:most]]
    lines = _text_bars([(name, count, percent(count / rows)) for name, count in shown])
    if more := counts[most:]:
        lines.append(f"  and {len(more):,} more {train.kind} with {sum(count for _, count in more):,} rows")
    folds = train.competition.folds.count
    few = sum(count < folds for label, count in counts if label < len(train.targets.names))
    return [*lines, f"{few:,} {train.kind} have fewer rows than there are folds ({folds})"] if few else lines


def _describe_values(targets: Targets) -> list[str]:
    values = targets.values
    counts, edges = np.histogram(values, histogram_edges(values, at_most=BINS))
    whole = bool((edges % 1 == 0.5).all())
    names = [_range_text(low, high, whole=whole) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    shares = [percent(count / len(values)) for count in counts]
    return _text_bars(list(zip(names, counts.tolist(), shares, strict=True)))


def _range_text(low: float, high: float, *, whole: bool) -> str:
    if whole:
        low, high = low + 0.5, high - 0.5
    return number_text(low) if low == high else f"{number_text(low)} to {number_text(high)}"


def _text_bars(bars: Sequence[tuple[str, int, str]]) -> list[str]:
    """A line a bar: its name, its length in block characters, the number, the share."""
    names = [_cut(name) for name, _, _ in bars]
    width, digits = max(map(_columns, names)), max(len(f"{count:,}") for _, count, _ in bars)
    longest = max(count for _, count, _ in bars) or 1
    return [
        f"  {name}{' ' * (width - _columns(name))}  {blocks(count / longest)}  {count:>{digits},}  {share:>6}"
        for name, (_, count, share) in zip(names, bars, strict=True)
    ]


def blocks(share: float) -> str:
    """A bar of BAR_WIDTH columns, in eighths of a column; what is not nothing is seen."""
    eighths = max(round(share * BAR_WIDTH * 8), int(share > 0))
    bar = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return bar.ljust(BAR_WIDTH)


def printable(text: str) -> str:
    """Without line ends and what else would steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _cut(name: str) -> str:
    while _columns(name) > NAME_WIDTH:
        name = f"{name.removesuffix('…')[:-1]}…"
    return name


def _columns(text: str) -> int:
    """How many columns of a terminal."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def _describe_sizes(sizes: NDArray[np.int64], images: int) -> str:
    smallest, median, largest = (f"{width:,} × {height:,}" for width, height in size_range(sizes))
    which = f"of {len(sizes):,} images" if len(sizes) < images else "of all images"
    if smallest == largest:
        return f"size {which}: {median} px"
    return f"sizes {which}: {smallest} to {largest} px, the middle one {median}"


def _describe_cells(train: TrainSet) -> list[str]:
    """The share of empty cells in the further columns; nothing where there are none of these."""
    known = {"image_id", "path", "fold", *train.competition.train.targets}
    further = train.table[[column for column in train.table.columns if column not in known]]
    if not len(further.columns):
        return []
    shares = further.eq("").mean().sort_values(ascending=False, kind="stable")
    shares = shares[shares > 0]
    if not len(shares):
        return [f"no empty cells in the further columns ({len(further.columns)})"]
    named = ", ".join(f"{printable(str(name))} {percent(share)}" for name, share in shares[:COLUMNS].items())
    more = f" and {len(shares) - COLUMNS} more columns" if len(shares) > COLUMNS else ""
    return [f"empty cells: {named}{more}"]
