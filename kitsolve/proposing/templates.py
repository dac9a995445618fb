"""Image templates: what turns the columns of a table's rows into the paths of files that are there.

Templates are read off the paths of a few rows, spelled in every way that the rows' columns allow; what is true of all
rows then shows on looking them up.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import pandas as pd

from kitsolve.data.sampling import sample_rows
from kitsolve.inference.filetree import ANY_SUFFIX, IMAGE_SUFFIXES
from kitsolve.proposing.layout import PLAIN_SUFFIXES, Layout, suffix_of

Row = Mapping[str, str]

MOST_HITS = 60
MOST_SEEN = 1500
MOST_TRIES = 200_000
MOST_SPELLINGS = 400
MOST_KEYS = 8
LOOKED_UP = 300
FINALISTS = 12
MOST_ROWS_AN_IMAGE = 20
# No template says these: str.format would read them as something else than a column's name.
UNSPEAKABLE = re.compile(r"[{}\[\].:!]|^\d*$")
MASKS = re.compile(r"mask|segm|annot|bbox|overlay|heat_?map", re.IGNORECASE)


@dataclass(frozen=True)
class Template:
    """An image template: the share of the rows whose file is there, the first of these, how many different ones.

    `has_masks`: it speaks of masks, overlays and the like, which are no images.
    """

    text: str
    share: float = 0.0
    example: str = ""
    images: int = 0
    has_masks: bool = False

    @property
    def fields(self) -> list[str]:
        """The columns that it needs, each once."""
        return list(dict.fromkeys(re.findall(r"\{(?!\{)([^}\[:]+)", self.text.replace("{{", ""))))

    @property
    def is_plain(self) -> bool:
        """Whether the files are of a plain image format."""
        return suffix_of(self.example) in PLAIN_SUFFIXES


def find_templates(rows: pd.DataFrame, layout: Layout, *, like: str = "") -> list[Template]:
    """Templates by which at least one row finds its image, no two for the same files, best share first.

    Where files have several suffixes, or `like` leaves it open, a template ends in ANY_SUFFIX. Of two for the same
    files the one with fewer columns is kept, then that with the first column or a file's name.
    """
    columns = [name for name in rows if not UNSPEAKABLE.search(str(name))]
    if not layout.images or not columns or rows.empty:
        return []
    drawn = sample_rows(np.zeros(len(rows)), LOOKED_UP, seed=0)
    spread = rows[columns].iloc[drawn].to_dict("records")
    found: dict[str, tuple[float, int]] = {}
    for key in _keys(rows[columns]):
        found |= _score(_spell_key(rows[columns], key, layout), spread, layout)
    best = sorted(found, key=lambda text: (-found[text][0], -found[text][1], *_rank_spelling(text, columns[0])))
    distinct: dict[tuple[str, ...], str] = {}
    for text in best[: 4 * FINALISTS]:
        distinct.setdefault(tuple(map(layout.tree.resolve, fill(text, spread))), text)
    full = [_open_suffix(text, rows, layout, like=like) for text in islice(distinct.values(), FINALISTS)]
    full = list({template.text: template for template in full}.values())
    # A column of a few values finds a few files again and again.
    telling = [template for template in full if template.images * MOST_ROWS_AN_IMAGE >= len(rows) * template.share]
    return sorted(telling, key=lambda template: -template.share)


def _rank_spelling(text: str, first: str) -> tuple[object, ...]:
    """Smaller is simpler."""
    fields = Template(text).fields
    names_files = any("file" in name.lower() for name in fields)
    return text.count("{"), ":0>" in text, first not in fields, not names_files, len(text)


def fill_table(text: str, rows: pd.DataFrame, layout: Layout) -> list[str]:
    """The file of each row of a table; where there is none, its path as the template has it."""
    fields = [name for name in Template(text).fields if name in rows]
    paths = fill(text, rows[fields].to_dict("records")) if fields else [""] * len(rows)
    return [layout.tree.resolve(path) for path in paths]


def fill(text: str, rows: Iterable[Row]) -> list[str]:
    """The path of each row; an empty string where a row lacks a column, or its value is too short for the template."""
    paths = []
    for row in rows:
        try:
            paths.append(text.format_map(row).replace("\\", "/"))
        except (IndexError, KeyError):
            paths.append("")
    return paths


def _keys(rows: pd.DataFrame) -> list[str]:
    """Columns that may tell images apart, the most telling first."""
    counts = {name: rows[name].nunique() for name in rows}
    telling = [name for name in counts if counts[name] > max(1, len(rows) // 10) or len(rows) == 1]
    return sorted(telling, key=lambda name: -counts[name])[:MOST_KEYS]


def _score(texts: Iterable[str], spread: list[dict[str, str]], layout: Layout) -> dict[str, tuple[float, int]]:
    """Template -> the share of the rows whose file is there, and how many files; left out is what serves one row."""
    few = [spread[row] for row in sample_rows(np.zeros(len(spread)), 20, seed=0)]
    shares = {}
    for text in dict.fromkeys(texts):
        if sum(layout.tree.resolve(path) in layout.files for path in fill(text, few)) > (len(few) > 3):
            resolved = map(layout.tree.resolve, fill(text, spread))
            there = [path for path in resolved if path in layout.files]
            shares[text] = len(there) / len(spread), len(set(there))
    return shares


def _open_suffix(text: str, rows: pd.DataFrame, layout: Layout, *, like: str) -> Template:
    """The template with its share of all rows; with any suffix where that finds more, or as many and `like` has it."""
    template = look_up(text, rows, layout)
    stem, suffix = os.path.splitext(text)
    if suffix.lower() not in IMAGE_SUFFIXES:
        return template
    is_wanted = like.endswith(ANY_SUFFIX)
    opened = look_up(stem + ANY_SUFFIX, rows, layout) if is_wanted or template.share < 1 else template
    return opened if opened.share > template.share or (is_wanted and opened.share == template.share) else template


def look_up(text: str, rows: pd.DataFrame, layout: Layout) -> Template:
    """The template with its share of all rows."""
    there = [path for path in fill_table(text, rows, layout) if path in layout.files]
    # A word of the ids themselves says nothing about the folder.
    literal = re.sub(r"\{[^}]*\}", "", text)
    return Template(
        text,
        share=len(there) / len(rows),
        example=there[0] if there else "",
        images=len(set(there)),
        has_masks=bool(MASKS.search(literal)),
    )


def _spell_key(rows: pd.DataFrame, key: str, layout: Layout) -> Iterator[str]:
    """Templates with the column `key`, from the paths that hold its value in one of a few rows."""
    lengths = rows[key].str.len()
    # The longest value is the most telling one, the shortest shows a padding with zeros.
    for row in sorted({0, len(rows) // 2, int(lengths.argmax()), int(lengths.argmin()), len(rows) - 1}):
        values = {name: unicodedata.normalize("NFC", cell) for name, cell in rows.iloc[row].to_dict().items()}
        value = values[key].removeprefix("./").replace("\\", "/")
        for start, end, path in _choose_hits(islice(_find_value(value, layout.text), MOST_SEEN), values):
            padded = len(value) < end - start
            field = f"{{{key}:0>{end - start}}}" if padded else f"{{{key}}}"
            yield from _spell(path[:start], field, path[end:], row=values, key=key)


def _choose_hits(hits: Iterable[tuple[int, int, str]], row: Row) -> list[tuple[int, int, str]]:
    """The hits whose paths have most of the row's cells: a well B03 is on every plate of every experiment."""
    cells = [cell for cell in set(row.values()) if len(cell) > 1]

    def rank(hit: tuple[int, int, str]) -> int:
        return -sum(cell in hit[2] for cell in cells)

    return sorted(hits, key=rank)[:MOST_HITS]


def _find_value(value: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Places of `value` in the paths of `text`, as a whole word or number: start and end within the path, the path.

    A number's start is before the zeros that pad it.
    """
    place = text.find(value) if value.strip() else -1
    for _ in range(MOST_TRIES):
        if place < 0:
            return
        start, end = place, place + len(value)
        while value.isdecimal() and text[start - 1] == "0":
            start -= 1
        if not _same_kind(text[start - 1], value[0]) and not _same_kind(value[-1], text[end]):
            line = text.rfind("\n", 0, start) + 1
            yield start - line, end - line, text[line : text.find("\n", line)]
        place = text.find(value, place + 1)


def _same_kind(one: str, other: str) -> bool:
    """Whether two neighbouring characters belong to one number or one word."""
    return (one.isdecimal() and other.isdecimal()) or (one.isalpha() and other.isalpha())


def _spell(left: str, field: str, right: str, *, row: Row, key: str) -> Iterator[str]:
    """The ways to write a path around the field: each other part as it is, or as what it shares with the row."""
    pieces = [_spell_piece(piece, row, key) for piece in left.split("/")]
    rest = [_spell_piece(piece, row, key) for piece in right.split("/")]
    for spelled in islice(product(*pieces, *rest), MOST_SPELLINGS):
        yield "/".join(spelled[: len(pieces)]) + field + "/".join(spelled[len(pieces) :])


def _spell_piece(piece: str, row: Row, key: str) -> list[str]:
    """A part of a path as it is, from the key's letters, or with another column's value."""
    ways = [piece.replace("{", "{{").replace("}", "}}")]
    if not piece:
        return ways
    value = row[key]
    for start in range(6):
        if len(piece) <= 3 and value[start : start + len(piece)] == piece:
            ways.append("".join(f"{{{key}[{start + place}]}}" for place in range(len(piece))))
    for name, cell in row.items():
        around = _find_whole(cell, piece) if cell else None
        if around and not set("".join(around)) & set("{}"):
            ways.append(f"{around[0]}{{{name}}}{around[1]}")
    return ways


def _find_whole(cell: str, piece: str) -> tuple[str, str] | None:
    """What stands before and after the cell in a part of a path, where it is a whole word or number there.

    A single character must be the whole part, or a number after letters: it is found by chance in too many others.
    """
    before, found, after = piece.partition(cell)
    numbered = cell.isdecimal() and re.fullmatch(r"[A-Za-z _-]+\d", piece) is not None
    if not found or (len(cell) == 1 and cell != piece and not numbered):
        return None
    if _same_kind(before[-1:], cell[0]) or _same_kind(cell[-1], after[:1]):
        return None
    return before, after
