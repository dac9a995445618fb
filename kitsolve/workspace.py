"""Every path of the product, and the way files are written: whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kitsolve.errors import KitsolveError, nearest, translated

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = Path(__file__).parent
RECIPES = PACKAGE / "recipes"


def catalogue() -> Path:
    """The competitions that kitsolve ships: inside the wheel, or beside the package in a checkout."""
    shipped = PACKAGE / "competitions"
    return shipped if shipped.is_dir() else PACKAGE.parent / "competitions"


@dataclass(frozen=True)
class Workspace:
    """The folders below one root."""

    root: Path

    def competition(self, slug: str) -> Path:
        """The folder that holds the facts of `slug`: the root's own, else the catalogue's.

        Raises:
            KitsolveError: no such competition; names the nearest ones.
        """
        places = [self.root / "competitions", catalogue()]
        for place in places:
            if (place / slug / "competition.toml").is_file():
                return place / slug
        known = [path.parent.name for place in places for path in place.glob("*/competition.toml")]
        raise KitsolveError(
            f"there is no competition {slug!r}.",
            hint=f"take one of: {nearest(slug, known)}; or run `kitsolve new {slug}` for one that is not there.",
        )

    def raw(self, slug: str) -> Path:
        """What was downloaded, never changed."""
        return self.root / "workspace" / "raw" / slug

    def download(self, slug: str) -> Path:
        """The archive while it is downloaded and unpacked."""
        return self.root / "workspace" / "raw" / f".{slug}.download"

    def answers(self, slug: str) -> Path:
        """The test set's answers where a competition has them locally; outside `raw`."""
        return self.root / "workspace" / "answers" / f"{slug}.csv"

    def tables(self, slug: str) -> Path:
        """train.csv, test.csv, folds.csv, and tables.json, written last."""
        return self.root / "workspace" / "tables" / slug

    def finished_tables(self, slug: str) -> Path:
        """The same folder, once `kitsolve fetch` has finished.

        Raises:
            KitsolveError: it has not.
        """
        tables = self.tables(slug)
        if not (tables / "tables.json").is_file():
            raise KitsolveError(f"the tables of {slug} are not made yet.", hint=f"run `kitsolve fetch {slug}` first.")
        return tables

    def cache(self, slug: str) -> Path:
        """Scaled train images; safe to delete."""
        return self.root / "workspace" / "cache" / slug

    def pseudo(self, slug: str, run: str) -> Path:
        """What each fold of a run predicts for the test images: fold_K.csv, and pseudo.json, written last."""
        return self.root / "workspace" / "pseudo" / slug / run

    def reports(self, slug: str) -> Path:
        """What `kitsolve report` writes."""
        return self.root / "workspace" / "reports" / slug

    def pictures(self, slug: str) -> Path:
        """What `kitsolve show` draws."""
        return self.root / "workspace" / "pictures" / slug

    def runs(self, slug: str) -> Path:
        """One folder a run."""
        return self.root / "workspace" / "runs" / slug

    def blends(self, slug: str) -> Path:
        """What `kitsolve blend` has chosen, a file for each set of runs."""
        return self.root / "workspace" / "blends" / slug

    def bundle(self, slug: str, name: str) -> Path:
        """bundle.json and the weights of its models."""
        return self.root / "workspace" / "bundles" / slug / name

    def submission(self, slug: str, name: str) -> Path:
        """The submission of one bundle."""
        return self.root / "workspace" / "submissions" / slug / name / "submission.csv"

    def sending(self, slug: str) -> Path:
        """What `kitsolve submit` has done so far: a file for each thing that was submitted, and the lock."""
        return self.root / "workspace" / "submissions" / slug / ".sending"

    def ledger(self, slug: str) -> Path:
        """All submissions of a competition, beside its facts: worth keeping in the user's own repository."""
        return self.root / "competitions" / slug / "submissions.csv"

    def rehearsal(self, slug: str, name: str) -> Path:
        """What a rehearsal leaves: both executed notebooks, their submissions, and rehearsal.json, written last."""
        return self.root / "workspace" / "rehearsals" / slug / name

    def notebook(self, slug: str, name: str) -> Path:
        """The folder that `kaggle kernels push` would take."""
        return self.root / "notebooks_export" / slug / name


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, then rename it over `path`.

    A kill or a full disk at any moment leaves the former content of `path` as it was.

    Raises:
        KitsolveError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with _full_disk_explained(path), open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def append_line(path: Path, line: str, *, header: str) -> None:
    """Add a line to a file of lines, in one write; a new file gets the header first.

    Raises:
        KitsolveError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _full_disk_explained(path), open(path, "ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        before = "" if size and file.read(1) == b"\n" else "\n" if size else f"{header}\n"
        file.write(f"{before}{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def locked(folder: Path, *, doing: str, waits: bool = False) -> Iterator[None]:
    """Let no second process do the same at the same time; the lock goes with its process.

    Raises:
        KitsolveError: another process is at it; not where it `waits` for the other.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=-1 if waits else 0)
    except Timeout as error:
        raise KitsolveError(
            f"another process is {doing} right now.", hint="wait for it or stop it, then run the same command again."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _full_disk_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _disk_is_full(error):
            raise
        raise KitsolveError(
            f"the disk is full: {path} could not be written; what it held before is intact.",
            hint=f"free some space on the disk of {path.parent} and run the same command again: it goes on from there.",
        ) from error


def _disk_is_full(error: BaseException) -> bool:
    """Whether that was the reason; torch.save hides it behind a RuntimeError of its own."""
    reasons = (error, error.__context__)
    return any(isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT) for reason in reasons)


def digest(*paths: Path) -> str:
    """Hexadecimal sha256 of the contents of small files, one after the other."""
    content = hashlib.sha256()
    for path in paths:
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` whole or not at all."""
    write_whole(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write `text` whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, to_json(value))


def to_json(value: dict[str, Any]) -> str:
    """Indented JSON; NaN is refused, since JSON has none."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write `table` without its index, whole or not at all."""
    from kitsolve.inference.tables import table_bytes

    write_bytes(path, table_bytes(table))


def read_csv(path: Path) -> pd.DataFrame:
    """A table of strings, as `write_csv` wrote it: ids such as 0012 and 1e5 are names, and an empty cell is "".

    Raises:
        KitsolveError: it is damaged; names the line.
    """
    from kitsolve.inference.tables import read_table

    with translated(f"correct {path}, or remove it and run the command that wrote it again."):
        return read_table(path, "utf-8", separator=",", spelt=True).rows


def read_json(path: Path, *, hint: str | None = None) -> dict[str, Any]:
    """The object of a JSON file, without its seal.

    Args:
        hint: what repairs a damaged one.

    Raises:
        KitsolveError: it is no JSON object (cut off, empty, garbage), or not what `write_sealed` wrote.
    """
    hint = hint or f"bring {path} back from a copy, or remove it and run the same command again."
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise KitsolveError(f"{path} is damaged: {error}.", hint) from error
    except OSError as error:
        raise KitsolveError(f"{path} cannot be read: {error.strerror}.", hint) from error
    if not isinstance(value, dict):
        raise KitsolveError(f"{path} is damaged: it holds no JSON object.", hint)
    sealed = value.pop(SEAL, None)
    if sealed is not None and sealed != _seal(value):
        raise KitsolveError(f"{path} was changed after kitsolve wrote it.", hint)
    return value


SEAL = "seal"
"""The key of a file's own digest."""


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """As `write_json`, with a digest of its own: `read_json` then refuses the file where any value has changed."""
    write_json(path, {**value, SEAL: _seal(value)})


def _seal(value: dict[str, Any]) -> str:
    """Independent of the order of keys; float and int, list and tuple as JSON holds them."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
