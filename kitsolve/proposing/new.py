"""`kitsolve new`: the folder of a competition, from the catalogue or proposed from its raw files."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from kitsolve.data.fetch import fetch_raw
from kitsolve.errors import KitsolveError
from kitsolve.proposing.detect import propose
from kitsolve.proposing.findings import SAMPLE
from kitsolve.proposing.proposal import Proposal, describe_choices, write_toml
from kitsolve.workspace import Workspace, catalogue, write_text


@dataclass(frozen=True)
class NewCompetition:
    """The folder with its competition.toml; `proposal` is None where that came from the catalogue."""

    folder: Path
    proposal: Proposal | None


def new_competition(
    workspace: Workspace,
    slug: str,
    *,
    source: Path | None = None,
    known: Known | None = None,
    force: bool = False,
) -> NewCompetition:
    """Make competitions/SLUG below the root: a copy of the catalogue's, else proposed from the raw files.

    Args:
        source: the folder or the archive of the raw files; by default where `kitsolve fetch` puts them, which
            downloads them where they are not there.
        known: what Kaggle says of the competition.
        force: write over a competition.toml that is there; other files are kept.

    Raises:
        KitsolveError: it is there already, or there are no files to look at and none to be had.
    """
    if not re.fullmatch(r"\w[\w.-]*", slug):
        raise KitsolveError(f"{slug!r} is no competition's name.", hint="take the last part of its Kaggle address.")
    folder = workspace.root / "competitions" / slug
    there = folder.exists()
    if there and not force:
        raise KitsolveError(f"{folder} is there already.", hint="edit it, or say --force to write its facts anew.")
    shipped = catalogue() / slug
    if in_catalogue(slug) and not (there and workspace.raw(slug).is_dir()):
        return _copy(shipped, folder)
    # A folder is looked at where it is; an archive, and what Kaggle has, is unpacked to where `fetch` finds it.
    raw = source if source is not None and source.is_dir() else fetch_raw(workspace, slug, source=source)
    known = known or Known()
    proposal = settle_way(propose(raw, slug, pages=known.pages), known)
    write_text(folder / "competition.toml", write_toml(proposal))
    if proposal.sample:
        write_text(folder / SAMPLE, proposal.sample)
    if not (folder / "README.md").exists():
        write_text(folder / "README.md", _write_readme(proposal))
    return NewCompetition(folder, proposal)


def in_catalogue(slug: str) -> bool:
    """Whether kitsolve ships the competition."""
    return (catalogue() / slug / "competition.toml").is_file()


@dataclass(frozen=True)
class Known:
    """What Kaggle says of a competition: its pages by name, which may name the metric, and whether it takes files."""

    pages: Mapping[str, str] = field(default_factory=dict)
    notebooks_only: bool | None = None


def ask_kaggle(slug: str) -> Known:
    """What Kaggle says; nothing where it cannot be asked."""
    from kitsolve.kaggle import connect

    try:
        kaggle = connect()
        return Known(kaggle.pages(slug), kaggle.terms(slug).notebooks_only)
    except KitsolveError as error:
        tqdm.write(f"without Kaggle's word, so that the metric is a guess: {error.problem}", file=sys.stderr)
        return Known()


def settle_way(proposal: Proposal, known: Known) -> Proposal:
    """The proposal with the way of submission that Kaggle names."""
    if known.notebooks_only is None:
        return proposal
    way = "notebook" if known.notebooks_only else "csv"
    facts = [
        replace(fact, value=way, reason="Kaggle says so", choices=()) if fact.key == "via" else fact
        for fact in proposal.facts
    ]
    return replace(proposal, facts=facts)


def _copy(shipped: Path, folder: Path) -> NewCompetition:
    """Copy the catalogue's folder, competition.toml last: it is what makes a folder a competition."""
    if shipped.resolve() == folder.resolve():
        raise KitsolveError(f"{folder} is the catalogue's own.", hint="edit it, or work in another folder with --root.")
    facts = "competition.toml"
    shutil.copytree(shipped, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", facts))
    write_text(folder / facts, (shipped / facts).read_text(encoding="utf-8"))
    return NewCompetition(folder, None)


def _write_readme(proposal: Proposal) -> str:
    """The link, what was found, what wants a decision, and the table of runs to fill."""
    title = next(fact.value for fact in proposal.facts if fact.key == "title")
    lines = [f"# {title}", "", f"<https://www.kaggle.com/c/{proposal.slug}>", ""]
    lines += [f"- {name}: {found}" for name, found in proposal.found.items()]
    if proposal.unsure:
        lines += ["", "To decide in competition.toml, then to delete here:", ""]
        lines += [f"- `{_name(fact.table, fact.key)}`: {describe_choices(fact.choices)}" for fact in proposal.unsure]
    if proposal.problems:
        lines += ["", "Not verified:", "", *(f"- {problem}" for problem in proposal.problems)]
    return "\n".join([*lines, "", "| run | CV | public score |", "|---|---|---|", ""])


def _name(table: str, key: str) -> str:
    return f"{table}.{key}" if table else key
