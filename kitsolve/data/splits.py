"""`kitsolve folds`: the facts and the train table become folds.csv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.config import Competition, read_competition
from kitsolve.data.duplicates import merge_groups
from kitsolve.data.folds import FoldReport, describe_folds, make_folds
from kitsolve.data.groups import group_cells, separate_missing
from kitsolve.data.images import check_images
from kitsolve.data.leakage import describe_split_groups
from kitsolve.data.near_duplicates import find_near_duplicates
from kitsolve.data.own_folds import FoldChoices, has_record, read_choices, write_folds
from kitsolve.data.signatures import Signatures, read_signatures
from kitsolve.data.stored import list_fact_changes, read_folds, read_marker, read_table
from kitsolve.data.targets import Targets, encode_targets
from kitsolve.errors import KitsolveError
from kitsolve.workspace import Workspace, write_sealed


def split_rows(
    train: pd.DataFrame, targets: Targets, competition: Competition, *, near_duplicates: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], FoldReport]:
    """The fold of every row, as the facts say, and how alike the folds are.

    Args:
        near_duplicates: (rows,) groups of near-duplicates, which `folds.duplicates` may keep together.
    """
    rules = competition.folds
    groups = find_groups(train, competition, near_duplicates=near_duplicates)
    folds = make_folds(
        targets.values, scheme=rules.scheme, count=rules.count, seed=rules.seed, shuffle=rules.shuffle, groups=groups
    )
    return folds, describe_folds(folds, targets=targets.values, label_names=targets.label_names, groups=groups)


def find_groups(
    train: pd.DataFrame, competition: Competition, *, near_duplicates: NDArray[np.int64] | None = None
) -> NDArray[Any] | None:
    """(rows,) what must stay in one fold: the facts' group, near-duplicates, or what either connects; None: nothing.

    A row whose group is empty or a mark of a missing value is a group of its own.
    """
    given = group_cells(train, competition.train)
    groups = None if given is None else separate_missing(given)
    if near_duplicates is None or competition.folds.duplicates != "group":
        return groups
    return near_duplicates if groups is None else merge_groups(groups, near_duplicates)


def read_train_signatures(workspace: Workspace, competition: Competition, train: pd.DataFrame) -> Signatures:
    """The signature of every train image, as `fetch` has kept it; else all images are decoded."""
    tables, paths = workspace.tables(competition.slug), train.path.tolist()
    test = read_table(workspace, competition.slug, "test.csv").path.tolist()
    kept = read_signatures(tables, [*paths, *test])
    if kept is not None:
        return kept[: len(paths)]
    raw = workspace.raw(competition.slug)
    return check_images(raw, paths, slug=competition.slug, image=competition.image).signatures


def split_again(
    workspace: Workspace,
    train: pd.DataFrame,
    targets: Targets,
    competition: Competition,
    *,
    near_duplicates: NDArray[np.int64] | None,
    facts_before: Mapping[str, Any] | None,
) -> tuple[NDArray[np.int64], FoldReport, FoldChoices | None, list[str]]:
    """The folds of tables that are made anew: what the user has chosen by `kitsolve folds` or by hand stays.

    Args:
        near_duplicates: see split_rows.
        facts_before: those of the tables before; None: there were none, or it is not known.

    Returns:
        The fold of every row, how alike the folds are, the choices behind them (None: edited by hand), and notices.

    Raises:
        KitsolveError: folds that were edited by hand do not fit these rows.
    """
    tables = workspace.tables(competition.slug)
    choices = read_choices(tables)
    if choices is None and _is_edited(tables, competition, facts_before):
        return _keep_edited(workspace, train, targets, competition, near_duplicates=near_duplicates)
    choices = choices or FoldChoices()
    folds, report = split_rows(train, targets, choices.apply(competition, train), near_duplicates=near_duplicates)
    return folds, report, choices, []


def _is_edited(tables: Path, competition: Competition, facts_before: Mapping[str, Any] | None) -> bool:
    """Whether folds.csv is perhaps the user's own: it is there, and no record says what made it.

    Where an older version left no record and the facts of the folds have changed, these are what the user wants.
    """
    if not (tables / "folds.csv").is_file():
        return False
    if has_record(tables) or facts_before is None:
        return True
    facts = competition.model_dump(mode="json")
    same_group = facts_before.get("train", {}).get("group") == facts["train"]["group"]
    return same_group and not list_fact_changes(facts_before.get("folds", {}), facts["folds"])


def _keep_edited(
    workspace: Workspace,
    train: pd.DataFrame,
    targets: Targets,
    competition: Competition,
    *,
    near_duplicates: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], FoldReport, FoldChoices | None, list[str]]:
    """The folds of folds.csv as it is; those that the facts make where they are the same."""
    made, report = split_rows(train, targets, competition, near_duplicates=near_duplicates)
    tables, slug = workspace.tables(competition.slug), competition.slug
    try:
        kept = read_folds(workspace, slug, train.image_id)
    except KitsolveError as error:
        if not has_record(tables):  # an older version has made them, of other rows
            return made, report, FoldChoices(), [f"folds.csv is made anew, as the facts say: {error}"]
        hint = f"give each row of the new train table its fold, or remove {tables / 'folds.csv'}; then fetch again."
        raise KitsolveError(f"your own folds do not fit: {error}", hint) from error
    own = kept.set_index("image_id").fold.loc[train.image_id].to_numpy(dtype=np.int64)
    if np.array_equal(own, made):
        return made, report, FoldChoices(), []
    groups = find_groups(train, competition, near_duplicates=near_duplicates)
    report = describe_folds(own, targets=targets.values, label_names=targets.label_names, groups=groups)
    return own, report, None, []


def describe_own_folds(workspace: Workspace, slug: str) -> list[str]:
    """The notice that the folds are the user's own, by `kitsolve folds` or by hand; none where the facts made them.

    Raises:
        KitsolveError: they do not fit the train table; see read_folds.
    """
    tables = workspace.finished_tables(slug)
    choices = read_choices(tables)
    if choices is not None or not has_record(tables):
        told = f"the folds are your own: `kitsolve folds {slug} {choices}`; without options it follows the facts."
        return [told] if choices is not None and str(choices) else []
    read_folds(workspace, slug, read_table(workspace, slug, "train.csv").image_id)
    return [f"folds.csv was edited and is used as your own; `kitsolve folds {slug}` makes it anew."]


def rewrite_folds(workspace: Workspace, slug: str, changes: dict[str, Any], *, group: str | None = None) -> FoldReport:
    """Write folds.csv anew, with some of the facts changed for this time.

    Args:
        changes: fields of config.Folds.
        group: a column of the train table, or COLUMN:PATTERN, in the place of train.group.

    Raises:
        KitsolveError: facts that do not fit together, no such column, or rows that cannot be split so.
    """
    tables, done = workspace.finished_tables(slug), read_marker(workspace, slug)
    facts, choices = read_competition(workspace, slug), FoldChoices(changes, group)
    train = read_table(workspace, slug, "train.csv")
    competition = choices.apply(facts, train)
    targets = encode_targets(train, competition, workspace.raw(slug))
    near_duplicates = None
    if competition.folds.duplicates == "group":
        near_duplicates = find_near_duplicates(read_train_signatures(workspace, competition, train))
    folds, report = split_rows(train, targets, competition, near_duplicates=near_duplicates)
    split = describe_split_groups(tables, pd.Series(folds, index=train.image_id), competition)
    report = replace(report, notices=[*report.notices, *split])
    write_folds(tables, train.image_id, folds, choices)
    told = facts.model_dump(mode="json")
    done["facts"] |= {"folds": told["folds"]}
    done["facts"].setdefault("train", {})["group"] = told["train"]["group"]
    done["fetched"]["folds"] = competition.folds.count
    write_sealed(tables / "tables.json", done | {"fold_report": asdict(report)})
    return report
