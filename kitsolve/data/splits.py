"""`kitsolve folds`: the facts and the train table become folds.csv."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.config import Competition, check_facts, read_competition
from kitsolve.data.duplicates import group_duplicates, merge_groups
from kitsolve.data.folds import FoldReport, describe_folds, make_folds
from kitsolve.data.groups import group_cells, separate_missing
from kitsolve.data.images import check_images
from kitsolve.data.signatures import Signatures, read_signatures
from kitsolve.data.targets import Targets, encode_targets
from kitsolve.errors import KitsolveError
from kitsolve.workspace import Workspace, read_csv, read_json, write_csv, write_json


def split_rows(
    train: pd.DataFrame, targets: Targets, competition: Competition, *, hashes: NDArray[np.uint64] | None = None
) -> tuple[NDArray[np.int64], FoldReport]:
    """The fold of every row, as the facts say, and how alike the folds are.

    Args:
        hashes: (rows,) perceptual hashes of the images, where near-duplicates are to be kept together.
    """
    rules = competition.folds
    groups = find_groups(train, competition, hashes=hashes)
    folds = make_folds(
        targets.values, scheme=rules.scheme, count=rules.count, seed=rules.seed, shuffle=rules.shuffle, groups=groups
    )
    return folds, describe_folds(folds, targets=targets.values, label_names=targets.label_names, groups=groups)


def find_groups(
    train: pd.DataFrame, competition: Competition, *, hashes: NDArray[np.uint64] | None = None
) -> NDArray[Any] | None:
    """(rows,) what must stay in one fold: the facts' group, near-duplicates, or what either connects; None: nothing.

    A row whose group is empty or a mark of a missing value is a group of its own.
    """
    given = group_cells(train, competition.train)
    groups = None if given is None else separate_missing(given)
    if hashes is None:
        return groups
    duplicates = group_duplicates(hashes)
    return duplicates if groups is None else merge_groups(groups, duplicates)


def hash_train_images(workspace: Workspace, competition: Competition, train: pd.DataFrame) -> NDArray[np.uint64] | None:
    """The perceptual hash of every train image, where the facts keep near-duplicates together."""
    if competition.folds.duplicates != "group":
        return None
    return read_train_signatures(workspace, competition, train).hashes


def read_train_signatures(workspace: Workspace, competition: Competition, train: pd.DataFrame) -> Signatures:
    """The signature of every train image, as `fetch` has kept it; else all images are decoded."""
    tables, paths = workspace.tables(competition.slug), train.path.tolist()
    test = read_csv(tables / "test.csv").path.tolist()
    kept = read_signatures(tables, [*paths, *test])
    if kept is not None:
        return kept[: len(paths)]
    raw, channels = workspace.raw(competition.slug), competition.image.channels
    return check_images(raw, paths, slug=competition.slug, channels=channels, hashed=len(paths))


def rewrite_folds(workspace: Workspace, slug: str, changes: dict[str, Any], *, group: str | None = None) -> FoldReport:
    """Write folds.csv anew, with some of the facts changed for this time.

    Args:
        changes: fields of config.Folds.
        group: a column of the train table, or COLUMN:PATTERN, in the place of train.group.

    Raises:
        KitsolveError: facts that do not fit together, no such column, or rows that cannot be split so.
    """
    tables = workspace.finished_tables(slug)
    competition = read_competition(workspace, slug)
    train = read_csv(tables / "train.csv")
    facts = competition.model_dump()
    facts["folds"] |= changes
    if group is not None:
        facts["train"]["group"] = _parse_group(group, train)
    competition = check_facts(facts)
    targets = encode_targets(train, competition, workspace.raw(slug))
    hashes = hash_train_images(workspace, competition, train)
    folds, report = split_rows(train, targets, competition, hashes=hashes)
    write_csv(tables / "folds.csv", pd.DataFrame({"image_id": train.image_id, "fold": folds}))
    done = read_json(tables / "tables.json")
    done["fetched"]["folds"] = competition.folds.count
    write_json(tables / "tables.json", done | {"fold_report": asdict(report)})
    return report


def _parse_group(text: str, train: pd.DataFrame) -> str | dict[str, str]:
    """A column, or a column and a pattern after a colon, as facts have them."""
    if text in train:
        return text
    column, _, pattern = text.partition(":")
    if column not in train or not pattern:
        raise KitsolveError(f"train.csv has no column {column!r}.", hint=f"take one of: {', '.join(train)}.")
    return {"column": column, "pattern": pattern}
