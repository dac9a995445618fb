"""Which train rows belong in one fold: by what their columns and names hold, else by what a column is called."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.data.agreement import Labels
from kitsolve.data.groups import encode_groups, match_pattern
from kitsolve.data.leaks import Candidate, Leak, find_leaks, has_group_sizes, holds, judge_group, list_candidates
from kitsolve.data.name_parts import are_file_names
from kitsolve.proposing.columns import GROUP_WORDS, OTHER_WORDS
from kitsolve.proposing.forms import Form
from kitsolve.proposing.proposal import Guess

MAX_CHOICES = 4
MIN_VALUES = 2
"""So many folds there are at least."""


def choose_group(
    rows: pd.DataFrame,
    test: pd.DataFrame | None,
    form: Form,
    *,
    id_column: str,
    taken: Collection[Any],
    near_duplicates: NDArray[np.int64] | None = None,
) -> Guess | None:
    """What rows of equal value should stay in one fold; always to be confirmed.

    Args:
        rows: of train, with the column `path` of the image.
        test: the same of the test, whose id has the same name.
        taken: columns that are something else.
        near_duplicates: (rows,) groups of near-duplicates, -1 where nobody has looked.
    """
    labels = read_labels(rows, form)
    columns = [str(name) for name in rows if name not in taken and name != "path"]
    says_the_path = id_column == "path" or are_file_names(rows[id_column].astype(str), rows.path)
    names = [id_column] if says_the_path else [id_column, "path"]
    candidates = list_candidates(rows, test, columns=columns, names=names, folders=["path"])
    found = find_leaks(candidates, labels, near_duplicates=near_duplicates)
    named = [leak for leak in _list_named(rows, labels, columns) if leak.candidate.group not in _columns_of(found)]
    ranked = _rank(found, named)
    if not ranked:
        return None
    best = ranked[0]
    reason = best.reason + ("" if best.is_found else "; by its name what images have in common")
    coarser = [name for name in _list_coarser(rows, test, columns, best) if name != _fact(best)]
    others = [_fact(leak) for leak in ranked[1:MAX_CHOICES] if _fact(leak) not in coarser]
    return Guess(_fact(best), reason, (_fact(best), *coarser, *others, None))


def _list_coarser(rows: pd.DataFrame, test: pd.DataFrame | None, columns: Sequence[str], best: Leak) -> list[str]:
    """Columns whose values hold the best groups whole and are all others in the test: an experiment of many plates."""
    coarser: list[str] = []
    if test is None:
        return coarser
    for name in columns:
        codes = encode_groups(rows[name])
        fits = MIN_VALUES <= len(np.unique(codes[codes >= 0])) < best.values
        if fits and name in test and not rows[name].isin(test[name].unique()).any() and holds(codes, best.codes):
            coarser.append(name)
    return coarser


def read_labels(rows: pd.DataFrame, form: Form) -> Labels:
    """The labels of the train rows, as the proposed facts say; of what cannot be read as such, no row's differ."""
    target = form.target.value
    if isinstance(target, dict):
        sets = rows[target["column"]].str.get_dummies(sep=target["separator"])
        return Labels.of(sets.to_numpy())
    if isinstance(target, list):
        return Labels.of(rows[target].apply(pd.to_numeric, errors="coerce").fillna(0).to_numpy(dtype=float))
    if target not in rows:
        return Labels.of(np.zeros(len(rows), dtype=np.int64))
    if form.task.value == "regression":
        return Labels.of(pd.to_numeric(rows[target], errors="coerce").fillna(0).to_numpy(dtype=float))
    return Labels.of(rows[target].to_numpy(), rows[target])


def _list_named(rows: pd.DataFrame, labels: Labels, columns: Sequence[str]) -> list[Leak]:
    """Columns whose names speak of a group, and whose values could be one, the coarsest first."""
    named = [name for name in columns if GROUP_WORDS.search(name) and not OTHER_WORDS.search(name)]
    leaks = []
    for name in named:
        codes = encode_groups(rows[name])
        values = len(np.unique(codes[codes >= 0]))
        sizes_fit = has_group_sizes(codes, part=False) or 10 <= values < 0.98 * (codes >= 0).sum()
        if sizes_fit and (codes >= 0).sum() > len(codes) / 2 and not labels.is_coarser(codes):
            leaks.append(judge_group(Candidate(name, rows[name]), labels, codes))
    return sorted(leaks, key=lambda leak: leak.values)


def _columns_of(leaks: Sequence[Leak]) -> list[str]:
    return [leak.candidate.group for leak in leaks if isinstance(leak.candidate.group, str)]


def _rank(found: list[Leak], named: list[Leak]) -> list[Leak]:
    """What content shows comes first, unless a column that is called a group holds it, or it may be a finer label."""
    if not (found and named):
        return found or named
    best, coarse = found[0], next((leak for leak in named if holds(leak.codes, found[0].codes)), None)
    if coarse is not None and coarse.values < best.values:
        return [coarse, *found, *(leak for leak in named if leak is not coarse)]
    return [*found, *named] if best.is_sure or best.by_test else [*named, *found]


def encode_guess(rows: pd.DataFrame, group: Guess | None) -> NDArray[np.int64] | None:
    """(rows,) the group of each row, -1: none; None where no group is proposed."""
    if group is None or group.value is None:
        return None
    if isinstance(group.value, str):
        return encode_groups(rows[group.value])
    return encode_groups(pd.Series(match_pattern(rows[group.value["column"]], group.value["pattern"]), dtype=str))


def _fact(leak: Leak) -> Any:  # noqa: ANN401  (a value of TOML)
    group = leak.candidate.group
    return group if isinstance(group, str) else group.model_dump()
