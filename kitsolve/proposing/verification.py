"""Reading all rows with the proposed facts, before anybody relies on them."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from kitsolve.config import Competition, LabelList, check_facts
from kitsolve.data.features import fit_features
from kitsolve.data.groups import group_cells
from kitsolve.data.sample import describe_sample
from kitsolve.data.table import make_test_table, make_train_table
from kitsolve.data.targets import encode_targets
from kitsolve.errors import KitsolveError
from kitsolve.proposing.coverage import compare
from kitsolve.proposing.layout import Layout
from kitsolve.proposing.proposal import Fact, Proposal, write_toml

Result = TypeVar("Result")
MOST_SHOWN = 5


def verify(
    facts: Sequence[Fact], layout: Layout, scratch: Path, *, slug: str, sample: str = ""
) -> tuple[dict[str, str], list[str], dict[str, int]]:
    """What the facts find, for people; what they do not, with the first example of each; folders that they leave out.

    Args:
        scratch: where tables are unpacked that lie in archives.
        sample: the text of a sample submission that the raw files do not have.
    """
    text = write_toml(Proposal(slug, list(facts), {}, []))
    try:
        competition = check_facts({"slug": slug, **tomllib.loads(text)})
    except KitsolveError as error:
        return {}, [_say(error)], {}
    raw = layout.raw
    if competition.archives or sample:
        raw = _place_tables(competition, layout, scratch)
    if sample:
        (scratch / competition.submission.sample).write_text(sample, encoding="utf-8")
    found: dict[str, str] = {}
    problems: list[str] = []
    notices: list[str] = []
    targets = None
    train = _try(lambda: make_train_table(raw, competition, note=notices.append), problems)
    if train is not None:
        train["path"] = train.path.map(layout.tree.resolve)  # archives are still packed
        found |= _describe_train(train, competition, layout)
        targets = _try(lambda: encode_targets(train, competition, raw), problems)
        if targets is not None:
            found[_name_labels(competition)] = _describe_labels(train, competition)
        _try(lambda: fit_features(train, competition.train.features), problems)
    test = _try(lambda: make_test_table(raw, competition, note=notices.append), problems)
    if test is not None:
        test["path"] = test.path.map(layout.tree.resolve)
        found["test rows"] = _count_found(test.path, layout)
        notices += describe_sample(targets.names, raw, competition) if targets is not None else []
    train_paths, test_paths = (None if table is None else table.path.tolist() for table in (train, test))
    coverage = compare(train_paths, test_paths, layout)
    found |= {"note": " ".join(notices)} if notices else {}
    # The folder for a time says nothing to people.
    problems = [problem.replace(f"{raw}/", "") for problem in [*coverage.problems, *problems]]
    return found, problems, coverage.left_out


def _try(step: Callable[[], Result], problems: list[str]) -> Result | None:
    """The result of a step; None where it fails, which is then one more problem."""
    try:
        return step()
    except KitsolveError as error:
        problems.append(_say(error))
    except ValueError as error:  # a table that is not in the encoding of the others
        problems.append(f"{error}.")
    return None


def _say(error: KitsolveError) -> str:
    return f"{error.problem} {error.hint}"


def _count_found(paths: pd.Series, layout: Layout) -> str:
    """Rows and images: several rows may share an image."""
    return f"{len(paths):,}, with {sum(path in layout.files for path in set(paths)):,} images"


def _place_tables(competition: Competition, layout: Layout, scratch: Path) -> Path:
    """A folder where tables are as they will be once archives are unpacked; images, which nobody reads, are empty."""
    rows = competition.train.rows
    further = competition.test.rows.files if competition.test.rows else []
    for path in [*rows.files, *further, competition.submission.sample]:
        if path in layout.files and not (scratch / path).exists():
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(layout.place(path, scratch), scratch / path)
    if rows.glob:
        start = re.split(r"[*?\[]", rows.glob)[0]
        for path in layout.images:
            if path.startswith(start):
                (scratch / path).parent.mkdir(parents=True, exist_ok=True)
                (scratch / path).touch()
    return scratch


def _describe_train(train: pd.DataFrame, competition: Competition, layout: Layout) -> dict[str, str]:
    found = {"train rows": _count_found(train.path, layout)}
    groups = group_cells(train, competition.train)
    if groups is not None:
        what = "" if isinstance(competition.train.group, str) else "parts of "
        found["groups"] = f"{groups[groups != ''].nunique():,} different {what}{competition.train.group_column}"
    return found


def _name_labels(competition: Competition) -> str:
    return {"regression": "values", "multilabel": "labels"}.get(competition.task, "classes")


def _describe_labels(train: pd.DataFrame, competition: Competition) -> str:
    """How many labels there are, and the most frequent ones."""
    target, columns = competition.train.target, competition.train.targets
    if competition.task == "regression":
        values = pd.to_numeric(train[columns[0]])
        return f"from {values.min():g} to {values.max():g}, mean {values.mean():.4g}"
    if isinstance(target, LabelList):
        cells = train[target.column].str.split(target.separator)
        counts = Counter(word.strip() for cell in cells for word in cell if word.strip())
    elif len(columns) > 1:
        counts = Counter(train[columns].apply(pd.to_numeric).sum().astype(int).to_dict())
    else:
        counts = Counter(train[columns[0]])
    shares = [f"{name} ({count / len(train):.1%})" for name, count in counts.most_common(MOST_SHOWN)]
    return f"{len(counts):,}: {', '.join(shares)}{', …' if len(counts) > MOST_SHOWN else ''}"
