"""The cells of a table whose quotation marks, blanks or widths want a closer look: an error names its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pandas as pd

from kitsolve.inference.encodings import BLANKS, TableText, line_of

LINE_END = re.compile(r"\r\n|\r|\n")
INSIDE = r'[^"]*+(?:""[^"]*+)*+'
"""What stands between two quotation marks, where two mean one."""
LEARNED = 1001


def split_cells(found: TableText, *, spelt: bool = False) -> tuple[list[str], pd.DataFrame, bool]:
    """Header and cells of a table, and whether every row has an empty cell more than the header, which is left out.

    Args:
        spelt: cells as they are written; else without the blanks around them that are outside of quotation marks.

    Raises:
        ValueError: a row that is not as wide as the header, or a quotation mark that is not closed, or stands within a
            cell, or swallows rows; names the line.
    """
    lines, rows = [], []
    for line, record in _iter_records(found, spelt=spelt):
        lines.append(line)
        rows.append(record)
    header, rows = rows[0], rows[1:]
    width = len(header)
    trailing = bool(rows) and all(len(row) == width + 1 and not row[-1] for row in rows)
    for line, row in zip(lines[1:], rows, strict=True):
        if len(row) != width + trailing:
            cut = "; perhaps the file is cut off" if line == lines[-1] and len(row) < width else ""
            shown, count = found.separator.join(row)[:60], "1 cell" if len(row) == 1 else f"{len(row)} cells"
            raise ValueError(f"{found.path}, line {line}: {shown!r} is {count}, where the header has {width}{cut}.")
    columns = {place: pd.Series([row[place] for row in rows], dtype=str) for place in range(width)}
    return header, pd.DataFrame(columns), trailing


def _iter_records(found: TableText, *, spelt: bool) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, and those that quotation marks join: where each begins, and its cells."""
    text, place, line = found.text, 0, 1
    split, likeness = _cell_splitter(found, spelt=spelt), Likeness()
    while place < len(text):
        end = LINE_END.search(text, place)
        whole = text[place : end.start() if end else None]
        first_line = line
        if '"' in whole:
            record, place = split(place, likeness)
            line += len(LINE_END.findall(text, end.start(), place)) if end else 0
            end = LINE_END.match(text, place)
        else:
            record = whole.split(found.separator)
            record = record if spelt else [cell.strip(BLANKS) for cell in record]
        if len(record) > 1 or whole.strip(BLANKS):
            likeness.add(record)
            yield first_line, record
        place, line = end.end() if end else len(text), line + 1


def _cell_splitter(found: TableText, *, spelt: bool) -> Callable[[int, Likeness], tuple[list[str], int]]:
    """What gives the cells of the record that begins at a place of the text, and where it ends."""
    text, separator = found.text, re.escape(found.separator)
    blanks = f"[{BLANKS.replace(found.separator, '')}]*"
    cell = re.compile(rf'{blanks}"({INSIDE})"{blanks}(?={separator}|[\r\n]|\Z)|([^{separator}\r\n]*)')

    def split(place: int, likeness: Likeness) -> tuple[list[str], int]:
        record = list[str]()
        while not record or text.startswith(found.separator, place):
            begin = place + bool(record)
            match = cell.match(text, begin)
            assert match is not None, f"no cell at {begin} of {found.path}"
            place = match.end()
            if match[1] is not None:
                if not spelt:  # what is our own may hold anything
                    likeness.refuse_swallowed(found, match.start(1), match.end(1))
                record.append(match[1].replace('""', '"'))
            elif match[2].lstrip(BLANKS).startswith('"'):
                raise _stray_mark(found, text.index('"', begin))
            else:
                record.append(match[2] if spelt else match[2].strip(BLANKS))
        return record, place

    return split


class Likeness:
    """What a line looks like that is a row: its number of cells, and the length and characters of the first."""

    def __init__(self) -> None:
        self.count, self.width, self.shortest, self.longest = 0, 0, 0, 0
        self.kinds: set[str] = set()

    def add(self, record: list[str]) -> None:
        """Learn from a record; the first one is the header, and the next thousand tell."""
        self.count += 1
        if self.count > LEARNED:
            return
        if self.count == 1:
            self.width = len(record)
            return
        size = len(record[0])
        self.shortest, self.longest = min(self.shortest or size, size), max(self.longest, size)
        self.kinds.update(map(_kind, record[0]))

    def fits(self, line: str, separator: str) -> bool:
        """Whether a line could be a row."""
        cells = line.split(separator)
        first = cells[0].strip(BLANKS)
        if len(cells) != self.width or self.width < 2 or not first or '"' in first:
            return False
        if not self.kinds:  # there was no row yet
            return " " not in first
        return self.shortest <= len(first) <= self.longest and set(map(_kind, first)) <= self.kinds

    def refuse_swallowed(self, found: TableText, start: int, end: int) -> None:
        """Raise ValueError where a line that begins in a quoted cell, or with it, could be a row."""
        text = found.text
        line_ends = re.compile(r"\r?\n") if "\n" in text else LINE_END
        for line_end in line_ends.finditer(text, start, end):
            rest = LINE_END.search(text, line_end.end())
            swallowed = text[line_end.end() : rest.start() if rest else None]
            is_first_cell = start == 1 or text[start - 2] in "\r\n"
            whole = is_first_cell and self.fits(text[start : line_end.start()], found.separator)
            if whole or self.fits(swallowed, found.separator):
                raise ValueError(
                    f"{found.path}, line {line_of(text, start)}: a quotation mark opens that swallows line "
                    f"{line_of(text, line_end.end())}, {swallowed[:60]!r}, which looks like a row."
                )


def _kind(character: str) -> str:
    """Letters are alike, and digits."""
    return "a" if character.isalpha() else "0" if character.isdigit() else character


def _stray_mark(found: TableText, opening: int) -> ValueError:
    """The error of a quotation mark that does not enclose a whole cell."""
    line = line_of(found.text, opening)
    match = re.compile(INSIDE).match(found.text, opening + 1)
    assert match is not None
    if match.end() == len(found.text):
        return ValueError(f"{found.path}, line {line}: a quotation mark opens a cell and is never closed.")
    shown = found.text[max(opening, match.end() - 30) : match.end() + 10]
    return ValueError(
        f"{found.path}, line {line_of(found.text, match.end())}: a quotation mark stands within a cell, {shown!r}, "
        f"where one in line {line} has opened it; remove it, or write it twice."
    )
