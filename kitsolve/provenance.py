"""What an artefact was made from, recorded beside it by content: a copy, a clock or a moved folder changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import file_sha256
from kitsolve.workspace import read_json, write_sealed

READERS = 8
"""Threads that read files; not one a core, since a container sees more cores than it may use."""

Sources = Mapping[str, str]
"""What something was made from: name -> sha256. A name is a word for the user: "bundle.json", "the test images"."""


@dataclass(frozen=True)
class Record:
    """The sha256 of an artefact as it was written, and what it was made from."""

    sha256: str
    made_from: Sources


def list_changes(recorded: Sources, present: Sources) -> list[str]:
    """The names of what differs, or is only on one side; in the order of `present`."""
    names = dict.fromkeys([*present, *recorded])
    return [name for name in names if recorded.get(name) != present.get(name)]


def write_record(artefact: Path, made_from: Sources) -> None:
    """Record, beside a finished artefact, what it was made from."""
    write_sealed(_record_path(artefact), {"sha256": file_sha256(artefact), "made_from": dict(made_from)})


def read_record(artefact: Path) -> Record | None:
    """What `write_record` wrote; None where there is no such record, or none that can be trusted."""
    path = _record_path(artefact)
    if not path.is_file():
        return None
    try:
        values = read_json(path)
    except KitsolveError:
        return None
    return Record(values["sha256"], values["made_from"]) if values.keys() == {"sha256", "made_from"} else None


def is_made_from(artefact: Path, sources: Sources) -> bool:
    """Whether an artefact is there as it was written, and was made from exactly these sources."""
    record = read_record(artefact)
    return (
        record is not None
        and artefact.is_file()
        and file_sha256(artefact) == record.sha256
        and not list_changes(record.made_from, sources)
    )


def _record_path(artefact: Path) -> Path:
    return artefact.with_name(f"{artefact.name}.made.json")


def text_sha256(*texts: str) -> str:
    """Hexadecimal sha256 of texts; where one ends and the next begins counts."""
    return hashlib.sha256("\0".join([str(len(texts)), *texts]).encode("utf-8", "surrogateescape")).hexdigest()


def files_sha256(folder: Path, names: Iterable[str]) -> str:
    """Hexadecimal sha256 of files of a folder: of their names and their contents, in the order given.

    A file that is missing counts as such. Several threads read: a disk is the limit, and what was just read is in
    memory.
    """
    names = list(names)
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda name: _content(folder / name), names)
        return text_sha256(*(part for pair in zip(names, found, strict=True) for part in pair))


def _content(path: Path) -> str:
    return file_sha256(path) if path.is_file() else "missing"


def stat_sha256(folder: Path, names: Iterable[str]) -> str:
    """Hexadecimal sha256 of the names, sizes and times of files: a hint where to read all of them costs too much.

    Equal ones are taken for unchanged; a copy of the folder is another, and what hangs on it is made anew.
    """
    found = []
    for name in names:
        path = folder / name
        state = path.stat() if path.is_file() else None
        found += [name, "missing" if state is None else f"{state.st_size} {state.st_mtime_ns}"]
    return text_sha256(*found)
