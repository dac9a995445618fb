"""From a table's bytes to its text: which encoding it has, and what separates its columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
BLANKS = (
    " \t\v\f\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u200b\u202f\u205f\u2060\u3000\ufeff"
)
"""What may stand around a cell without being part of it."""
PLAIN = ("utf-8", "utf-8-sig")
BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
LINES_COMPARED = 200
"""Rows that tell which separator a table has."""
START = 1 << 20
"""Characters in which these rows are looked for."""


@dataclass(frozen=True)
class TableText:
    """A table's text, how it was read, and a sentence about each of the two that is unusual."""

    path: Path
    text: str
    encoding: str
    separator: str
    notices: tuple[str, ...]


def read_text(path: Path, encoding: str | None = None, *, separator: str | None = None) -> TableText:
    """The text of a table's file without its byte order mark.

    Args:
        encoding: None: what a byte order mark names, else utf-8, else cp1252.
        separator: None: see `find_separator`.

    Raises:
        ValueError: another encoding, NUL bytes, or nothing in it; names file and line.
    """
    text, known = decode_file(path, encoding)
    if not text.strip(BLANKS + "\r\n"):
        raise ValueError(f"{path} is empty, where a table has a header and rows.")
    if "\0" in text:
        line = line_of(text, text.index("\0"))
        raise ValueError(f"{path}, line {line}: there is a NUL byte; the file is damaged, or is no text.")
    said = None if separator else re.match(r"sep=([,;\t|])\r?\n", text)  # Excel's own first line
    text, separator = (text[said.end() :], said[1]) if said else (text, separator or find_separator(text))
    notices = [] if encoding or known in PLAIN else [f"{path.name} is not utf-8 and was read as {known}."]
    if separator != ",":
        words = SEPARATORS.get(separator, "blanks")
        notices.append(f"{path.name} has {words} between its columns, not commas.")
    if separator == " ":
        lines = [line.split() for line in re.split(r"\r\n|\r|\n", text)]
        text, separator = "\n".join("\t".join(line) for line in lines), "\t"
    return TableText(path, text, known, separator, tuple(notices))


def decode_file(path: Path, encoding: str | None = None) -> tuple[str, str]:
    """A file's text without its byte order mark, and its encoding.

    Args:
        encoding: None: see `guess_encoding`.

    Raises:
        ValueError: the file has another one; names the first line that tells, and what it may be.
    """
    data = path.read_bytes()
    known = encoding or guess_encoding(data)
    try:
        text = data.decode("utf-8-sig" if known in PLAIN else known)
        fits = known not in PLAIN or b"\0" not in data or guess_encoding(data) in PLAIN
        place = 0
    except LookupError as error:
        raise ValueError(f"{path}: Python knows no encoding {known!r}.") from error
    except UnicodeError as error:
        text, fits, place = "", False, getattr(error, "start", 0)
    if not fits:
        line, likely = 1 + data.count(b"\n", 0, place), guess_encoding(data)
        if likely == known:
            raise ValueError(f"{path}, line {line}: it ends within a character of {known}; the file is cut off.")
        raise ValueError(f'{path}, line {line}: this is not {known}. Its rows may want encoding = "{likely}".')
    return text.removeprefix("\ufeff"), known


def guess_encoding(data: bytes) -> str:
    """What a byte order mark names, else utf-16 where every other byte is zero, else utf-8, else cp1252 or latin-1."""
    for mark, name in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return name
    start = data[:2000]
    for zeros, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(start) > 3 and start[zeros::2].count(0) > len(start) / 4 and not start[1 - zeros :: 2].count(0):
            return name
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # cut off within a character
            return "utf-8"
        undefined = set(data) & {0x81, 0x8D, 0x8F, 0x90, 0x9D}
        return "latin-1" if undefined else "cp1252"
    return "utf-8"


def line_of(text: str, place: int) -> int:
    """The 1-based number of the line that holds a place of the text; a lone carriage return ends a line, too."""
    before = text[:place]
    return 1 + before.count("\n") + before.count("\r") - before.count("\r\n")


def find_separator(text: str) -> str:
    """What stands between the header's names, and as often in the rows; a comma where there is one column.

    Blanks separate only where nothing else could and all lines agree.
    """
    lines = [line for line in re.split(r"[\r\n]+", text[:START]) if line.strip(BLANKS)][: LINES_COMPARED + 1]
    header, rows = lines[0], lines[1:]
    rows = rows[:-1] if len(text) > START and len(rows) < LINES_COMPARED else rows  # the last one is cut off
    named = [separator for separator in SEPARATORS if _count(header, separator)]
    for separator in sorted(named, key=lambda separator: (separator != ",", -_count(header, separator))):
        width = _count(header, separator)
        if {_count(row, separator) for row in rows} in (set(), {width}, {width + 1}):
            return separator
    if named:
        return named[0]
    if len(rows) < 2 or '"' in text or any(separator in row for row in rows for separator in SEPARATORS):
        return ","
    widths = {len(line.split()) for line in re.split(r"[\r\n]+", text) if line.strip(BLANKS)}
    return " " if len(widths) == 1 and widths != {1} else ","


def _count(line: str, separator: str) -> int:
    """How often it stands outside of quotation marks."""
    return re.sub(r'"[^"]*"', "", line).count(separator)
