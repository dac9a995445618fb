"""Which raw files are the sample submission, the train rows and the test rows, and where their images are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from kitsolve.proposing.columns import choose_target, naming_fields, rate_label
from kitsolve.proposing.foreign import cut_foreign_paths
from kitsolve.proposing.layout import Layout
from kitsolve.proposing.proposal import Guess
from kitsolve.proposing.regions import BOX_NAMES, find_places
from kitsolve.proposing.sources import Source
from kitsolve.proposing.templates import Template, find_templates

SAMPLE_NAMES = re.compile(r"sample.*(?:sub|sol)|sub.*(?:sample|format|example)|example.*sub|submission", re.IGNORECASE)
# Of copies of the same images one is the competition's own.
COPIES = re.compile(
    r"old|leak|backup|copy|thumb|small|tiny|resiz|crop|extern|extra|prev|dupl|aug|\d{2,4}x\d{2,4}", re.IGNORECASE
)
ALMOST_ALL = 0.98
HALF = 0.5


@dataclass(frozen=True)
class TrainTable:
    """A table that could hold the train rows, its image templates and how well it fits the sample submission."""

    source: Source
    templates: Sequence[Template]
    rating: int
    is_unique: bool

    @property
    def fit(self) -> tuple[bool, bool, bool, int]:
        """What counts most: it finds its images, a row an image, it has a label, the one that the sample has."""
        return self.finds_images, self.is_unique, self.rating >= 0, max(self.rating, 2)

    @property
    def finds_images(self) -> bool:
        """Whether nearly all rows find theirs."""
        return self.templates[0].share >= ALMOST_ALL

    @property
    def rank(self) -> tuple[object, ...]:
        """Greater is better."""
        name = self.source.path.lower()
        named = "train" in name, "test" not in name
        return *self.fit, *named, self.rating, -self.source.depth, len(self.source.rows), -len(name)


def find_samples(sources: Sequence[Source]) -> list[Source]:
    """Sample submissions by their name, the most likely one first."""
    named = [source for source in sources if source.kind == "csv" and SAMPLE_NAMES.search(source.name)]
    named = [source for source in named if source.rows.shape[1] > 1]
    return sorted(named, key=lambda source: (source.depth, "sample" not in source.name, len(source.path), source.path))


def find_unnamed_samples(sources: Sequence[Source]) -> list[Source]:
    """Tables that look like a sample submission: ids, and the same in all rows beside them."""
    return [
        source
        for source in sources
        if source.kind == "csv" and source.rows.shape[1] > 1 and source.rows.iloc[:, 0].is_unique
        if all(source.rows[name].nunique() == 1 for name in source.rows.columns[1:])
        if not any(BOX_NAMES.search(str(name)) for name in source.rows)
    ]


def find_id_column(source: Source, ids: Collection[str]) -> str | None:
    """The column in which all these ids stand."""
    first = next(iter(ids))
    for name in source.rows:
        values = source.rows[name]
        if (values == first).any() and set(ids) <= set(values):
            return str(name)
    return None


def find_test_tables(sources: Iterable[Source], sample: pd.DataFrame) -> list[tuple[Source, str]]:
    """Tables with a row for each id of the sample, and the column where it stands; named after the test first."""
    ids = set(sample.iloc[:, 0])
    found = [(source, find_id_column(source, ids)) for source in sources if source.kind in ("csv", "records")]
    named = [(source, column) for source, column in found if column is not None]

    def rank(pair: tuple[Source, str]) -> tuple[object, ...]:
        source, column = pair
        exact = source.rows[column].nunique() == len(ids)
        return not is_of_test(source.path), not exact, source.depth, source.path

    return sorted(named, key=rank)


def is_of_test(path: str) -> bool:
    """Whether a file is of the test set by its name."""
    return "test" in path.lower() and "train" not in path.lower()


def find_train_tables(
    sources: Iterable[Source], layout: Layout, sample: pd.DataFrame | None, *, test_columns: Collection[str]
) -> list[TrainTable]:
    """Tables whose rows find images and have what could be a label, the most likely one first.

    Args:
        test_columns: columns that the test rows have too: no label is among them.
    """
    found = []
    for source in sources:
        if source.kind == "mapping" or len(source.rows) < 2:
            continue
        templates = rank_templates(find_templates(source.rows, layout), split="train")
        if not templates and (cut := cut_foreign_paths(source, layout)):
            source = cut
            templates = rank_templates(find_templates(source.rows, layout), split="train")
        if not templates:
            continue
        fields = templates[0].fields
        places = find_places(list(map(str, source.rows)))
        taken = {*naming_fields(source.rows, fields), *test_columns, *places}
        target = choose_target(source.rows, sample, taken=taken)
        rating = _rate(source.rows, target, sample)
        unique = not source.rows.duplicated(fields).any()
        found.append(TrainTable(source, templates, rating, unique))
    return sorted(found, key=lambda table: table.rank, reverse=True)


def _rate(rows: pd.DataFrame, target: Guess, sample: pd.DataFrame | None) -> int:
    if target.value is None:
        return -2
    if isinstance(target.value, list):
        return 5 if sample is not None and set(target.value) <= set(sample.columns) else 1
    wide = sample is not None and sample.shape[1] > 2
    if wide and target.is_sure and sample is not None:
        return 4 if len(set(rows[target.value]) & set(sample.columns)) > 1 else 1
    return rate_label(target.value, rows[target.value], sample)


def rank_templates(templates: Sequence[Template], *, split: str, like: str = "") -> list[Template]:
    """The best template of a split first.

    Args:
        split: train or test: the word that folders of the other one have.
        like: the other split's template, which mostly is the same but for that word.
    """
    wanted = _without_split(like)
    most = max((template.images for template in templates), default=0)

    def rank(template: Template) -> tuple[object, ...]:
        text = template.text
        foreign = _foreignness(text, split)
        unlike = bool(like) and _without_split(text) != wanted
        # A label or a score may happen to number files.
        few = template.images < HALF * most
        usable = (template.share < ALMOST_ALL, few, template.has_masks, foreign > 1, not template.is_plain)
        # Where both folders have the ids, the other split's own one is not this one's.
        shared = bool(like) and _folder(text) == _folder(like)
        return (
            *usable,
            -template.share,
            foreign,
            shared,
            unlike,
            bool(COPIES.search(text)),
            text.count("{"),
            len(text),
            text,
        )

    return sorted(templates, key=rank)


def _foreignness(text: str, split: str) -> int:
    """0: the folder has the split's name, 1: neither has, 2: it has the other one's."""
    other = {"train": "test", "test": "train"}[split]
    return 0 if split in text.lower() else 2 if other in text.lower() else 1


def is_foreign(text: str, split: str) -> bool:
    """Whether a template leads to the other split's folder."""
    return _foreignness(text, split) > 1


def _folder(text: str) -> str:
    return re.split(r"\{", text)[0]


def _without_split(text: str) -> str:
    return re.sub(r"train|test", "*", text, flags=re.IGNORECASE)


def guess_image(ranked: Sequence[Template], rows: int, *, split: str) -> Guess:
    """The best template; unsure where another one finds other images just as well."""
    best, *others = ranked
    count = round(best.share * rows)
    reason = f"{count:,} of {rows:,} rows find an image, {best.images:,} different ones"
    alike = [template for template in others if template.share >= min(best.share, ALMOST_ALL)]
    # Ids that are numbers are found in both splits.
    alike = [
        template for template in alike if _foreignness(template.text, split) < 2 or _foreignness(best.text, split) > 1
    ]
    masks = [template for template in alike if template.has_masks > best.has_masks]
    other_formats = [template for template in alike if template.is_plain < best.is_plain]
    rivals = [template.text for template in alike if template not in masks and template not in other_formats]
    beside = [template.text for template in [*other_formats, *masks]]
    if beside:
        reason += f"; also there: {', '.join(beside)}"
    if best.share < HALF:
        rivals = rivals or [best.text.rpartition("/")[0] + "/…"]
    return Guess(best.text, reason, (best.text, *rivals) if rivals else ())
