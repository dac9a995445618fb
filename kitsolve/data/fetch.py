"""`kitsolve fetch`: raw files, then train.csv, test.csv and folds.csv."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from kitsolve.config import Competition, load_prepare, read_competition
from kitsolve.data.archives import DamagedArchiveError, check_free, is_archive, unpack, unpack_nested
from kitsolve.data.folds import make_folds
from kitsolve.data.images import check_images
from kitsolve.data.table import make_test_table, make_train_table
from kitsolve.errors import KitsolveError
from kitsolve.workspace import Workspace, read_csv, read_json, write_csv, write_json


@dataclass(frozen=True)
class Fetched:
    """What lies on the disk now: the raw folder, the number of rows of both splits, the number of folds."""

    raw: str
    train_rows: int
    test_rows: int
    folds: int


def fetch(
    workspace: Workspace, slug: str, *, source: Path | None = None, keep_archive: bool = False, force: bool = False
) -> Fetched:
    """Raw files and tables of a competition; what is there already is not made again unless `force`.

    Args:
        source: a folder or an archive with the competition's files, taken instead of a download.
        keep_archive: leave the downloaded archive on the disk.
    """
    competition = read_competition(workspace, slug)
    raw = workspace.raw(slug)
    marker = workspace.tables(slug) / "tables.json"
    if force or not raw.is_dir():
        marker.unlink(missing_ok=True)
        if force:
            shutil.rmtree(workspace.download(slug), ignore_errors=True)
        _fetch_raw(workspace, competition, source)
    if not keep_archive:
        shutil.rmtree(workspace.download(slug), ignore_errors=True)
    facts = competition.for_training().model_dump(mode="json")
    if marker.is_file() and (done := read_json(marker))["facts"] == facts:
        return Fetched(**done["fetched"])
    fetched = _write_tables(workspace, competition)
    write_json(marker, {"facts": facts, "fetched": asdict(fetched)})
    return fetched


def _fetch_raw(workspace: Workspace, competition: Competition, source: Path | None) -> None:
    """Fill a folder beside raw/SLUG, then rename it: a kill leaves no half of it."""
    slug = competition.slug
    raw = workspace.raw(slug)
    partial = raw.with_name(f".{slug}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    prepare = load_prepare(workspace, slug)
    if source is not None:
        _take(source, partial)
    elif prepare is not None and hasattr(prepare, "fetch"):
        partial.mkdir(parents=True)
        prepare.fetch(partial)
    else:
        _download(slug, workspace.download(slug), partial)
    unpack_nested(partial, competition.archives)
    if prepare is not None and hasattr(prepare, "answers"):
        write_csv(workspace.answers(slug), prepare.answers())
    shutil.rmtree(raw, ignore_errors=True)
    os.replace(partial, raw)


def _take(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=link_or_copy)
    elif source.is_file() and is_archive(source):
        unpack(source, target)
    else:
        raise KitsolveError(
            f"{source} is no folder and no archive.",
            hint="name the competition's zip, or the folder it was unpacked to.",
        )


def _download(slug: str, place: Path, target: Path) -> None:
    """Download the competition's archive into `place` and unpack it; a damaged one is downloaded once more."""
    from kitsolve.kaggle import connect, discard_download

    kaggle = connect()
    place.mkdir(parents=True, exist_ok=True)
    total = kaggle.competition_bytes(slug)
    there = sum(path.stat().st_size for path in place.iterdir())
    check_free(place, 2 * total - there)  # the archive, which images hardly let shrink, and its content
    try:
        unpack(kaggle.download(slug, place), target)
    except DamagedArchiveError:
        discard_download(place)
        shutil.rmtree(target, ignore_errors=True)
        unpack(kaggle.download(slug, place), target)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A hard link where the disk allows it, since datasets are large; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_tables(workspace: Workspace, competition: Competition) -> Fetched:
    raw, tables = workspace.raw(competition.slug), workspace.tables(competition.slug)
    train, test = make_train_table(raw, competition), make_test_table(raw, competition)
    rules = competition.folds
    folds = make_folds(
        train[competition.train.target].to_numpy(),
        scheme=rules.scheme,
        count=rules.count,
        seed=rules.seed,
        shuffle=rules.shuffle,
    )
    check_images(raw, [*train.path, *test.path], slug=competition.slug)
    write_csv(tables / "train.csv", train)
    write_csv(tables / "test.csv", test)
    write_csv(tables / "folds.csv", pd.DataFrame({"image_id": train.image_id, "fold": folds}))
    return Fetched(raw=str(raw), train_rows=len(train), test_rows=len(test), folds=rules.count)


def read_train_table(workspace: Workspace, slug: str) -> pd.DataFrame:
    """train.csv with its `fold` column, 0-based int; everything else as strings."""
    tables = workspace.finished_tables(slug)
    folds = read_csv(tables / "folds.csv").astype({"fold": int})
    return read_csv(tables / "train.csv").merge(folds, on="image_id", validate="one_to_one")
