"""Where the raw files came from: `fetch --from` another place is noticed, not answered with what is there already."""

from __future__ import annotations

import os
from pathlib import Path

from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import file_sha256
from kitsolve.provenance import text_sha256
from kitsolve.workspace import Workspace, read_json, write_sealed

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".xml", ".toml", ".yaml", ".yml")
"""Files whose content counts: a label that was corrected leaves name and size as they were. Of images, size alone."""
END = 1 << 20
"""Bytes at each end of an archive that tell it from another one; a zip's list of members is at its end."""


def record_origin(workspace: Workspace, slug: str, source: Path | None, listing: str | None) -> None:
    """Record what the raw folder was filled from; source None: a download, or the competition's own fetch."""
    place = str(source.resolve()) if source is not None else "a download"
    write_sealed(_path(workspace, slug), {"source": place, "listing": listing})


def forget_origin(workspace: Workspace, slug: str) -> None:
    """The raw folder is about to become another."""
    _path(workspace, slug).unlink(missing_ok=True)


def check_origin(workspace: Workspace, slug: str, source: Path) -> None:
    """Raise KitsolveError where the raw folder was not filled from `source` as it is now."""
    raw, path = workspace.raw(slug), _path(workspace, slug)
    hint = f"say --force to take {source} in its place, or leave --from out to go on with what is there."
    if not path.is_file():
        raise KitsolveError(f"{raw} is there already, and it is not on record what it was filled from.", hint)
    known = read_json(path, hint=hint)
    if known.get("listing") == take_listing(source):
        return
    same = known.get("source") == str(source.resolve())
    what = (
        f"{source} has changed since {raw} was filled from it" if same else f"{raw} was filled from {known['source']}"
    )
    raise KitsolveError(f"{what}.", hint)


def take_listing(source: Path) -> str:
    """The sha256 of what a folder or an archive holds, at the price of a listing.

    Of a folder: names and sizes, and the content of tables. Of an archive: its size and both of its ends.
    """
    if not source.is_dir():
        return text_sha256(*_ends(source))
    found = []
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            is_table = path.suffix.lower() in TABLE_SUFFIXES and path.is_file()
            size = path.stat().st_size if path.exists() else -1
            found += [path.relative_to(source).as_posix(), file_sha256(path) if is_table else str(size)]
    return text_sha256(*found)


def _ends(archive: Path) -> list[str]:
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        first = file.read(END)
        file.seek(max(0, size - END))
        return [str(size), text_sha256(first.hex()), text_sha256(file.read().hex())]


def _path(workspace: Workspace, slug: str) -> Path:
    """Beside the raw folder: inside of it are the competition's files alone."""
    raw = workspace.raw(slug)
    return raw.with_name(f".{slug}.origin.json")
