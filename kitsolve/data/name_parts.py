"""Parts of ids and paths that may say which rows belong together: 10_left, cow012_03, patient7/slice4."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import pandas as pd

from kitsolve.data.sampling import sample_cells

SEPARATORS = "_-.~+@#, "
MIN_SHARE = 0.5
"""Of the names that hold a separator for it to be one."""
SHOWN, PAIRS = 500, 100


def list_name_patterns(names: pd.Series) -> Iterator[str]:
    """Regular expressions whose first group is a part of a file's name that several may share, the plainest first.

    Args:
        names: of files, with their folders or without.
    """
    sample = sample_cells(names, SHOWN)
    files = sample.str.replace(r"\.[A-Za-z]\w{1,4}$", "", regex=True).str.rpartition("/")[2]
    nested = bool(sample.str.contains("/", regex=False).any())
    for mark in SEPARATORS:
        if files.str.contains(mark, regex=False).mean() >= MIN_SHARE:
            yield from _split_at(re.escape(mark) if mark in ".+#" else mark, nested=nested)
    if files.str.contains(r"\d\D", regex=True).mean() >= MIN_SHARE:
        yield from _split_numbers(nested=nested)


def list_folder_patterns(paths: pd.Series) -> Iterator[str]:
    """The same for the folders above a file: the next one, and each with those above it."""
    depth = int(sample_cells(paths, SHOWN).str.count("/").max() if len(paths) else 0)
    yield from (r"([^/]+)/[^/]+$", r"^(.+)/")[: 2 * (depth > 0)]
    yield from (rf"^((?:[^/]+/){{{level}}})" for level in range(1, depth))


def are_file_names(ids: pd.Series, paths: pd.Series) -> bool:
    """Whether the ids hold the names of the image files, or stand in them: these say nothing more then."""
    stems = [PurePosixPath(path).stem for path in sample_cells(paths, PAIRS)]
    return all(stem in name or name in stem for name, stem in zip(sample_cells(ids, PAIRS), stems, strict=True))


def _split_at(mark: str, *, nested: bool) -> Iterator[str]:
    """The name before the first, the last and the second separator, and after the first and the last one."""
    start, end = ("(?:^|/)", "[^/]*$") if nested else ("^", "")
    word, some = (f"[^/{mark}]+", "[^/]+") if nested else (f"[^{mark}]+", ".+")
    yield f"{start}({word}){mark}{end}"
    yield f"{start}({some}){mark}{word}$"
    yield f"{start}({word}{mark}{word}){mark}{end}"
    yield f"{start}{word}{mark}({word}){mark}{end}"
    yield f"{start}{word}{mark}({some})$"
    yield f"{mark}({word})$"


def _split_numbers(*, nested: bool) -> Iterator[str]:
    """The name up to its first and its second number, the first number alone, and the name before its last number."""
    start, end = ("(?:^|/)", "[^/]*$") if nested else ("^", "")
    other, some = (r"[^\d/]", "[^/]*") if nested else (r"\D", ".*")
    yield rf"{start}({other}*\d+){other}{end}"
    yield rf"{start}{other}*(\d+){other}{end}"
    yield rf"{start}({some}{other})\d+{other}*$"
    yield rf"{start}({other}*\d+{other}+\d+){other}{end}"
