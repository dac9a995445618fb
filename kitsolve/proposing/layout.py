"""What lies in a folder of raw files, also inside of the archives that are still packed there."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from kitsolve.data.archives import SUFFIXES, place_of
from kitsolve.errors import KitsolveError
from kitsolve.inference.filetree import IMAGE_SUFFIXES

# Formats that need no conversion to be seen: where an image is there in several, one of these is taken.
PLAIN_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
UNREADABLE = (".tfrec", ".tfrecord", ".h5", ".hdf5", ".bson", ".parquet", ".npz")


@dataclass(frozen=True)
class Packed:
    """A file that is still inside of an archive: the archive's path, the member's name in it."""

    archive: str
    member: str


@dataclass(frozen=True)
class Layout:
    """The files of a raw folder, by the paths that they have once its archives are unpacked.

    `files[path]` is None for a file that lies there already. `notes` are sentences about what cannot be looked into.
    """

    raw: Path
    files: Mapping[str, Packed | None]
    notes: tuple[str, ...] = ()

    @cached_property
    def images(self) -> list[str]:
        """The paths of the images, sorted."""
        return sorted(path for path in self.files if path.lower().endswith(IMAGE_SUFFIXES))

    @cached_property
    def text(self) -> str:
        """The images' paths, each between two line ends: str.find is the fastest search over all of them."""
        return "\n" + "\n".join(self.images) + "\n"

    def archives_of(self, paths: Iterable[str]) -> list[str]:
        """The archives that hold any of these files, in order of their first one."""
        packed = (self.files.get(path) for path in paths)
        return list(dict.fromkeys(found.archive for found in packed if found))

    def place(self, path: str, folder: Path) -> Path:
        """The file on the disk: its own place, or unpacked below `folder`."""
        packed = self.files[path]
        if packed is None:
            return self.raw / path
        target = folder / path
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            _extract(self.raw / packed.archive, packed.member, target)
        return target


def read_layout(raw: Path) -> Layout:
    """List a raw folder and the archives in it; hidden files are left out.

    Raises:
        KitsolveError: no such folder.
    """
    if not raw.is_dir():
        raise KitsolveError(f"{raw} is no folder.", hint="name the folder that holds the competition's files.")
    there = sorted(_walk(raw))
    archives = [path for path in there if path.lower().endswith(SUFFIXES)]
    files: dict[str, Packed | None] = dict.fromkeys(there)
    notes = []
    for archive in archives:
        del files[archive]
        if (raw / place_of(archive)).exists():
            continue  # unpacked already
        try:
            files |= _list_archive(raw, archive, place_of(archive))
        except (zipfile.BadZipFile, tarfile.ReadError, EOFError, OSError, KitsolveError) as error:
            notes.append(f"{archive} cannot be looked into: {error}.")
    return Layout(raw, files, tuple(notes))


def suffix_of(path: str) -> str:
    """The lower-case suffix with its dot, or nothing."""
    return os.path.splitext(path)[1].lower()


def describe_images(layout: Layout) -> str:
    """How many images of which format, and the folders at the top that hold them."""
    formats = Counter(map(suffix_of, layout.images))
    folders = Counter(path.partition("/")[0] if "/" in path else "." for path in layout.images)
    counts = ", ".join(f"{count:,} {suffix}" for suffix, count in formats.most_common())
    where = ", ".join(f"{folder} ({count:,})" for folder, count in folders.most_common(6))
    return f"{counts}; in {where}" if counts else "none"


def name_unreadable(layout: Layout) -> list[str]:
    """Files that may hold images which kitsolve does not read."""
    counts = Counter(suffix_of(path) for path in layout.files if suffix_of(path) in UNREADABLE)
    if not counts or layout.images:
        return []
    return [f"there are no image files, but {', '.join(f'{count:,} {suffix}' for suffix, count in counts.items())}."]


def _walk(raw: Path) -> Iterator[str]:
    """Paths of all files, relative to `raw`, without hidden ones and what macOS adds to archives."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(raw / prefix) as entries:
            for entry in entries:
                if not _is_shown(entry.name):
                    continue
                if entry.is_dir():
                    waiting.append(f"{prefix}{entry.name}/")
                else:
                    yield f"{prefix}{entry.name}"


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _list_archive(raw: Path, archive: str, place: str) -> dict[str, Packed | None]:
    members = _list_members(raw / archive)
    # As unpack_nested does it: a folder of the archive's own name, alone at the top, is not doubled.
    top = PurePosixPath(place).name
    wraps = {name.split("/")[0] for name in members} == {top} and top not in members
    placed = {}
    for name in members:
        path = name.removeprefix(f"{top}/") if wraps else name
        if all(map(_is_shown, path.split("/"))):
            placed[f"{place}/{path}"] = Packed(archive, name)
    return dict(placed)


def _list_members(archive: Path) -> list[str]:
    """The names of an archive's files."""
    name = archive.name.lower()
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            return [member.filename for member in packed.infolist() if not member.is_dir()]
    if name.endswith(".7z"):
        try:
            import py7zr
        except ImportError as error:
            raise KitsolveError("it needs a 7z reader", hint='run `pip install "kitsolve[7z]"`.') from error
        with py7zr.SevenZipFile(archive) as packed:
            return [member.filename for member in packed.list() if not member.is_directory]
    with tarfile.open(archive) as packed:
        return [member.name.removeprefix("./") for member in packed if member.isfile()]


def _extract(archive: Path, member: str, target: Path) -> None:
    """Write one member of an archive to `target`."""
    name = archive.name.lower()
    if name.endswith(".7z"):
        import py7zr

        scratch = target.with_name(f".{target.name}.7z")
        with py7zr.SevenZipFile(archive) as packed:
            packed.extract(scratch, targets=[member])
        os.replace(scratch / member, target)
        shutil.rmtree(scratch)
    elif name.endswith(".zip"):
        with zipfile.ZipFile(archive) as packed, packed.open(member) as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file)
    else:
        with tarfile.open(archive) as packed, open(target, "wb") as file:
            found = next(entry for entry in packed if entry.name.removeprefix("./") == member)
            content = packed.extractfile(found)
            assert content is not None, f"{member} is no file"
            shutil.copyfileobj(content, file)
