"""One reader for every table that a competition or a user gives, and the writer whose tables it reads back whole.

A table is CSV, and its rows are as wide as its header. Plain ones are read by pandas after some checks of the bytes;
the others cell by cell, by the same rules.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kitsolve.inference.cells import split_cells
from kitsolve.inference.encodings import BLANKS, TableText, read_text


@dataclass(frozen=True)
class Table:
    """`rows`: all cells as strings, an empty one is "". `notices`: what is unusual about the file, a sentence each."""

    rows: pd.DataFrame
    encoding: str
    notices: tuple[str, ...] = ()


def read_table(path: Path, encoding: str | None = None, *, separator: str | None = None, spelt: bool = False) -> Table:
    """The table of a CSV file, in which 0012 and 1e5 are names, and blank lines no rows.

    Blanks around names and cells are left out, but those inside of quotation marks. A column without a name becomes
    "unnamed_2", counted from 0; where it is empty, too, it is left out, and so is an empty cell at the end of every
    row that the header does not have.

    Args:
        encoding: None: what a byte order mark names, else utf-8, else cp1252, and then a notice says so.
        separator: None: a comma, semicolon, tab, vertical bar, or blanks, as the header and the rows have it.
        spelt: the header and the cells just as they are written.

    Raises:
        ValueError: another encoding, a row that is not as wide as the header, a name that the header has twice, a
            quotation mark that is not closed or swallows rows, or nothing at all; names file and line.
    """
    found = read_text(path, encoding, separator=separator)
    header, rows, trailing = _read_plain(found, spelt=spelt) or split_cells(found, spelt=spelt)
    notices = found.notices
    if trailing:
        notices += (f"every row of {path.name} ends with a separator that its header does not have; it is left out.",)
    names = header if spelt else [name or f"unnamed_{place}" for place, name in enumerate(header)]
    repeated = pd.Index(names, dtype=object)[pd.Index(names, dtype=object).duplicated()]
    if len(repeated):
        raise ValueError(f"{path}, line 1: the header has the column {repeated[0]!r} twice.")
    rows.columns = pd.Index(names)
    if not spelt:
        nothing = [name for name, given in zip(names, header, strict=True) if not given and (rows[name] == "").all()]
        rows = rows.drop(columns=nothing)
    return Table(rows, found.encoding, notices)


def _read_plain(found: TableText, *, spelt: bool) -> tuple[list[str], pd.DataFrame, bool] | None:
    """What `split_cells` gives, by pandas; None where it takes a closer look."""
    data = found.text.rstrip("\r\n").encode()
    padded = not spelt and _has_blanks_around(data, found.separator)
    if padded and b'"' in data:
        return None
    counts = _count_separators(data, ord(found.separator))
    if counts is None:
        return None
    width, extra = int(counts[0]) + 1, int(counts[1] - counts[0]) if len(counts) > 1 else 0
    if width == 1 and _has_blanks_around(data, found.separator):
        return None  # a line of blanks would be a row
    if extra not in (0, 1) or (counts[1:] != counts[0] + extra).any():
        return None
    rows = _parse(data, found.separator, width + extra)
    if rows is None or len(rows) != len(counts):
        return None
    if extra and (rows[width][1:] != "").any():
        return None
    if padded:
        rows = rows.apply(lambda cells: pd.Series([cell.strip(BLANKS) for cell in cells], dtype=str))
    header = [str(name) for name in rows.iloc[0, :width]]
    return header, rows.iloc[1:, :width].reset_index(drop=True), bool(extra)


def _has_blanks_around(data: bytes, separator: str) -> bool:
    """Whether a cell may begin or end with a blank."""
    ascii_only = data.isascii()
    blanks = [blank.encode() for blank in BLANKS if blank != separator and (blank.isascii() or not ascii_only)]
    edges = separator.encode(), b"\n", b"\r"
    return any(
        data.startswith(blank)
        or data.endswith(blank)
        or any(edge + blank in data or blank + edge in data for edge in edges)
        for blank in blanks
        if blank in data
    )


def _count_separators(data: bytes, separator: int) -> np.ndarray | None:
    """(lines,) how many there are outside of quotation marks; None where these are not plain, or a line is empty.

    Plain are marks around whole cells of one line, doubled inside of them.
    """
    held = np.frombuffer(data, dtype=np.uint8)
    places, ends = np.flatnonzero(held == separator), np.flatnonzero(held == ord("\n"))
    if b"\r" in data:
        returns = np.flatnonzero(held == ord("\r"))
        ends = np.union1d(ends, returns[held[returns + 1] != ord("\n")])  # the last byte is none
    lengths = np.diff(np.append(ends, len(data)), prepend=-1) - 1
    if (lengths == 0).any() or (b"\n\r\n" in data) or (b"\r\r\n" in data):
        return None
    if b'"' in data:
        marks = np.flatnonzero(held == ord('"'))
        if not _are_plain(held, marks, separator) or (np.searchsorted(marks, ends) % 2).any():
            return None
        places = places[np.searchsorted(marks, places) % 2 == 0]
    return np.diff(np.searchsorted(places, np.append(ends, len(data))), prepend=0)


def _are_plain(held: np.ndarray, marks: np.ndarray, separator: int) -> bool:
    """Whether marks open at the beginning of cells and close at their ends, but for doubled ones."""
    if len(marks) % 2:
        return False
    opening, closing = marks[0::2], marks[1::2]
    edge = np.isin(np.arange(256), [separator, ord("\n"), ord("\r")])
    begins, ends = np.append(edge[held], True)[opening - 1], np.append(edge[held], True)[closing + 1]
    doubled = opening[1:] == closing[:-1] + 1
    return bool((begins | np.append(False, doubled)).all() and (ends | np.append(doubled, False)).all())


def _parse(data: bytes, separator: str, width: int) -> pd.DataFrame | None:
    """All lines by pandas; None where it cannot."""
    try:
        return pd.read_csv(
            io.BytesIO(data),
            sep=separator,
            header=None,
            names=range(width),
            index_col=False,
            dtype=str,
            na_filter=False,
        )
    except pd.errors.ParserError:
        return None


def table_bytes(table: pd.DataFrame) -> bytes:
    """A table as CSV in utf-8, which `read_table` and pandas read back whole."""
    text = str(table.to_csv(index=False))
    if "\r" in text or table.shape[1] == 1:
        # csv quotes only what would end its own lines: for readers a lone carriage return does, too, and where there is
        # one column a cell of blanks is a line to be skipped.
        text = str(table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))
    return text.encode()
