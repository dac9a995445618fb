"""The train rows and the test rows that the raw files hold, with their images."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kitsolve.proposing.columns import find_split
from kitsolve.proposing.folders import Classes, find_classes, read_classes
from kitsolve.proposing.layout import Layout
from kitsolve.proposing.proposal import Guess
from kitsolve.proposing.roles import (
    ALMOST_ALL,
    HALF,
    TrainTable,
    find_samples,
    find_test_tables,
    find_train_tables,
    find_unnamed_samples,
    guess_image,
    is_foreign,
    is_of_test,
    rank_templates,
)
from kitsolve.proposing.sources import Source
from kitsolve.proposing.templates import Template, fill_table, find_templates, look_up

SAMPLE = "sample_submission.csv"
NAMES_THE_LABEL = 3
STUB = 10
"""So few test rows may stand for others that only the rerun has."""


@dataclass(frozen=True)
class Sample:
    """The sample submission: the value of its fact, and its rows where there is one."""

    fact: Guess
    rows: pd.DataFrame | None
    paths: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The column of the ids."""
        return str(self.rows.columns[0]) if self.rows is not None else "id"

    @property
    def labels(self) -> list[str]:
        """The labels that it shows: its columns where it has one for each, else what stands in the second column."""
        if self.rows is None or self.rows.shape[1] < 2:
            return []
        wide = self.rows.shape[1] > 2
        return [str(name) for name in self.rows.columns[1:]] if wide else self.rows.iloc[:, 1].unique().tolist()


@dataclass(frozen=True)
class TrainRows:
    """The train rows: the value of their fact, their columns, the image template, the table or the glob they are from.

    `column` is that of the class where it is read off paths.
    """

    fact: Guess
    rows: pd.DataFrame
    image: Guess
    fields: Sequence[str]
    source: Source | None = None
    column: str | None = None


@dataclass(frozen=True)
class TestRows:
    """The test rows: their image template, and the table that adds columns by its column `id`, where there is one.

    `rows`: the sample's ids and these columns. `needs_source`: the template takes one of them.
    """

    image: Guess
    rows: pd.DataFrame | None
    source: Source | None = None
    id: str | None = None
    needs_source: bool = False


def find_sample(sources: Sequence[Source]) -> Sample:
    """The sample submission; unsure where several tables could be it."""
    named = find_samples(sources)
    found = named or find_unnamed_samples(sources)
    if not found:
        tables = tuple(source.path for source in sources if source.kind == "csv")
        return Sample(Guess(SAMPLE, "there is no sample submission", (SAMPLE, *tables)), None)
    best = found[0]
    rivals = tuple(source.path for source in found)
    rows = (
        f"{len(best.rows):,} rows: {', '.join(map(str, best.rows.columns[:3]))}{'…' if best.rows.shape[1] > 3 else ''}"
    )
    choices = rivals if len(rivals) > 1 else ()
    if not named:
        choices = (*rivals, SAMPLE)
        rows = f"by its content, not by its name; {rows}"
    return Sample(Guess(best.path, rows, choices), best.rows, tuple(source.path for source in found))


def find_train(layout: Layout, sources: Sequence[Source], sample: Sample, *, words: str) -> TrainRows:
    """The train rows: of a table that names images and labels, else read off the images' paths, else none.

    Args:
        words: the slug and the pages, which may name classes.
    """
    tables = _list_tables(layout, sources, sample)
    labelled = [table for table in tables if table.rating >= -1]
    best = labelled[0] if labelled else None
    if best is not None and best.rating >= NAMES_THE_LABEL:
        return _from_tables(labelled)
    column = sample.rows.columns[1] if sample.rows is not None and sample.rows.shape[1] == 2 else "label"
    column = column if re.fullmatch(r"[A-Za-z]\w*", column) and column != "path" else "label"
    taken = set(_test_images(layout, sample))
    found = find_classes(layout, taken=taken, wanted=sample.labels, column=column, words=words)
    known = bool(found) and found[0].known > HALF
    if found and best is not None and (is_of_test(best.source.path) or _is_split(best, found[0])):
        return _from_paths(found, layout, labelled)
    if best is not None and best.finds_images and not known:
        return _from_tables(labelled, beside=[] if best.rating > 0 else found)
    if found:
        return _from_paths(found, layout, labelled)
    return _from_tables(labelled or tables) if tables else _without_rows()


def _is_split(table: TrainTable, classes: Classes) -> bool:
    """Whether a table holds both splits, and the folders of the train images tell the classes too."""
    return find_split(table.source.rows) is not None and "train" in classes.glob.lower()


def _list_tables(layout: Layout, sources: Sequence[Source], sample: Sample) -> list[TrainTable]:
    """Tables that could hold the train rows, the most likely one first."""
    tests = [] if sample.rows is None else find_test_tables(_without(sources, sample.paths), sample.rows)
    named = [source for source, _ in tests if is_of_test(source.path)]
    own = set() if sample.rows is None else set(sample.rows.columns[1:])
    test_columns = {str(name) for source in named[:1] for name in source.rows} - own
    rest = _without(sources, [*sample.paths, *(source.path for source in named)])
    return find_train_tables(rest, layout, sample.rows, test_columns=test_columns)


def _without_rows() -> TrainRows:
    choices = ({"csv": "train.csv"}, {"glob": "train/*/*.jpg", "pattern": "^train/(?P<label>[^/]+)/"})
    fact = Guess(choices[0], "no table names images, and no folder is a class", choices)
    images = ("train/{id}.jpg", "{path}")
    return TrainRows(fact, pd.DataFrame(), Guess(images[0], "there are no rows", images), [])


def _without(sources: Sequence[Source], paths: Collection[str]) -> list[Source]:
    return [source for source in sources if source.path not in paths]


def _test_images(layout: Layout, sample: Sample) -> list[str]:
    """The images of the sample's ids, as far as these alone tell them."""
    if sample.rows is None:
        return [path for path in layout.images if is_of_test(path)]
    ids = sample.rows.iloc[:, [0]]
    ranked = rank_templates(find_templates(ids, layout), split="test")
    return fill_table(ranked[0].text, ids, layout) if ranked else []


def _from_tables(tables: Sequence[TrainTable], beside: Sequence[Classes] = ()) -> TrainRows:
    """The rows of the best table; `beside` are classes that paths show and the table does not have."""
    best = tables[0]
    rivals = [table for table in tables[1:] if table.fit == best.fit]
    choices: list[Any] = [best.source.fact, *(table.source.fact for table in rivals)]
    together = [table.source.path for table in (best, *rivals) if _adds_rows(best, table)]
    if len(together) > 1:
        choices.append({best.source.kind: together})
    choices += [classes.fact for classes in beside[:2]]
    reason = f"{len(best.source.rows):,} rows with images" + (" and labels" if best.rating >= 0 else "")
    return TrainRows(
        fact=Guess(best.source.fact, reason, tuple(choices) if len(choices) > 1 else ()),
        rows=best.source.rows,
        image=guess_image(best.templates, len(best.source.rows), split="train"),
        fields=best.templates[0].fields,
        source=best.source,
    )


def _adds_rows(best: TrainTable, other: TrainTable) -> bool:
    """Whether a table has the columns of the best one and other images; true of itself."""
    if best is other:
        return True
    alike = list(best.source.rows.columns) == list(other.source.rows.columns)
    field = best.templates[0].fields[0]
    return alike and not set(best.source.rows[field]) & set(other.source.rows[field])


def _from_paths(found: Sequence[Classes], layout: Layout, tables: Sequence[TrainTable]) -> TrainRows:
    best = found[0]
    rows = read_classes(best, layout)
    classes = ", ".join(list(best.counts)[:3]) + ("…" if len(best.counts) > 3 else "")
    where = "folder's name" if best.where == "folder" else "file's name"
    reason = f"the class is in the {where}, {len(best.counts):,} of them: {classes}"
    others: list[Any] = [table.source.fact for table in tables[:2]]
    if best.known <= HALF:  # nothing else speaks of these classes
        others += [classes.fact for classes in found[1:4]]
        others = others or [{"csv": "train.csv"}]
    image = Guess("{path}", f"the paths of {len(rows):,} files")
    fact = Guess(best.fact, reason, (best.fact, *others) if others else ())
    return TrainRows(fact, rows, image, ["path"], column=best.column)


def find_test(layout: Layout, sources: Sequence[Source], sample: Sample, train: TrainRows) -> TestRows:
    """The test rows: the sample's ids, and what a table of the test set adds to them."""
    like = "" if train.column else str(train.image.value)
    if sample.rows is None:
        return TestRows(_guess_unknown(layout, like, "there is no sample submission"), None)
    used = [*sample.paths, *([train.source.path] if train.source else [])]
    tables = find_test_tables(_without(sources, used), sample.rows)
    source, column = tables[0] if tables else (None, None)
    rows = sample.rows.iloc[:, [0]]
    if source is not None:
        rows = join_columns(rows, source.rows, str(column))
    ranked = rank_templates(find_templates(rows, layout, like=like), split="test", like=like)
    # A few ids that are found among the train images are no test set.
    ranked = [template for template in ranked if template.share >= HALF or not is_foreign(template.text, "test")]
    ranked = _prefer_mirror(ranked, like, rows, layout)
    if not ranked:
        reason = f"none of the sample's ids finds an image, first: {rows.iloc[0, 0]!r}"
        return TestRows(_guess_unknown(layout, like, reason), rows, source, column)
    needs = source is not None and set(ranked[0].fields) != {sample.id}
    image = guess_image(ranked, len(rows), split="test")
    if len(rows) <= STUB and ranked[0].text != _swap(like) and (doubt := _doubt(ranked[0], train, layout)):
        image = Guess(image.value, f"{image.reason}; {doubt}", image.choices or (image.value, _swap(like)))
    return TestRows(image, rows, source, column, needs)


def _prefer_mirror(ranked: list[Template], like: str, rows: pd.DataFrame, layout: Layout) -> list[Template]:
    """The train template with the other split's name goes first where it finds as many of the test images.

    Of a stub of the test set ids may find all images that are a file name's in the train rows.
    """
    text = _swap(like)
    if not ranked or text in (like, ranked[0].text) or not set(Template(text).fields) <= set(rows):
        return ranked
    mirror = look_up(text, rows, layout)
    others = [template for template in ranked if template.text != text]
    return [mirror, *others] if mirror.share >= ranked[0].share else ranked


def _doubt(template: Template, train: TrainRows, layout: Layout) -> str:
    """That the template of a stub fails on the train rows; nothing where it does not, or cannot be tried."""
    text = re.sub("test", lambda match: "Train" if match[0][0] == "T" else "train", template.text, flags=re.IGNORECASE)
    if train.rows.empty or not set(template.fields) <= set(train.rows):
        return ""
    found = look_up(text, train.rows, layout)
    if found.share >= ALMOST_ALL or found.share == 0:
        return ""
    return f"the like of it finds only {found.share:.0%} of the train images"


def _swap(like: str) -> str:
    """The train template with the other split's name."""
    return re.sub("train", lambda match: "Test" if match[0][0] == "T" else "test", like, flags=re.IGNORECASE)


def join_columns(ids: pd.DataFrame, table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The ids with the table's columns, as inference.join_rows joins them."""
    added = table.drop_duplicates(column).set_index(column).loc[ids.iloc[:, 0]].reset_index()
    added = added.drop(columns=ids.columns, errors="ignore")
    return pd.concat([ids.reset_index(drop=True), added], axis=1)


def _guess_unknown(layout: Layout, like: str, reason: str) -> Guess:
    """The train template with the other split's name, and what folders of a test set there are."""
    text = _swap(like)
    folders = {path.rpartition("/")[0] for path in layout.images if is_of_test(path)}
    texts = [f"{folder}/{{id}}.jpg" for folder in sorted(folders)[:3]]
    best = text or next(iter(texts), "test/{id}.jpg")
    return Guess(best, reason, tuple(dict.fromkeys([best, *texts, "test/{id}.jpg"])))
