"""Which files are images, by their names, and which of them no row uses."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from kitsolve.inference.filetree import IMAGE_SUFFIXES

NO_PHOTOS = re.compile(r"mask|label|annot|segm|depth|truth|^gt$|thumb|preview", re.IGNORECASE)
"""Folders beside class folders that hold images which no row is meant to use."""


def find_unused_images(raw: Path, used_paths: Iterable[str], *, test_paths: Iterable[str] = ()) -> list[str]:
    """The image files beside used ones that no row uses, sorted; relative to `raw`, as `used_paths` are.

    Searched are the folders that hold a used image, not those below them; where two or more of one parent do, as class
    folders, the parent's other folders too. Hidden files, __MACOSX and folders named like masks are left out.

    Args:
        used_paths: the images of the train rows.
        test_paths: those of the test rows: they are no unused ones, but what else lies in their folders is not asked
            for, since a test set may hold more than the sample submission names.
    """
    paths = {_plain(path) for path in used_paths}
    folders = {path.rpartition("/")[0] for path in paths}
    tests = {_plain(path) for path in test_paths}
    searched = sorted(folders | (_class_folders(raw, folders) - {path.rpartition("/")[0] for path in tests}))
    return sorted(path for folder in searched for path in _list_images(raw, folder) if path not in paths | tests)


def describe_unused(unused: Sequence[str]) -> str:
    """The sentence of how many images no row uses, with their suffixes and the first."""
    counts = Counter(os.path.splitext(path)[1] for path in unused).most_common(4)
    suffixes = ", ".join(f"{count:,} {suffix}" for suffix, count in counts)
    return (
        f"{len(unused):,} image files beside the train images belong to no row ({suffixes}), first: {unused[0]}; "
        "if they are meant to be used, correct the rows or train.image."
    )


def _plain(path: str) -> str:
    """The path as a listing of the folder gives it."""
    if "\\" in path or "//" in path or "./" in path:
        path = os.path.normpath(path.replace("\\", "/")).replace("\\", "/")
    return path


def _class_folders(raw: Path, folders: set[str]) -> set[str]:
    """The folders beside those that are two or more of one parent; not right below `raw`, where splits lie."""
    siblings: dict[str, int] = defaultdict(int)
    for folder in folders:
        siblings[folder.rpartition("/")[0]] += 1
    found = set()
    for parent in (parent for parent, count in siblings.items() if parent and count > 1):
        with os.scandir(raw / parent) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
        found |= {f"{parent}/{name}" for name in names if name[0] not in "._" and not NO_PHOTOS.search(name)}
    return found


def _list_images(raw: Path, folder: str) -> Iterable[str]:
    prefix = f"{folder}/" if folder else ""
    try:
        with os.scandir(raw / folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] != "." and name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file():
                    yield prefix + name
    except FileNotFoundError:  # what reads the images names those that are missing
        return
