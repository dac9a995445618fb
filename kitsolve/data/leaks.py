"""Columns and parts of names whose equal rows belong in one fold, judged by what they hold and not by their names.

Rows of one patient, scene or burst are alike beyond their label. In two folds they make the CV better than the test
score, where the test set has other patients. Two things speak for such a group: its rows share their label far beyond
chance, or the test set has other values, where a column of independent rows would have the same. Where most images are
near-duplicates of others, so does a column of which near-duplicates share the value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.config import GroupPattern
from kitsolve.data.agreement import Agreement, Labels, measure_agreement, measure_smoothness
from kitsolve.data.groups import encode_groups, match_pattern
from kitsolve.data.name_parts import list_folder_patterns, list_name_patterns
from kitsolve.data.sampling import sample_cells

MIN_EXCESS = 1 / 3
"""The part of the way from chance to full agreement from which on a group is one."""
MIN_Z = 6.0
"""Of few groups the distribution is skewed: of 60 rows in 16 groups one random column in 20,000 exceeds 5."""
MIN_GROUPS = 10
MIN_SHARED = 0.25
"""Of the rows, in groups of two and more."""
MAX_GROUP, MAX_PART_GROUP = 0.5, 0.2
"""The largest group's share of the rows: of a column, and of a part of a name, of which there are many to try."""
LABEL_EXCESS, LABEL_ROWS = 0.95, 40
"""What has so many rows a value, and tells the label, is rather a finer label: a breed of a species."""
SPARSE = 10
"""Numbers that are names, of patients say, may leave out so many; measurements do not."""
MIN_NUMBER_EXCESS = 0.5
"""Of numbers that may as well be a measurement."""
MIN_EXPECTED = 10.0
"""So many values of the test must be expected in train for their absence to say something."""
MAX_SEEN = 0.05
MIN_COPIES = 0.5
SHARE = 0.9
SAMPLE = 2000
"""So many cells tell how a column is written."""
NUMBERED = re.compile(r"(?:^|[_ ])(?:id|no|nr|num|number|code|key|group)$|[a-z](?:Id|ID)$", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """What rows could be grouped by: the value of train.group, and the cells of the train and the test rows."""

    group: str | GroupPattern
    cells: pd.Series
    test: pd.Series | None = None

    @property
    def column(self) -> str:
        """The column whose cells, or a part of them, it is."""
        return self.group if isinstance(self.group, str) else self.group.column


@dataclass(frozen=True)
class Unseen:
    """Different values of the test rows, how many of them are in train too, how many would be if rows were drawn."""

    values: int
    seen: int
    expected: float

    @property
    def speaks(self) -> bool:
        """Whether the test set has other values on purpose."""
        return self.expected >= MIN_EXPECTED and self.seen <= MAX_SEEN * self.expected


@dataclass(frozen=True)
class Leak:
    """A group with what speaks for it; `codes`: (rows,) the group of each row, -1: none.

    `copies`: of rows that are near-duplicates of each other, how they agree in it. `is_sure`: its values do not look
    like words for a finer label.
    """

    candidate: Candidate
    codes: NDArray[np.int64]
    values: int
    agreement: Agreement | None
    unseen: Unseen | None
    copies: Agreement | None
    by_label: bool
    is_sure: bool

    @property
    def by_test(self) -> bool:
        """Whether the values of the test rows speak for it."""
        return self.unseen is not None and self.unseen.speaks

    @property
    def by_looks(self) -> bool:
        """Whether most rows are near-duplicates of others, all of them of the same group."""
        one = self.copies
        if one is None or one.within is None or one.chance is None or one.groups < MIN_GROUPS:
            return False
        return one.rows >= MIN_COPIES * len(self.codes) and one.within >= SHARE and one.chance <= MAX_PART_GROUP

    @property
    def is_found(self) -> bool:
        """Whether anything speaks for it but its name."""
        return self.by_label or self.by_test or self.by_looks

    @property
    def reason(self) -> str:
        """What there is to say of it, in numbers."""
        rows = int((self.codes >= 0).sum())
        said = [f"{self.values:,} different in {rows:,} rows"]
        one = self.agreement
        if one is not None and one.within is not None:
            said.append(f"rows of one share the label in {one.within:.0%} of pairs, by chance in {one.chance:.0%}")
        elif one is not None:
            said.append(f"labels within one differ {max(0.0, 1 - one.excess):.2f} times as much as among all rows")
        if self.unseen is not None and self.by_test:
            seen = "none" if not self.unseen.seen else f"{self.unseen.seen}"
            said.append(f"{seen} of the test's {self.unseen.values:,} is in train")
        if self.copies is not None and self.by_looks:
            said.append(
                f"{self.copies.rows:,} rows are near-duplicates of others, {self.copies.within:.0%} of the same one"
            )
        return "; ".join(said)


def list_candidates(
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    *,
    columns: Sequence[str],
    names: Sequence[str],
    folders: Sequence[str],
) -> Iterator[Candidate]:
    """What the rows could be grouped by.

    Args:
        columns: whose cells may be groups.
        names: columns whose cells may have a group in the file's name.
        folders: the same in the folders above the file.
    """
    for name in columns:
        others = test[name].fillna("") if test is not None and name in test else None
        yield Candidate(name, train[name].fillna(""), others)  # else an empty cell counts as true in a search for text
    for kind, chosen in ((list_name_patterns, names), (list_folder_patterns, folders)):
        for name in chosen:
            for pattern in kind(train[name]):
                yield _match(name, pattern, train, test)


def _match(name: str, pattern: str, train: pd.DataFrame, test: pd.DataFrame | None) -> Candidate:
    cells = pd.Series(match_pattern(train[name], pattern), dtype=str)
    found = None
    # With all folders above it, a path has others in the test set whatever the group.
    if test is not None and name in test and (not pattern.startswith("^") or "/" not in pattern):
        found = pd.Series(match_pattern(test[name], pattern), dtype=str)
    return Candidate(GroupPattern(column=name, pattern=pattern), cells, found)


def find_leaks(
    candidates: Iterable[Candidate], labels: Labels, *, near_duplicates: NDArray[np.int64] | None = None
) -> list[Leak]:
    """The groups for which their content speaks, the one to take first.

    Args:
        near_duplicates: (rows,) groups of near-duplicates; of rows of which it is not known -1.
    """
    found, known = [], set()
    for candidate in candidates:
        codes = encode_groups(candidate.cells)
        key = hashlib.sha256(pd.factorize(codes)[0].tobytes()).digest()
        if key in known or not has_group_sizes(codes, part=not isinstance(candidate.group, str)):
            continue
        known.add(key)
        leak = judge_group(candidate, labels, codes, near_duplicates=near_duplicates)
        found += [leak] if leak.is_found else []
    return rank_leaks(found, labels)


def has_group_sizes(codes: NDArray[np.int64], *, part: bool) -> bool:
    """Whether there are many groups, of two rows and more, none of which is most of the rows."""
    filled = codes[codes >= 0]
    sizes = np.bincount(filled)
    sizes = sizes[sizes > 0]
    if len(filled) <= len(codes) / 2 or len(sizes) < MIN_GROUPS:
        return False
    largest = MAX_PART_GROUP if part else MAX_GROUP
    return bool(sizes[sizes > 1].sum() >= MIN_SHARED * len(codes) and sizes.max() <= largest * len(codes))


def judge_group(
    candidate: Candidate, labels: Labels, codes: NDArray[np.int64], *, near_duplicates: NDArray[np.int64] | None = None
) -> Leak:
    """What speaks for a group of that shape."""
    values = len(np.unique(codes[codes >= 0]))
    numbers = _read_numbers(candidate.cells, codes)
    measured = numbers is not None and bool((numbers[np.isfinite(numbers)] % 1 != 0).mean() > 1 - SHARE)
    agreement = measure_agreement(codes, labels)
    by_label = agreement is not None and not measured and _shares_label(candidate, labels, codes, agreement)
    if by_label and numbers is not None and agreement is not None:
        by_label = not _is_measurement(candidate, numbers, labels, codes, agreement)
    unseen = None if candidate.test is None or measured else compare_splits(candidate.cells, candidate.test)
    copies = None
    if near_duplicates is not None and not measured and not labels.is_coarser(codes):
        copies = measure_agreement(np.where(codes >= 0, near_duplicates, -1), Labels.of(codes))
    sure = bool(NUMBERED.search(candidate.column)) or not _are_words(candidate.cells, values)
    return Leak(candidate, codes, values, agreement, unseen, copies, by_label, is_sure=sure)


def _shares_label(candidate: Candidate, labels: Labels, codes: NDArray[np.int64], agreement: Agreement) -> bool:
    """Whether rows of one group share their label, and it is no other writing of the label."""
    if agreement.excess < MIN_EXCESS or agreement.z < MIN_Z:
        return False
    if agreement.excess >= LABEL_EXCESS and agreement.rows > LABEL_ROWS * agreement.groups:
        return False
    return not (labels.is_coarser(codes) or labels.are_named_in(candidate.cells))


def _read_numbers(cells: pd.Series, codes: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """(rows,) the cells as numbers, NaN where there is none; None where they are words."""
    words = cells.str.strip().where(codes >= 0, "nan")
    numbers = pd.to_numeric(words, errors="coerce").to_numpy(dtype=np.float64)
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    return numbers if np.isfinite(numbers[codes >= 0]).mean() >= SHARE else None


def _is_measurement(
    candidate: Candidate, numbers: NDArray[np.float64], labels: Labels, codes: NDArray[np.int64], agreement: Agreement
) -> bool:
    """Whether rows of the next greater number agree as well: of ages, not of numbers that are names."""
    known = np.flatnonzero(np.isfinite(numbers))
    places = np.full(len(numbers), -1)
    values, places[known] = np.unique(numbers[known], return_inverse=True)
    smooth = measure_smoothness(places, labels)
    named = bool(candidate.cells.str.match(r"0\d").any()) or np.ptp(values) > SPARSE * len(values)
    if not (named or NUMBERED.search(candidate.column)):
        return agreement.excess < MIN_NUMBER_EXCESS or smooth > agreement.excess / 4
    # Names that are given to one class after the other are smooth too.
    return smooth > agreement.excess / 2 and agreement.excess < SHARE


def _are_words(cells: pd.Series, values: int) -> bool:
    """Whether the values are a few words, as names of classes are."""
    return values <= 100 and not sample_cells(cells, SAMPLE).str.contains(r"\d", regex=True).mean() > 1 - SHARE


def compare_splits(train: pd.Series, test: pd.Series) -> Unseen | None:
    """How many values of the test rows train has; None where they are written in another way, or missing."""
    ours, theirs = train[encode_groups(train) >= 0].str.strip(), test[encode_groups(test) >= 0].str.strip()
    if len(theirs) < SHARE * len(test) or not len(ours):
        return None
    if not _are_written_alike(ours, theirs):
        return None
    values = theirs.unique()
    counts = ours.value_counts().to_numpy(dtype=np.float64)
    # Of rows dealt out to both splits by lot: values that come to the test, and values that come to both.
    share = len(theirs) / (len(ours) + len(theirs))
    drawn = 1 - (1 - share) ** counts
    both = drawn - share**counts
    return Unseen(len(values), int(pd.Index(values).isin(ours).sum()), float(len(values) * both.sum() / drawn.sum()))


def _are_written_alike(one: pd.Series, other: pd.Series) -> bool:
    """Whether both have the same marks between words, and letters in about as many: "cow012" and "17" have not."""
    shown = [sample_cells(cells, SAMPLE) for cells in (one, other)]
    forms = [cells.str.replace(r"[^\W_]+", "w", regex=True) for cells in shown]
    letters = [cells.str.contains(r"[^\W\d_]", regex=True).mean() for cells in shown]
    return bool(forms[1].isin(set(forms[0])).mean() >= SHARE and abs(letters[0] - letters[1]) < 1 - MIN_NUMBER_EXCESS)


def rank_leaks(leaks: Sequence[Leak], labels: Labels) -> list[Leak]:
    """The one to group by first: that for which most speaks, or a coarser one of whose groups it is a part.

    Columns come before parts of names: of these many are tried, and some repeat what a column says less well.
    """
    ranked = sorted(leaks, key=lambda leak: (isinstance(leak.candidate.group, str), _strength(leak)), reverse=True)
    if not ranked:
        return []
    best = ranked[0]
    for leak in sorted(ranked[1:], key=lambda leak: -leak.values):
        if leak.values < best.values and holds(leak.codes, best.codes) and _adds_to(leak, best, labels):
            best = leak
    return [best, *(leak for leak in ranked if leak is not best)]


def _adds_to(coarse: Leak, fine: Leak, labels: Labels) -> bool:
    """Whether more speaks for a coarser group than that it holds the fine one: what different fine groups share."""
    if coarse.by_test and isinstance(coarse.candidate.group, str):
        return True
    codes, rows = np.unique(fine.codes, return_index=True)
    rows = rows[codes >= 0]
    agreement = measure_agreement(coarse.codes[rows], labels.of_rows(rows))
    return agreement is not None and agreement.excess >= MIN_EXCESS and agreement.z >= MIN_Z


def _strength(leak: Leak) -> float:
    excess = leak.agreement.excess if leak.by_label and leak.agreement is not None else 0.0
    return leak.by_test + leak.by_looks * 0.5 + leak.is_sure * 0.5 + excess


def holds(coarse: NDArray[Any], fine: NDArray[Any]) -> bool:
    """Whether nearly each fine group lies in one coarse group."""
    filled = (coarse >= 0) & (fine >= 0)
    pairs = pd.DataFrame({"coarse": coarse[filled], "fine": fine[filled]}).drop_duplicates()
    return bool(len(pairs) <= 1.05 * pairs.fine.nunique())
