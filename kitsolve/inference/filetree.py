"""Which file a row's path means: also one in another Unicode form, or with a suffix of another kind."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".avif", ".jp2", ".j2k", ".mpo", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".hdr", ".exr", ".tga", ".ico", ".pcx",
    ".sgi", ".dds", ".ras", ".npy", ".dcm", ".dicom",
)  # fmt: skip
"""What read_image reads, in lower case; other suffixes are read too where OpenCV or Pillow know the content."""
ANY_SUFFIX = ".*"
"""At the end of a path: the one image file of this stem, whatever its suffix."""


def resolve_images(folder: Path, paths: Sequence[str]) -> list[str]:
    """The real path of each image below `folder`, see `FileTree`; what means no file, or several, stays as written."""
    tree = FileTree(folder_lister(folder))
    return [tree.resolve(path) for path in paths]


def folder_lister(root: Path) -> Callable[[str], list[str]]:
    """What lists the names in a folder, given by its path below `root`; none where there is no such folder."""

    def list_names(folder: str) -> list[str]:
        try:
            return os.listdir(root / folder)
        except OSError:
            return []

    return list_names


class FileTree:
    """Finds files in the listings of their folders, each of which is read once.

    A path means the file of this very name; else the one whose name differs in Unicode form or in the case of its
    suffix alone; else, where it ends in ANY_SUFFIX, the one image file of its stem. Folders are found in the same way,
    and a backslash parts folders where no file has one in its name. Listings decide alike on all machines: the disks of
    macOS and Windows take upper for lower case, Kaggle's do not.
    """

    def __init__(self, list_names: Callable[[str], Iterable[str]]) -> None:
        """`list_names` gives the names in a folder, "" being the topmost."""
        self._list_names = list_names
        self._names: dict[str, frozenset[str]] = {}
        self._folders: dict[str, str | None] = {"": ""}
        self._similar: dict[str, dict[str, list[str]]] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}

    def resolve(self, path: str) -> str:
        """The one file that a path means; the path itself where it means none or several."""
        found = self.find(path)
        return found[0] if len(found) == 1 else path

    def find(self, path: str) -> list[str]:
        """All files that a path may mean."""
        found = self._find(path)
        return found or (self._find(path.replace("\\", "/")) if "\\" in path else [])

    def find_folder(self, written: str) -> str | None:
        """The real folder of one as it is written; None where there is none, or several are meant."""
        if written not in self._folders:
            above, _, name = written.rpartition("/")
            parent = self.find_folder(above)
            self._folders[written] = None if parent is None else self._find_below(parent, name)
        return self._folders[written]

    def names(self, folder: str) -> frozenset[str]:
        """The names in a real folder."""
        if folder not in self._names:
            self._names[folder] = frozenset(self._list_names(folder))
        return self._names[folder]

    def _find(self, path: str) -> list[str]:
        written, _, name = path.rpartition("/")
        folder = self.find_folder(written)
        if folder is None:
            return []
        if name in self.names(folder):
            found = [name]
        elif name.endswith(ANY_SUFFIX):
            found = self._find_stem(folder, name.removesuffix(ANY_SUFFIX))
        else:
            found = self._find_similar(folder, name)
        return [f"{folder}/{name}" if folder else name for name in found]

    def _find_below(self, parent: str, name: str) -> str | None:
        """The real folder that `name` means in a real folder."""
        if name in ("", "."):
            return parent
        found = [name] if name in self.names(parent) else self._find_similar(parent, name)
        if len(found) != 1:
            return None
        return f"{parent}/{found[0]}" if parent else found[0]

    def _find_similar(self, folder: str, name: str) -> list[str]:
        """Names that differ from `name` in Unicode form; where there is none, also in the case of the suffix."""
        if folder not in self._similar:
            self._similar[folder] = _group(self.names(folder), by=_fold_suffix)
        found = self._similar[folder].get(_fold_suffix(name), [])
        return _prefer(found, lambda there: _compose(there) == _compose(name))

    def _find_stem(self, folder: str, stem: str) -> list[str]:
        """Image files of this stem; where there is none, of the stem in another Unicode form."""
        if folder not in self._stems:
            images = (name for name in self.names(folder) if _split(name)[1].lower() in IMAGE_SUFFIXES)
            self._stems[folder] = _group(images, by=lambda name: _compose(_split(name)[0]))
        found = self._stems[folder].get(_compose(stem), [])
        return _prefer(found, lambda there: _split(there)[0] == stem)


def _prefer(names: list[str], condition: Callable[[str], bool]) -> list[str]:
    """Of several names those that meet the condition, sorted; all, where none does."""
    return names if len(names) < 2 else sorted(filter(condition, names)) or sorted(names)


def _group(names: Iterable[str], *, by: Callable[[str], str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[by(name)].append(name)
    return groups


def _split(name: str) -> tuple[str, str]:
    """The stem of a file's name, and its suffix with the dot."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


def _compose(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _fold_suffix(name: str) -> str:
    stem, suffix = _split(name)
    return _compose(stem) + _compose(suffix).lower()
