"""Ids that are more than an image's name: pairs of images, an image and the name of an answer, a bag of images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from kitsolve.proposing.layout import Layout
from kitsolve.proposing.sources import Source

MOST_LOOKED_AT = 300
NEARLY_ALL = 0.9
MARKS = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Composite:
    """Ids of an image and the name of an answer: how many images, the first, the most lines of one, the first id.

    `is_numbered`: the answers' names are numbers.
    """

    heads: int
    head: str
    lines: int
    example: str
    is_numbered: bool


def find_composite(layout: Layout, sample: pd.DataFrame | None) -> Composite | None:
    """The sample's ids where several begin with the same image's name, or folder's name; None where they do not."""
    if sample is None or not layout.images:
        return None
    ids = sample.iloc[:, 0]
    names = _image_names(layout)
    if sum(name in names for name in ids) > len(ids) / 2:
        return None
    folders = {part for path in layout.images for part in path.split("/")[:-1]}
    found = _count_heads(ids, names)
    if found is None:
        found = _count_heads(ids, folders)
        # A frame of a video, say: its folder and its number.
        said = found is not None and not found.is_numbered and (found.heads > 1 or bool(re.search(r"\d", found.head)))
        return found if said else None
    return found


def _count_heads(ids: pd.Series, known: set[str]) -> Composite | None:
    """How the ids begin with known names; None where hardly any do, or each with another one."""
    heads = [next((head for head, _ in _cut(name) if head in known), "") for name in ids]
    counts = pd.Series([head for head in heads if head]).value_counts()
    if counts.empty or counts.sum() < NEARLY_ALL * len(ids) or len(counts) > len(ids) / 2:
        return None
    tails = [MARKS.sub("", name[len(head) :]) for name, head in zip(ids, heads, strict=True)]
    return Composite(
        len(counts), str(counts.index[0]), int(counts.max()), str(ids.iloc[0]), all(tail.isdecimal() for tail in tails)
    )


def find_pairs(layout: Layout, sample: pd.DataFrame | None, tables: Sequence[pd.DataFrame]) -> str:
    """The column that names two images in a cell, or the two columns of which one names what the other does."""
    known = _image_names(layout)
    if sample is not None and known:
        ids = sample.iloc[:MOST_LOOKED_AT, 0]
        paired = sum(any(head in known and tail in known for head, tail in _cut(name)) for name in ids)
        if paired > NEARLY_ALL * len(ids):
            return f"each id of the sample submission names a pair of images, first: {ids.iloc[0]!r}"
    for rows in tables if known else ():
        named = [str(name) for name in rows if _names_images(rows[name], known)]
        for one, other in zip(named, named[1:], strict=False):
            shared = set(rows[one]) & set(rows[other])
            if shared and not (rows[one] == rows[other]).all() and rows[other].nunique() > 1:
                return f"each train row names a pair of images ({one}, {other}), first: {rows[one].iloc[0]!r}"
    return ""


def find_bags(layout: Layout, sources: Sequence[Source], asked: Sequence[str]) -> str:
    """The table of labels whose rows another table gives several images each."""
    known = _image_names(layout)
    naming = [source for source in sources if any(_names_images(source.rows[name], known) for name in source.rows)]
    for labels in sources if known else ():
        if labels in naming or not set(asked) & set(labels.rows) or len(asked) != 1:
            continue
        for key in labels.rows.columns.difference(asked):
            values = labels.rows[key]
            for links in naming if values.is_unique else ():
                for name in links.rows:
                    cells = links.rows[name]
                    if not cells.is_unique and set(values[:MOST_LOOKED_AT]) <= set(cells):
                        count = len(cells) / cells.nunique()
                        return (
                            f"a row of {labels.path} has several images, {count:.1f} in the mean "
                            f"({links.path}, {name}): it labels bags of images"
                        )
    return ""


def _names_images(cells: pd.Series, known: set[str]) -> bool:
    few = cells.iloc[:MOST_LOOKED_AT]
    return bool(few.nunique() > 1 and sum(few.isin(known)) > NEARLY_ALL * len(few))


def _image_names(layout: Layout) -> set[str]:
    """The images' names with and without their suffix."""
    names = {path.rpartition("/")[2] for path in layout.images}
    return names | {name.rpartition(".")[0] for name in names}


def _cut(name: str) -> Iterator[tuple[str, str]]:
    """The id in two parts, at each of its marks, the longest first part first."""
    for mark in reversed(list(MARKS.finditer(name))):
        yield name[: mark.start()], name[mark.end() :]
