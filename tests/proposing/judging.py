"""How a proposal compares with the truth, fact by fact: right, unsure (said to be so), or silently wrong."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kitsolve.config import Competition
from kitsolve.data.archives import unpack_nested
from kitsolve.data.table import make_test_table, make_train_table
from kitsolve.errors import KitsolveError
from kitsolve.proposing.detect import propose
from kitsolve.proposing.proposal import Proposal, write_toml

# A fact of these that is proposed and not true must be marked as unsure, also where the truth has none.
OPTIONAL = {
    "archives": [],
    "image.channels": 3,
    "train.group": None,
    "train.features": [],
    "train.range": None,
    "train.unknown": None,
    "test.rows": None,
    "submission.separator": " ",
    "submission.top_k": 5,
}


@dataclass(frozen=True)
class Verdict:
    """One fact; `outcome`: right, unsure (wrong or not decidable, and marked), or silent (wrong and not marked)."""

    fact: str
    outcome: str
    proposed: Any
    wanted: Any
    choices: tuple[Any, ...] = ()

    @property
    def offers_truth(self) -> bool:
        """Whether the truth is among the choices."""
        return any(same(choice, self.wanted) for choice in self.choices)


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a parsed competition.toml by "table.key"."""
    flat = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and key in ("image", "train", "test", "folds", "submission")
        flat |= {f"{key}.{name}": item for name, item in value.items()} if nested else {key: value}
    return flat


def same(one: Any, other: Any) -> bool:
    """Whether two values of a fact mean the same."""
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(str, one)) == sorted(map(str, other))
    return one == other


def judge(
    write: Any, truth: Mapping[str, Any], folder: Path, *, slug: str = "any", pages: Mapping[str, str] | None = None
) -> tuple[Proposal, list[Verdict]]:
    """Lay out raw files in an empty folder, propose, and compare with the truth."""
    raw = folder / "raw"
    raw.mkdir()
    write(raw)
    proposal = propose(raw, slug, pages=pages)
    flat = flatten(tomllib.loads(write_toml(proposal)))
    shutil.copytree(raw, folder / "unpacked")
    unpack_nested(folder / "unpacked", truth.get("archives", []))
    choices = {f"{fact.table}.{fact.key}".strip("."): fact.choices for fact in proposal.facts}
    paths = _compare_paths(flat, flat | dict(truth), folder / "unpacked")
    verdicts = []
    for fact in [*truth, *(name for name in OPTIONAL if name not in truth)]:
        wanted = truth.get(fact, OPTIONAL.get(fact))
        proposed = flat.get(fact, OPTIONAL.get(fact))
        right = same(proposed, wanted) or fact in paths
        outcome = "right" if right else "unsure" if choices.get(fact) else "silent"
        verdicts.append(Verdict(fact, outcome, proposed, wanted, choices.get(fact, ())))
    return proposal, verdicts


def _compare_paths(proposed: Mapping[str, Any], wanted: Mapping[str, Any], raw: Path) -> set[str]:
    """The facts that say the same in other words: they give the same files with the same labels."""
    equal = set()
    mine, theirs = (_train_rows(facts, raw) for facts in (proposed, wanted))
    if mine is not None and theirs is not None and set(mine.path) == set(theirs.path):
        equal |= {"train.image"}
        labels = [table.set_index("path").iloc[:, 1:].sort_index().to_numpy().tolist() for table in (mine, theirs)]
        equal |= (
            {"train.rows", "train.target"} if labels[0] == labels[1] and "glob" in proposed["train.rows"] else set()
        )
    mine, theirs = (_test_rows(facts, raw) for facts in (proposed, wanted))
    if mine is not None and theirs is not None and mine.path.tolist() == theirs.path.tolist():
        equal |= {"test.image", "test.rows", "test.id"}
    return equal


def _competition(facts: Mapping[str, Any]) -> Competition:
    values: dict[str, Any] = {"slug": "any"}
    for name, value in facts.items():
        table, _, key = name.rpartition(".")
        (values.setdefault(table, {}) if table else values)[key] = value
    return Competition.model_validate(values)


def _train_rows(facts: Mapping[str, Any], raw: Path) -> pd.DataFrame | None:
    try:
        competition = _competition(facts)
        table = make_train_table(raw, competition)
    except (KitsolveError, ValueError):
        return None
    return table[["image_id", "path", *competition.train.targets]]


def _test_rows(facts: Mapping[str, Any], raw: Path) -> pd.DataFrame | None:
    try:
        return make_test_table(raw, _competition(facts))
    except (KitsolveError, ValueError):
        return None


def misses(verdicts: Iterable[Verdict], outcome: str) -> list[str]:
    """Those of an outcome, in words."""
    return [
        f"{one.fact}: {one.proposed!r}, not {one.wanted!r}"
        + ("" if outcome == "silent" else f" (choices: {', '.join(map(repr, one.choices))})")
        for one in verdicts
        if one.outcome == outcome
    ]
