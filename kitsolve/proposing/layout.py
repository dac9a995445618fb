"""What lies in a folder of raw files, also inside of the archives that are still packed there."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from kitsolve.data.archives import SUFFIXES, place_of
from kitsolve.errors import KitsolveError
from kitsolve.inference.filetree import IMAGE_SUFFIXES, FileTree

# Formats that need no conversion to be seen: where an image is there in several, one of these is taken.
PLAIN_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2")


@dataclass(frozen=True)
class Packed:
    """A file that is still inside of an archive: the archive's path, the member's name in it."""

    archive: str
    member: str


@dataclass(frozen=True)
class Layout:
    """The files of a raw folder, by the paths that they have once its archives are unpacked.

    `files[path]` is None for a file that lies there already. `notes` are sentences about archives that cannot be looked
    into, and about members that only a password opens: those are no files of the layout.
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
        """The images' paths, each between two line ends: str.find is the fastest search over all of them.

        Composed (NFC), whatever the form on the disk is: tables are.
        """
        return unicodedata.normalize("NFC", "\n" + "\n".join(self.images) + "\n")

    @cached_property
    def tree(self) -> FileTree:
        """Finds the file of a path, as `fetch` will."""
        folders: dict[str, set[str]] = defaultdict(set)
        for path in self.files:
            while path:
                path, _, name = path.rpartition("/")
                if name in folders[path]:
                    break
                folders[path].add(name)
        return FileTree(lambda folder: folders.get(folder, ()))

    def archives_of(self, paths: Iterable[str]) -> list[str]:
        """The archives that hold any of these files, in order of their first one."""
        packed = (self.files.get(path) for path in paths)
        return list(dict.fromkeys(found.archive for found in packed if found))

    def place(self, path: str, folder: Path) -> Path:
        """The file on the disk: its own place, or unpacked below `folder`.

        Raises:
            KitsolveError: its archive is damaged.
        """
        packed = self.files[path]
        if packed is None:
            return self.raw / path
        target = folder / path
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive_errors(packed.archive):
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
            with archive_errors(archive):
                found, locked = _list_archive(raw, archive, place_of(archive))
        except KitsolveError as error:
            notes.append(f"{error.problem} {error.hint}")
            continue
        files |= found
        if locked:
            notes.append(f"{archive} is encrypted: {locked:,} files in it are left out; unpack it with its password.")
    return Layout(raw, files, tuple(notes))


@contextmanager
def archive_errors(archive: str) -> Iterator[None]:
    """Say what is wrong with an archive in one sentence; what reads zip, tar and 7z has a dozen kinds of errors.

    Raises:
        KitsolveError: it is damaged, encrypted, or packed in a way that nothing here unpacks.
    """
    try:
        yield
    except KitsolveError as error:
        raise KitsolveError(f"{archive} cannot be looked into: {error.problem}.", error.hint) from error
    except DAMAGES as error:
        locked = isinstance(error, RuntimeError) and "password" in str(error)
        raise _cannot_be_read(archive, error, is_locked=locked) from error
    except Exception as error:
        if not type(error).__module__.startswith("py7zr"):
            raise
        raise _cannot_be_read(archive, error, is_locked=type(error).__name__ == "PasswordRequired") from error


# NotImplementedError, a RuntimeError: a way of packing that zipfile does not know.
DAMAGES = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, tarfile.TarError, EOFError, OSError, RuntimeError)


def _cannot_be_read(archive: str, error: Exception, *, is_locked: bool) -> KitsolveError:
    if is_locked:
        return KitsolveError(f"{archive} is encrypted.", hint="unpack it with its password, or leave it out.")
    said = str(error).split("\n")[0] or type(error).__name__
    return KitsolveError(f"{archive} cannot be looked into: {said}.", hint="get it again, or leave it out.")


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


def _list_archive(raw: Path, archive: str, place: str) -> tuple[dict[str, Packed | None], int]:
    """The files of an archive by their paths, and the number of those that need a password."""
    members, locked = _list_members(raw / archive)
    # As unpack_nested does it: a folder of the archive's own name, alone at the top, is not doubled.
    top = PurePosixPath(place).name
    wraps = {name.split("/")[0] for name in members} == {top} and top not in members
    placed: dict[str, Packed | None] = {}
    for name in members:
        path = name.removeprefix(f"{top}/") if wraps else name
        if all(map(_is_shown, path.split("/"))):
            placed[f"{place}/{path}"] = Packed(archive, name)
    return placed, locked


def _list_members(archive: Path) -> tuple[list[str], int]:
    """The names of an archive's files that can be read, and the number of those that need a password."""
    name = archive.name.lower()
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            files = [member for member in packed.infolist() if not member.is_dir()]
            # Bit 0 of the flags: the member is encrypted (PKWARE's APPNOTE, 4.4.4).
            names = [member.filename for member in files if not member.flag_bits & 1]
            return names, len(files) - len(names)
    if name.endswith(".7z"):
        try:
            import py7zr
        except ImportError as error:
            raise KitsolveError("it needs a 7z reader", hint='run `pip install "kitsolve[7z]"`.') from error
        with py7zr.SevenZipFile(archive) as packed:
            names = [member.filename for member in packed.list() if not member.is_directory]
            return ([], len(names)) if packed.needs_password() else (names, 0)
    with tarfile.open(archive) as packed:
        return [member.name.removeprefix("./") for member in packed if member.isfile()], 0


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
