"""`kitsolve fetch`: raw files, then train.csv, test.csv and folds.csv."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from kitsolve.config import Competition, load_prepare, read_competition
from kitsolve.data.archives import DamagedArchiveError, check_free, is_archive, unpack, unpack_nested
from kitsolve.data.copies import describe_copies
from kitsolve.data.features import describe_features, fit_features
from kitsolve.data.folds import FoldReport
from kitsolve.data.image_files import describe_unused, find_unused_images
from kitsolve.data.images import check_images, describe_check
from kitsolve.data.leakage import describe_split_groups, find_leakage, write_findings
from kitsolve.data.near_duplicates import find_near_duplicates
from kitsolve.data.origin import check_origin, forget_origin, record_origin, take_listing
from kitsolve.data.outputs import check_outputs
from kitsolve.data.own_folds import write_folds
from kitsolve.data.sample import describe_sample, open_sample
from kitsolve.data.signatures import write_signatures
from kitsolve.data.splits import describe_own_folds, split_again
from kitsolve.data.stored import (
    hash_raw_tables,
    hash_tables,
    list_edited,
    list_stale,
    read_earlier,
    read_folds,
    read_table,
)
from kitsolve.data.table import make_test_table, make_train_table, unpack_arrays
from kitsolve.data.targets import encode_targets
from kitsolve.data.trial import try_metric
from kitsolve.errors import KitsolveError, own_code
from kitsolve.hooks import describe_unused_functions, find_competition_metric
from kitsolve.workspace import Workspace, write_bytes, write_csv, write_sealed


@dataclass(frozen=True)
class Fetched:
    """What lies on the disk now: the raw folder, the number of rows of both splits, the number of folds.

    `notices`: what a user should know about the data before training, a sentence each. `image_bits`: how many bits the
    images of 16 bits or more use.
    """

    raw: str
    train_rows: int
    test_rows: int
    folds: int
    notices: list[str] = field(default_factory=list)
    image_bits: int = 16


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
    earlier = read_earlier(workspace, slug)
    fetch_raw(workspace, slug, source=source, prepare=load_prepare(workspace, slug), force=force)
    unpack_nested(workspace.raw(slug), competition.archives)
    unpack_arrays(workspace.raw(slug), competition)
    own_sample = place_sample(workspace, competition)
    find_competition_metric(workspace, competition)  # of one's own: it may have changed since the tables were made
    if not keep_archive:
        shutil.rmtree(workspace.download(slug), ignore_errors=True)
    facts = competition.for_training().model_dump(mode="json")
    edited = list_edited(workspace, slug, earlier)
    if marker.is_file() and earlier.get("facts") == facts and not edited and not list_stale(workspace, competition):
        known = Fetched(**{**earlier["fetched"], "raw": str(workspace.raw(slug))})  # the root may have been moved
        return replace(known, notices=own_sample + known.notices + _describe_folds(workspace, competition))
    fetched, report = _write_tables(workspace, competition, facts_before=earlier.get("facts"))
    made = {"files": hash_tables(workspace, slug), "made_from": hash_raw_tables(workspace, competition)}
    write_sealed(marker, {"facts": facts, "fetched": asdict(fetched), "fold_report": asdict(report), **made})
    remade = [f"{name} was edited or damaged: it is made anew." for name in edited]
    return replace(fetched, notices=[*own_sample, *fetched.notices, *remade, *_describe_folds(workspace, competition)])


def _describe_folds(workspace: Workspace, competition: Competition) -> list[str]:
    """Notices of the folds as they lie there now: that they are the user's own, and what they tear apart."""
    slug, tables = competition.slug, workspace.tables(competition.slug)
    own = describe_own_folds(workspace, slug)
    folds = read_folds(workspace, slug, read_table(workspace, slug, "train.csv").image_id).set_index("image_id").fold
    return own + describe_split_groups(tables, folds, competition)


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

    Raises:
        KitsolveError: the raw folder is there, and was filled from another source.
    """
    raw = workspace.raw(slug)
    if raw.is_dir() and not force:
        if source is not None:
            check_origin(workspace, slug, source)
        return raw
    if force:
        shutil.rmtree(workspace.download(slug), ignore_errors=True)
    partial = raw.with_name(f".{slug}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    listing = None
    if source is not None:
        _take(source, partial)
        listing = take_listing(source)
    elif prepare is not None and hasattr(prepare, "fetch"):
        _fill(prepare, partial)
    else:
        _download(slug, workspace.download(slug), partial)
    if prepare is not None and hasattr(prepare, "answers"):
        with own_code(Path(str(prepare.__file__)), "answers"):
            write_csv(workspace.answers(slug), prepare.answers())
    (workspace.tables(slug) / "tables.json").unlink(missing_ok=True)  # its tables are of the files that go now
    forget_origin(workspace, slug)
    shutil.rmtree(raw, ignore_errors=True)
    os.replace(partial, raw)
    record_origin(workspace, slug, source, listing)
    return raw


def _fill(prepare: ModuleType, target: Path) -> None:
    """Let `fetch` of a prepare.py fill the folder.

    Raises:
        KitsolveError: it fails, or the folder is gone.
    """
    path = Path(str(prepare.__file__))
    target.mkdir(parents=True)
    with own_code(path, "fetch"):
        prepare.fetch(target)
    if not target.is_dir():
        raise KitsolveError(f"fetch in {path} removed the folder that it was to fill.", "let it write files there.")


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


def place_sample(workspace: Workspace, competition: Competition) -> list[str]:
    """Put the sample submission that lies beside competition.toml into the raw folder; says so where there is one.

    Kaggle's data sets often have none: `kitsolve new` makes one of the test images, to be edited there.
    """
    own = workspace.competition(competition.slug) / competition.submission.sample
    place = workspace.raw(competition.slug) / competition.submission.sample
    if not own.is_file():
        return []
    if not place.is_file() or place.read_bytes() != own.read_bytes():
        write_bytes(place, own.read_bytes())  # a new file: the old one may be a link to one outside of the root
    return [f"the sample submission is {own}, not Kaggle's: submissions have its ids and columns."]


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A hard link where the disk allows it, since datasets are large; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_tables(
    workspace: Workspace, competition: Competition, *, facts_before: dict[str, Any] | None
) -> tuple[Fetched, FoldReport]:
    raw, tables = workspace.raw(competition.slug), workspace.tables(competition.slug)
    notices: list[str] = []
    train = make_train_table(raw, competition, note=notices.append)
    test = make_test_table(raw, competition, note=notices.append)
    check_outputs(open_sample(raw, competition), competition, train, test)
    targets = encode_targets(train, competition, raw)
    notices += describe_sample(targets.names, raw, competition)
    # A column that cannot be one shall not stop the training.
    notices += describe_features(fit_features(train, competition.train.features), train, test)
    paths = [*train.path, *test.path]
    check = check_images(raw, paths, slug=competition.slug, image=competition.image)
    near_duplicates = find_near_duplicates(check.signatures[: len(train)])
    folds, report, choices, said = split_again(
        workspace, train, targets, competition, near_duplicates=near_duplicates, facts_before=facts_before
    )
    metric, plain = find_competition_metric(workspace, competition), targets.default_decoder(competition)
    notices += (
        said
        + report.notices
        + try_metric(metric, targets, plain, folds)
        + describe_unused_functions(workspace, competition)
    )
    notices += describe_check(check, competition.image)
    notices += describe_copies(check.seen["content"].tolist(), train, test, competition.train.targets)
    unused = find_unused_images(raw, train.path, test_paths=test.path)
    notices += [describe_unused(unused)] if unused else []
    write_csv(tables / "train.csv", train)
    write_csv(tables / "test.csv", test)
    write_folds(tables, train.image_id, folds, choices)
    write_signatures(tables, paths, check.signatures)
    write_findings(tables, train, find_leakage(train, test, competition, targets, near_duplicates=near_duplicates))
    fetched = Fetched(str(raw), len(train), len(test), len(report.rows), notices, check.bits)
    return fetched, report


def read_train_table(workspace: Workspace, slug: str) -> pd.DataFrame:
    """train.csv with its `fold` column, 0-based int; everything else as strings.

    Raises:
        KitsolveError: see read_table and read_folds.
    """
    train = read_table(workspace, slug, "train.csv").drop(columns="fold", errors="ignore")  # an older version's
    return train.merge(read_folds(workspace, slug, train.image_id), on="image_id", validate="one_to_one")
