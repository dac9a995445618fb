"""Which runs' CVs compare: those of the same rows, labels and folds, by the same metric."""

from __future__ import annotations

from collections.abc import Sequence

from kitsolve.evaluation.runs import Run, folds_of

LABEL_FACTS = ("target", "positive", "unknown", "order", "range", "missing")
"""The keys of [train] that decide what a row is labelled with."""


def find_difference(run: Run, other: Run) -> str | None:
    """Why the CV of a run does not compare with that of another, in words; None where it does.

    Runs of versions that did not keep their folds or tables are compared as far as these are known.
    """
    for name in ("task", "metric"):
        mine, theirs = getattr(run.competition, name), getattr(other.competition, name)
        if mine != theirs:
            return f"its {name} is {theirs}, not {mine}"
    for name in LABEL_FACTS:
        mine, theirs = getattr(run.competition.train, name, None), getattr(other.competition.train, name, None)
        if mine != theirs:
            return f"its train.{name} is {theirs!r}, not {mine!r}"
    return _compare_folds(run, other) or _compare_labels(run, other)


def group_runs(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """A letter for each run, the same for those whose CVs compare; and a sentence for each letter but the first."""
    first: dict[str, Run] = {}
    letters, sentences = [], []
    for run in runs:
        reasons = {letter: find_difference(known, run) for letter, known in first.items()}
        letter = next((letter for letter, reason in reasons.items() if reason is None), None)
        if letter is None:
            letter = _name(len(first))
            if first:
                sentences.append(
                    f"the CV of {run.name} and other runs marked {letter} does not compare with that of "
                    f"{first['A'].name} (A): {reasons['A']}."
                )
            first[letter] = run
        letters.append(letter)
    return letters, sentences


def _name(place: int) -> str:
    """A to Z, then A1, B1 and so on."""
    turn, letter = divmod(place, 26)
    return f"{chr(ord('A') + letter)}{turn or ''}"


def _compare_folds(run: Run, other: Run) -> str | None:
    files = [one.folder / "folds.csv" for one in (run, other)]
    if all(file.is_file() for file in files) and files[0].read_bytes() == files[1].read_bytes():
        return None
    mine, theirs = folds_of(run), folds_of(other)
    lone = mine.index.symmetric_difference(theirs.index)
    if len(lone):
        return f"{len(lone):,} rows are in one of both alone, first id {str(lone[0])!r}"
    moved = mine.index[mine.ne(theirs.reindex(mine.index))]
    return (
        f"{len(moved):,} of {len(mine):,} rows lie in another fold, first id {str(moved[0])!r}" if len(moved) else None
    )


def _compare_labels(run: Run, other: Run) -> str | None:
    """By the content of train.csv; of runs with pseudo-labels an older version did not keep that alone."""
    mine, theirs = run.made_from, other.made_from
    if mine and theirs:
        same = mine.get("train.csv") == theirs.get("train.csv")
    else:
        same = bool(run.recipe.pseudo or other.recipe.pseudo) or run.tables_sha256 == other.tables_sha256
    return None if same else "train.csv was another one: other labels or columns"
