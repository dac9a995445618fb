"""A proposed competition: its facts with the reason of each, and the competition.toml that says so."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WIDTH = 120
LEAST_COMMENT = 40
NBSP = "\xa0"


@dataclass(frozen=True)
class Guess:
    """A value, why it is thought to be right, and where that is not sure the values among which to choose.

    The choice None is to leave the fact out.
    """

    value: Any
    reason: str
    choices: tuple[Any, ...] = ()

    @property
    def is_sure(self) -> bool:
        """Whether nobody needs to look at it."""
        return not self.choices


@dataclass(frozen=True)
class Fact:
    """A key of competition.toml; `table` is the empty string for those at its top. See Guess for the rest."""

    table: str
    key: str
    value: Any
    reason: str
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """The facts in the order of the file; what was found, for people; what is wrong with it, empty once verified.

    `sample`: the text of a sample submission that was made, since the raw files have none; else empty.
    """

    slug: str
    facts: list[Fact]
    found: dict[str, str]
    problems: list[str]
    sample: str = ""

    @property
    def unsure(self) -> list[Fact]:
        """The facts that want a decision."""
        return [fact for fact in self.facts if fact.choices]


def write_toml(proposal: Proposal) -> str:
    """The competition.toml of the facts, each with its reason as a comment; what is unsure says so.

    It is read by kitsolve.config as long as the facts are of its kinds.
    """
    lines = [f"# https://www.kaggle.com/c/{proposal.slug}: proposed by `kitsolve new` from the raw files."]
    if proposal.unsure:
        verbs = "is unsure and wants" if len(proposal.unsure) == 1 else "are unsure and want"
        lines.append(f"# {len(proposal.unsure)} of these facts {verbs} a decision.")
    lines += [line for problem in proposal.problems for line in _comment(f"not verified: {problem}", indent=0)]
    width = max((len(fact.key) for fact in proposal.facts), default=0)
    for table in dict.fromkeys(fact.table for fact in proposal.facts):
        lines += ["", f"[{table}]"] if table else []
        written = [(fact, _assign(fact, width)) for fact in proposal.facts if fact.table == table]
        column = max((len(text) for _, text in written if len(text) <= WIDTH - LEAST_COMMENT - 2), default=0) + 2
        lines += [line for fact, text in written for line in _explain(fact, text, column)]
    return "\n".join(lines) + "\n"


def to_toml(value: Any, *, indent: int = 0) -> str:  # noqa: ANN401  (any value that TOML has)
    """A TOML value; a long list gets a line for each of its items."""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {to_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        items = [to_toml(item) for item in value]
        flat = f"[{', '.join(items)}]"
        if indent + len(flat) <= WIDTH - LEAST_COMMENT:
            return flat
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return json.dumps(value)


def _quote(text: str) -> str:
    """A regular expression reads better without its backslashes doubled."""
    if "\\" in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _assign(fact: Fact, width: int) -> str:
    start = f"{fact.key:{width}} = "
    return start + to_toml(fact.value, indent=len(start))


def _explain(fact: Fact, text: str, column: int) -> list[str]:
    """The lines of a fact with its reason beside it, from the column on, or below it where there is no room."""
    remarks = [fact.reason]
    if fact.choices:
        texts = [describe_choices((choice,)).replace(" ", NBSP) for choice in fact.choices]
        remarks.append(f"unsure: choose one of {', '.join(texts)}")
    *head, last = text.split("\n")
    beside = len(last) + 2 <= column
    comments = [line for remark in remarks for line in _comment(remark, indent=column if beside else 4)]
    if not beside or not comments:
        return [*head, last, *comments]
    return [*head, f"{last:{column}}{comments[0].strip()}", *comments[1:]]


def describe_choices(choices: tuple[Any, ...]) -> str:
    """The choices of an unsure fact in one line."""
    texts = ["(leave it out)" if choice is None else " ".join(to_toml(choice).split()) for choice in choices]
    return ", ".join(texts)


def _comment(text: str, *, indent: int) -> list[str]:
    """Comment lines of one text, which break at no NBSP; control characters, which TOML forbids, become spaces."""
    clean = "".join(letter if letter.isprintable() or letter == NBSP else " " for letter in text)
    lines = textwrap.wrap(clean, WIDTH - indent - 2, break_on_hyphens=False)
    return [" " * indent + f"# {line}".replace(NBSP, " ") for line in lines]
