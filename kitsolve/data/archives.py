"""Unpack zip, tar and 7z archives: whole, verified, and never outside of their folder."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tqdm import tqdm

from kitsolve.errors import KitsolveError

Member = TypeVar("Member")
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z")


class DamagedArchiveError(KitsolveError):
    """An archive whose bytes are not those that were packed."""


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that `unpack` reads."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, target: Path) -> None:
    """Write all members below `target`; each one's checksum is verified on the way.

    Raises:
        DamagedArchiveError: broken or cut off; `target` may hold a part.
        KitsolveError: a member would land outside of `target`, or the disk has not enough room.
    """
    suffix = archive.name.lower()
    read = _unpack_zip if suffix.endswith(".zip") else _unpack_7z if suffix.endswith(".7z") else _unpack_tar
    target.mkdir(parents=True, exist_ok=True)
    try:
        read(archive, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, tarfile.ReadError) as error:
        raise DamagedArchiveError(
            f"{archive} is damaged: {error}.", hint="run the same command with --force to get it anew."
        ) from error


def unpack_nested(folder: Path, names: Iterable[str]) -> None:
    """Replace archives below `folder` by what they hold: train.zip becomes train/, with or without a folder of its own.

    What was unpacked before is left as it is.

    Raises:
        KitsolveError: one is missing, or see `unpack`.
    """
    for name in names:
        archive = folder / name
        if not archive.is_file() and archive.with_name(place_of(archive.name)).is_dir():
            continue
        if not archive.is_file():
            raise KitsolveError(
                f"the raw files hold no archive {name!r}.", hint="correct archives in competition.toml."
            )
        place = archive.with_name(place_of(archive.name))
        scratch = archive.with_name(f".{archive.name}.unpacked")
        shutil.rmtree(scratch, ignore_errors=True)  # of a kill
        unpack(archive, scratch)
        inner = scratch / place.name
        wraps = [path.name for path in scratch.iterdir()] == [place.name] and inner.is_dir()
        (inner if wraps else scratch).rename(place)
        shutil.rmtree(scratch, ignore_errors=True)
        archive.unlink()


def check_free(folder: Path, needed: int) -> None:
    """Raise KitsolveError where the disk of the existing `folder` has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise KitsolveError(
            f"the disk of {folder} has {free / 1e9:.1f} GB left, {needed / 1e9:.1f} GB are needed.",
            hint="free some space, or work on another disk with --root DIR.",
        )


def place_of(name: str) -> str:
    """The folder that `unpack_nested` makes of an archive: train.zip becomes train."""
    longest = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len)
    return name[: -len(longest)]


def _unpack_zip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        _check_names(archive, (member.filename for member in members))
        check_free(target, sum(member.file_size for member in members))
        for member in _bar(members, archive):
            packed.extract(member, target)


def _unpack_tar(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as packed:
        for member in _bar(packed, archive):
            try:
                packed.extract(member, target, filter="data")
            except tarfile.FilterError as error:
                raise _outside(archive, member.name) from error


def _unpack_7z(archive: Path, target: Path) -> None:
    try:
        import py7zr
    except ImportError as error:
        raise KitsolveError(f"{archive} needs a 7z reader.", hint='run `pip install "kitsolve[7z]"`.') from error
    try:
        with py7zr.SevenZipFile(archive) as packed:
            _check_names(archive, packed.getnames())
            check_free(target, packed.archiveinfo().uncompressed)
            packed.extractall(target)
    except (py7zr.Bad7zFile, py7zr.exceptions.CrcError) as error:
        raise DamagedArchiveError(f"{archive} is damaged: {error}.", hint="get it anew.") from error


def _check_names(archive: Path, names: Iterable[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
            raise _outside(archive, name)


def _outside(archive: Path, name: str) -> KitsolveError:
    return KitsolveError(
        f"{archive} would write outside of its folder: {name!r}.", hint="do not trust it; get it from its source again."
    )


def _bar(members: Iterable[Member], archive: Path) -> Iterator[Member]:
    yield from tqdm(members, desc=f"unpacking {archive.name}", unit="file", leave=False, disable=None)
