"""`kitsolve fetch`: raw files, then train.csv, test.csv and folds.csv."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType

import pandas as pd

from kitsolve.config import Competition, load_prepare, read_competition
from kitsolve.data.archives import DamagedArchiveError, check_free, is_archive, unpack, unpack_nested
from kitsolve.data.features import fit_features
from kitsolve.data.folds import FoldReport
from kitsolve.data.images import check_images
from kitsolve.data.signatures import write_signatures
from kitsolve.data.splits import split_rows
from kitsolve.data.table import make_test_table, make_train_table, unpack_arrays
from kitsolve.data.targets import encode_targets
from kitsolve.data.trial import try_metric
from kitsolve.errors import KitsolveError
from kitsolve.hooks import find_competition_metric
from kitsolve.workspace import Workspace, read_csv, read_json, write_csv, write_json


@dataclass(frozen=True)
class Fetched:
    """What lies on the disk now: the raw folder, the number of rows of both splits, the number of folds.

    `notices`: what a user should know about the data before training, a sentence each.
    """

    raw: str
    train_rows: int
    test_rows: int
    folds: int
    notices: list[str] = field(default_factory=list)


def fetch(
    workspace: Workspace, slug: str, *, source: Path | None = None, keep_archive: bool = False, force: bool = False
) -> Fetched:
    """Raw files and tables of a competition; what is there already is not made again unless `force`.

    Args:
        source: a folder or an archive with the competition's files, taken instead of a download.
        keep_archive: leave the downloaded archive on the disk.
    """
    competition = read_competition(workspace, slug)
    marker = workspace.tables(slug) / "tables.json"
    if force or not workspace.raw(slug).is_dir():
        marker.unlink(missing_ok=True)
    fetch_raw(workspace, slug, source=source, prepare=load_prepare(workspace, slug), force=force)
    unpack_nested(workspace.raw(slug), competition.archives)
    unpack_arrays(workspace.raw(slug), competition)
    find_competition_metric(workspace, competition)  # of one's own: it may have changed since the tables were made
    if not keep_archive:
        shutil.rmtree(workspace.download(slug), ignore_errors=True)
    facts = competition.for_training().model_dump(mode="json")
    if marker.is_file() and (done := read_json(marker))["facts"] == facts:
        return Fetched(**{**done["fetched"], "raw": str(workspace.raw(slug))})  # the root may have been moved
    fetched, report = _write_tables(workspace, competition)
    write_json(marker, {"facts": facts, "fetched": asdict(fetched), "fold_report": asdict(report)})
    return fetched


def fetch_raw(
    workspace: Workspace,
    slug: str,
    *,
    source: Path | None = None,
    prepare: ModuleType | None = None,
    force: bool = False,
) -> Path:
    """The raw folder, filled beside its place and renamed, so that a kill leaves no half of it; nested archives packed.

    Args:
        prepare: a competition's prepare.py, whose `fetch` takes the place of the download.
    """
    raw = workspace.raw(slug)
    if raw.is_dir() and not force:
        return raw
    if force:
        shutil.rmtree(workspace.download(slug), ignore_errors=True)
    partial = raw.with_name(f".{slug}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if source is not None:
        _take(source, partial)
    elif prepare is not None and hasattr(prepare, "fetch"):
        partial.mkdir(parents=True)
        prepare.fetch(partial)
    else:
        _download(slug, workspace.download(slug), partial)
    if prepare is not None and hasattr(prepare, "answers"):
        write_csv(workspace.answers(slug), prepare.answers())
    shutil.rmtree(raw, ignore_errors=True)
    os.replace(partial, raw)
    return raw


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


def _write_tables(workspace: Workspace, competition: Competition) -> tuple[Fetched, FoldReport]:
    raw, tables = workspace.raw(competition.slug), workspace.tables(competition.slug)
    train, test = make_train_table(raw, competition), make_test_table(raw, competition)
    targets = encode_targets(train, competition, raw)
    fit_features(train, competition.train.features)  # a column that cannot be one shall not stop the training
    paths = [*train.path, *test.path]
    signatures = check_images(raw, paths, slug=competition.slug, channels=competition.image.channels, hashed=len(paths))
    hashes = signatures.hashes[: len(train)] if competition.folds.duplicates == "group" else None
    folds, report = split_rows(train, targets, competition, hashes=hashes)
    metric, plain = find_competition_metric(workspace, competition), targets.default_decoder(competition)
    notices = try_metric(metric, targets, plain, folds)
    write_csv(tables / "train.csv", train)
    write_csv(tables / "test.csv", test)
    write_csv(tables / "folds.csv", pd.DataFrame({"image_id": train.image_id, "fold": folds}))
    write_signatures(tables, paths, signatures)
    fetched = Fetched(str(raw), len(train), len(test), competition.folds.count, notices)
    return fetched, report


def read_train_table(workspace: Workspace, slug: str) -> pd.DataFrame:
    """train.csv with its `fold` column, 0-based int; everything else as strings."""
    tables = workspace.finished_tables(slug)
    folds = read_csv(tables / "folds.csv").astype({"fold": int})
    return read_csv(tables / "train.csv").merge(folds, on="image_id", validate="one_to_one")
