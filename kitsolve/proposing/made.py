"""A sample submission for raw files that have none: its rows are read off a table of the test set, or its images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from kitsolve.inference.tables import table_bytes
from kitsolve.proposing.findings import SAMPLE, Sample, TestRows, TrainRows
from kitsolve.proposing.forms import Form
from kitsolve.proposing.layout import Layout
from kitsolve.proposing.proposal import Guess
from kitsolve.proposing.roles import ALMOST_ALL, guess_image, is_of_test, rank_templates
from kitsolve.proposing.sources import Source
from kitsolve.proposing.templates import find_templates

UNLABELLED = re.compile(r"pred|unlabel|unknown|alien|holdout|hidden", re.IGNORECASE)
NO_TEST = (
    "there is no sample submission and no folder or table of a test set to make one of: put test images into a folder "
    "test and run it again, or write a sample_submission.csv with a line for each id."
)


@dataclass(frozen=True)
class TestSet:
    """Images that may be the test set: the column of ids, the ids, the template that finds their images; from where.

    `table`: its rows, where they are ids and one more column, as those of a sample submission.
    """

    column: str
    ids: Sequence[str]
    image: Guess
    origin: str
    table: pd.DataFrame | None = None


def find_test_set(
    layout: Layout, sources: Sequence[Source], train: TrainRows, taken: Collection[str]
) -> TestSet | None:
    """The test set of files without a sample submission; `taken` are the paths of the train images."""
    for source in sorted(sources, key=lambda one: (one.depth, one.path)):
        used = train.source is not None and source.path == train.source.path
        if used or source.kind != "csv" or not is_of_test(source.path):
            continue
        for name in source.rows:
            ids = source.rows[[name]]
            ranked = rank_templates(find_templates(ids, layout), split="test") if ids[name].is_unique else []
            if ranked and ranked[0].share >= ALMOST_ALL:
                image = guess_image(ranked, len(ids), split="test")
                table = source.rows if source.rows.shape[1] == 2 and source.rows.columns[0] == name else None
                return TestSet(str(name), ids[name].tolist(), image, source.path, table)
    return _find_test_folder(layout, set(taken))


def _find_test_folder(layout: Layout, taken: set[str]) -> TestSet | None:
    """The folder of test images, one without folders of classes in it first; the others are offered."""
    folders: dict[str, list[str]] = defaultdict(list)
    for path in layout.images:
        if path not in taken and (base := _find_base(path)):
            folders[base].append(path)
    if not folders:
        return None

    def rank(base: str) -> tuple[object, ...]:
        nested = any("/" in path[len(base) + 1 :] for path in folders[base])
        return nested, not UNLABELLED.search(base), base

    best, *others = sorted(folders, key=rank)
    texts = [f"{_escape(base)}/{{id}}{_shared_suffix(folders[base])}" for base in (best, *others)]
    end = _shared_suffix(folders[best])
    ids = [path[len(best) + 1 :].removesuffix(end) for path in folders[best]]
    image = Guess(texts[0], f"the {len(ids):,} images of {best}", tuple(texts) if others else ())
    return TestSet("id", ids, image, best)


def _find_base(path: str) -> str:
    """The last folder whose name is that of a test set, with plain folders below it, as test/images."""
    parts = path.split("/")[:-1]
    named = [place for place, part in enumerate(parts) if is_of_test(part) or UNLABELLED.search(part)]
    if not named or any("train" in part.lower() for part in parts):
        return ""
    end = named[-1] + 1
    while end < len(parts) and re.fullmatch(r"images?|imgs?|photos?", parts[end], re.IGNORECASE):
        end += 1
    return "/".join(parts[:end])


def _shared_suffix(paths: Sequence[str]) -> str:
    """The suffix that all files have, as it is written; nothing where they differ."""
    ends = {path[path.rindex(".") :] for path in paths}
    return ends.pop() if len(ends) == 1 else ""


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def make_sample(found: TestSet, form: Form, train: TrainRows) -> tuple[Sample, TestRows]:
    """The sample submission and the test rows that the test set gives: a line for each id, in each the same answer.

    A table of ids and one more column is the sample submission itself.
    """
    if found.table is not None:
        fact = Guess(
            found.origin, "there is none by its name; it has the ids and one more column", (found.origin, SAMPLE)
        )
        return Sample(fact, found.table, (found.origin,)), TestRows(found.image, found.table.iloc[:, [0]])
    target = form.target.value
    column = target["column"] if isinstance(target, dict) else target if isinstance(target, str) else "label"
    rows = pd.DataFrame({found.column: list(found.ids)})
    rows[column if column != found.column else "label"] = _find_cell(form, train)
    reason = f"there is none: made of the {len(rows):,} images of {found.origin}, beside this file"
    made = Sample(Guess(SAMPLE, reason, (SAMPLE, "a file of your own")), rows)
    return made, TestRows(found.image, rows.iloc[:, [0]])


def _find_cell(form: Form, train: TrainRows) -> str:
    """An answer that is valid: the most frequent label, or the middle of two."""
    if form.kind.value in ("probability", "class_probabilities"):
        return "0.5"
    target = form.target.value
    if isinstance(target, list):
        return str(target[0])
    cells = train.rows[target["column"] if isinstance(target, dict) else target]
    return str(cells.mode()[0])


def write_sample(rows: pd.DataFrame) -> str:
    """The sample submission as CSV."""
    return table_bytes(rows).decode()
