"""Every path of the product, and the way files are written: whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kitsolve.errors import KitsolveError, nearest

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
            hint=f"take one of: {nearest(slug, known)}; or write competitions/{slug}/competition.toml.",
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

    def runs(self, slug: str) -> Path:
        """One folder a run."""
        return self.root / "workspace" / "runs" / slug

    def bundle(self, slug: str, name: str) -> Path:
        """bundle.json and the weights of its models."""
        return self.root / "workspace" / "bundles" / slug / name

    def submission(self, slug: str, name: str) -> Path:
        """The submission of one bundle."""
        return self.root / "workspace" / "submissions" / slug / name / "submission.csv"

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
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        if not _disk_is_full(error):
            raise
        raise KitsolveError(
            f"the disk is full: {path} could not be written; what it held before is intact.",
            hint=f"free some space on the disk of {path.parent} and run the same command again: it goes on from there.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _disk_is_full(error: BaseException) -> bool:
    """Whether that was the reason; torch.save hides it behind a RuntimeError of its own."""
    reasons = (error, error.__context__)
    return any(isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT) for reason in reasons)


def is_newer(path: Path, *sources: Path) -> bool:
    """Whether `path` exists and was written after all that it was made from."""
    return path.is_file() and all(path.stat().st_mtime_ns > source.stat().st_mtime_ns for source in sources)


def write_text(path: Path, text: str) -> None:
    """Write `text` whole or not at all."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write `table` without its index, whole or not at all."""
    write_whole(path, lambda file: table.to_csv(file, index=False))


def read_csv(path: Path) -> pd.DataFrame:
    """A table of strings: ids such as 0012 and 1e5 are names, and an empty cell is the empty string."""
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file."""
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict), f"{path} holds no JSON object"
    return value
