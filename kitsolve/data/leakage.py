"""What `fetch` finds that belongs in one fold, kept beside the tables; what `folds` and `score` say where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.config import Competition, GroupPattern
from kitsolve.data.agreement import Labels
from kitsolve.data.groups import describe_group
from kitsolve.data.leaks import Leak, find_leaks, list_candidates
from kitsolve.data.name_parts import are_file_names
from kitsolve.data.targets import Targets
from kitsolve.workspace import read_csv, read_json, write_csv, write_json

FILE, GROUPS = "leakage.json", "leakage.csv"
DUPLICATES = "duplicates"
MIN_NEAR_DUPLICATES, MIN_NEAR_SHARE = 10, 0.01
"""Near-duplicates are worth a word from so many images, and so large a share of them, on."""
MIN_SPLIT, MIN_SPLIT_SHARE = 10, 0.01
"""As many rows in groups that lie in several folds."""
MOSTLY = 0.9


@dataclass(frozen=True)
class Finding:
    """Rows that belong in one fold. `name`: of the column, or "duplicates"; `rows`: what they are, in words.

    `reason`: what speaks for it, in numbers. `fact`: the line of competition.toml that keeps them together.
    `codes`: (rows,) the group of each row, -1: none.
    """

    name: str
    rows: str
    reason: str
    fact: str
    codes: NDArray[np.int64]


def find_leakage(
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    competition: Competition,
    targets: Targets,
    *,
    near_duplicates: NDArray[np.int64] | None = None,
) -> list[Finding]:
    """The best group that the columns and names show, and near-duplicates beyond it.

    Args:
        near_duplicates: (rows,) groups of near-duplicates, of `find_near_duplicates`.
    """
    # Words that the test rows share with train are rather a finer label: a breed of a species.
    leaks = [
        leak
        for leak in _search(train, test, competition, targets, near_duplicates)
        if leak.is_sure or leak.by_test or leak.unseen is None
    ]
    leaks = [leak for leak in leaks if leak.candidate.column not in competition.folds.ignore]
    found = [_describe_leak(leak, train, competition) for leak in leaks[:1]]
    copies = None if near_duplicates is None else describe_near_duplicates(near_duplicates)
    if copies is not None and not (found and _are_within(copies.codes, found[0].codes)):
        found.append(copies)
    return found


def _search(
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    competition: Competition,
    targets: Targets,
    near_duplicates: NDArray[np.int64] | None,
) -> list[Leak]:
    facts = competition.train
    columns = [
        name for name in train if name not in ("image_id", "path", *facts.targets, *map(facts.column, facts.targets))
    ]
    words = train.get(facts.targets[0]) if targets.values.ndim == 1 and len(facts.targets) == 1 else None
    names = ["image_id"] if are_file_names(train.image_id, train.path) else ["image_id", "path"]
    candidates = list_candidates(train, test, columns=columns, names=names, folders=["path"])
    labels = Labels.of(targets.values, None if targets.task == "regression" else words)
    return find_leaks(candidates, labels, near_duplicates=near_duplicates)


def _describe_leak(leak: Leak, train: pd.DataFrame, competition: Competition) -> Finding:
    group = leak.candidate.group
    if isinstance(group, str):
        return Finding(
            group, f"rows of equal {group}", leak.reason, f"train.group = {describe_group(group)}", leak.codes
        )
    column = competition.train.id if group.column == "image_id" else group.column
    row = int(np.flatnonzero(leak.codes >= 0)[0])
    example = f"{leak.candidate.cells.iloc[row]!r} in {train[group.column].iloc[row]!r}"
    fact = describe_group(GroupPattern(column=column, pattern=group.pattern))
    return Finding(
        column,
        f"rows whose {column} has one part in common ({example})",
        leak.reason,
        f"train.group = {fact}",
        leak.codes,
    )


def describe_near_duplicates(near_duplicates: NDArray[np.int64]) -> Finding | None:
    """That images are near-duplicates of each other; None where they are too few to matter."""
    sizes = np.bincount(near_duplicates)
    copies = int(sizes[sizes > 1].sum())
    if copies < max(MIN_NEAR_DUPLICATES, MIN_NEAR_SHARE * len(near_duplicates)):
        return None
    reason = f"{copies:,} of the train images are near-duplicates of another one"
    codes = np.where(sizes[near_duplicates] > 1, near_duplicates, -1)
    return Finding(DUPLICATES, "images that look the same", reason, 'folds.duplicates = "group"', codes)


def _are_within(fine: NDArray[np.int64], coarse: NDArray[np.int64]) -> bool:
    """Whether nearly all rows of a fine group lie in one coarse group with the others of it."""
    alone = np.where(coarse >= 0, coarse, coarse.max() + 1 + np.arange(len(coarse)))
    return bool(count_split_rows(fine, alone) < (1 - MOSTLY) * (fine >= 0).sum())


def count_split_rows(codes: NDArray[np.int64], folds: NDArray[np.int64]) -> int:
    """How many rows are in a group that lies in several folds."""
    table = pd.DataFrame({"group": codes, "fold": folds})[codes >= 0]
    found = table.groupby("group").fold.agg(["size", "nunique"])
    return int(found["size"][found["nunique"] > 1].sum())


def write_findings(tables: Path, train: pd.DataFrame, findings: Sequence[Finding]) -> None:
    """Keep the findings beside the tables: `read_findings` gives them back."""
    groups = {f"group_{place}": finding.codes for place, finding in enumerate(findings)}
    write_csv(tables / GROUPS, pd.DataFrame({"image_id": train.image_id, **groups}))
    kept = [{key: getattr(one, key) for key in ("name", "rows", "reason", "fact")} for one in findings]
    write_json(tables / FILE, {"findings": kept})


def read_findings(tables: Path) -> tuple[list[Finding], pd.Index]:
    """The findings, and the ids of the rows that their codes are of; none where an older version made the tables."""
    if not ((tables / FILE).is_file() and (tables / GROUPS).is_file()):
        return [], pd.Index([])
    groups = read_csv(tables / GROUPS)
    kept = read_json(tables / FILE)["findings"]
    codes = [groups[f"group_{place}"].to_numpy(dtype=np.int64) for place in range(len(kept))]
    return [Finding(**one, codes=part) for one, part in zip(kept, codes, strict=True)], pd.Index(groups.image_id)


def describe_split_groups(
    tables: Path, folds: pd.Series, competition: Competition, *, short: bool = False
) -> list[str]:
    """A sentence for each finding whose rows lie in several folds, unless the facts say that nobody needs to be told.

    Args:
        folds: the fold of each image, by its id.
        short: without numbers and advice, which `folds` has.
    """
    findings, ids = read_findings(tables)
    places = ids.get_indexer(folds.index)
    known, told = places >= 0, []
    for finding in findings:
        split = count_split_rows(finding.codes[places[known]], folds.to_numpy()[known])
        least = max(MIN_SPLIT, MIN_SPLIT_SHARE * len(folds))
        if split >= least and _is_news(finding, competition):
            told.append(_say_short(finding, competition.slug) if short else _say(finding, split, len(folds)))
    return told


def _is_news(finding: Finding, competition: Competition) -> bool:
    """Not where the facts name another group, or say that it is known."""
    grouped = finding.name != DUPLICATES and competition.train.group is not None
    return not grouped and finding.name not in competition.folds.ignore


def _say(finding: Finding, split: int, rows: int) -> str:
    return (
        f"{finding.rows} lie in different folds, {split:,} of {rows:,}: the CV will be too high where the test set has "
        f'other ones ({finding.reason}). Set {finding.fact}, or folds.ignore = ["{finding.name}"] if that is meant.'
    )


def _say_short(finding: Finding, slug: str) -> str:
    return f"{finding.rows} lie in different folds: this CV is likely too high; `kitsolve fetch {slug}` says more."
