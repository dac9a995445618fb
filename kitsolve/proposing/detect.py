"""`kitsolve new`: raw files that nobody has described -> the facts of a competition, each with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.data.labels import is_number
from kitsolve.proposing.columns import (
    choose_features,
    choose_id,
    choose_target,
    find_split,
    naming_fields,
)
from kitsolve.proposing.coverage import say_repeated
from kitsolve.proposing.evidence import Evidence
from kitsolve.proposing.findings import Sample, TestRows, TrainRows, find_sample, find_test, find_train
from kitsolve.proposing.foreign import describe_cut
from kitsolve.proposing.forms import Form, Hints
from kitsolve.proposing.groups import choose_group, encode_guess
from kitsolve.proposing.labels import find_form
from kitsolve.proposing.layout import Layout, describe_images, read_layout, suffix_of
from kitsolve.proposing.lookalikes import (
    choose_duplicates,
    describe_odd_images,
    group_near_duplicates,
    inspect_images,
)
from kitsolve.proposing.made import NO_TEST, find_test_set, make_sample, write_sample
from kitsolve.proposing.proposal import Fact, Guess, Proposal
from kitsolve.proposing.refusal import refuse, refuse_packed_test
from kitsolve.proposing.regions import find_places
from kitsolve.proposing.roles import is_of_test
from kitsolve.proposing.scoring import choose_metric, choose_scheme, choose_way
from kitsolve.proposing.sources import Source, read_sources
from kitsolve.proposing.templates import fill_table
from kitsolve.proposing.verification import verify
from kitsolve.proposing.wording import name_metric

Entry = tuple[str, str, Guess]
MOST_CHANNELS = 16
COCO_LABEL = "category_id"


@dataclass(frozen=True)
class Findings:
    """All that was found, before it is written as facts."""

    sample: Sample
    train: TrainRows
    test: TestRows
    id: Guess
    form: Form
    group: Guess | None
    duplicates: Guess | None
    features: Guess | None
    odd_images: str
    made: pd.DataFrame | None = None
    """The sample submission that was made, where the raw files have none."""


def propose(raw: Path, slug: str, *, pages: Mapping[str, str] | None = None) -> Proposal:
    """The facts of a competition, as far as its files tell them, verified by reading all rows with them.

    Args:
        raw: the folder of the files; archives may still be packed.
        pages: Kaggle's own pages by name: they may tell the metric.

    Raises:
        KitsolveError: no such folder, or a layout that no facts can say; see refusal.
    """
    layout = read_layout(raw)
    with TemporaryDirectory(prefix="kitsolve-") as name:
        scratch = Path(name)
        sources, notes = read_sources(layout, scratch)
        words = " ".join([slug.replace("-", " "), *(pages or {}).values()])
        hints = Hints(metric=name_metric(pages or {}), words=words)
        findings = _find_all(layout, sources, hints, scratch, notes=notes)
        entries = _list_entries(findings, layout, scratch, title=_title(slug), pages=pages or {})
        facts = [Fact(table, key, guess.value, guess.reason, guess.choices) for table, key, guess in entries]
        made = "" if findings.made is None else write_sample(findings.made)
        found, problems, left_out = verify(facts, layout, scratch, slug=slug, sample=made)
        refuse_packed_test(layout, problems)
        problems = [*_say_tables(findings), *(said for said in problems if not _is_explained(said, findings))]
        facts, found = _say_left_out(facts, found, left_out, notes=layout.notes)
        found |= {"odd images": findings.odd_images} if findings.odd_images else {}
    if problems:
        problems += [*layout.notes, *notes]
    return Proposal(slug, facts, {"images": describe_images(layout), **found}, problems, made)


def _say_tables(findings: Findings) -> list[str]:
    """What the tables themselves need before facts can name them."""
    train, test, sample = findings.train, findings.test, findings.sample
    problems = [describe_cut(train.source)] if train.source and train.source.cut else []
    problems += [NO_TEST] if sample.rows is None else []
    if train.source is not None and (split := find_split(train.rows)):
        counts = ", ".join(f"{value} {count:,}" for value, count in train.rows[split].value_counts().items())
        problems.append(
            f"the column {split!r} of {train.source.path} tells splits apart ({counts}), and facts would take all "
            "of its rows as train rows: write the train rows into a table of their own, and let train.rows name that."
        )
    if test.source is not None and test.id is not None and sample.rows is not None:
        problems += say_repeated(test.source.rows, test.id, sample.rows.iloc[:, 0], test.source.path)
    return problems


def _is_explained(problem: str, findings: Findings) -> bool:
    """Whether the cut that paths need is the cause, or that there is no sample submission."""
    if findings.sample.rows is None and problem.startswith("the sample submission"):
        return True
    source = findings.train.source
    return source is not None and source.cut is not None and "train rows find no image" in problem


def _say_left_out(
    facts: list[Fact], found: dict[str, str], left_out: Mapping[str, int], *, notes: Sequence[str]
) -> tuple[list[Fact], dict[str, str]]:
    """The rows are unsure where images lie in folders that no row uses, unless these are of a test set.

    Args:
        notes: sentences about archives that cannot be looked into.
    """
    if not left_out:
        return facts, found | ({"left out": " ".join(notes)} if notes else {})
    places: Counter[str] = Counter()
    for folder, count in left_out.items():
        places["/".join(folder.split("/")[:2]) or "."] += count
    shown = ", ".join(f"{count:,} in {place}" for place, count in places.most_common(4))
    shown += ", …" if len(places) > 4 else ""
    others = sum(count for folder, count in left_out.items() if not is_of_test(folder))
    for place, fact in enumerate(facts):
        if others and (fact.table, fact.key) == ("train", "rows"):
            reason = f"{fact.reason}; {others:,} images are used by no row"
            choices = fact.choices or (fact.value, "further rows for them")
            facts[place] = replace(fact, reason=reason, choices=choices)
    return facts, found | {"left out": " ".join([f"images: {shown}.", *notes])}


def _find_all(
    layout: Layout, sources: Sequence[Source], hints: Hints, scratch: Path, *, notes: Sequence[str]
) -> Findings:
    sample = find_sample(sources)
    train = find_train(layout, sources, sample, words=hints.words)
    test = find_test(layout, sources, sample, train)
    known = [name for name in (*_coco_keys(train)[:1], test.id, sample.id) if name]
    row_id = choose_id(train.rows, fields=train.fields, known=known)
    places = find_places(list(map(str, train.rows)))
    taken = {row_id.value, *naming_fields(train.rows, train.fields), *_coco_keys(train), *places}
    target = Guess(None, "there are no rows") if train.rows.empty else _find_target(train, sample, test, taken)
    has_labels = target.value is not None
    refuse(Evidence(layout, sources, sample, train, has_labels, [*layout.notes, *notes]))
    hints = _add_names(hints, target, train, sources)
    form = find_form(train.rows, target, sample.rows, hints)
    form = _open_form(form) if train.column and train.fact.choices else form
    taken |= set(_columns_of(form.target.value))
    paths = fill_table(train.image.value, train.rows, layout)
    check = inspect_images(paths, layout, scratch)
    odd = describe_odd_images(check, len(set(paths)))
    near_duplicates = group_near_duplicates(paths, check)
    rows = train.rows.assign(path=paths)
    group = _find_group(layout, rows, test, form, near_duplicates, id_column=str(row_id.value), taken=taken)
    duplicates = choose_duplicates(near_duplicates, encode_guess(rows, group))
    taken |= {test.id, sample.id, *([group.value] if group is not None and isinstance(group.value, str) else [])}
    features = choose_features(train.rows, test.rows if test.source else None, taken)
    if sample.rows is None and (found := find_test_set(layout, sources, train, paths)):
        sample, test = make_sample(found, form, train)
        made = None if sample.paths else sample.rows
        return Findings(sample, train, test, row_id, form, group, duplicates, None, odd, made)
    return Findings(sample, train, test, row_id, form, group, duplicates, features, odd)


def _find_group(
    layout: Layout,
    rows: pd.DataFrame,
    test: TestRows,
    form: Form,
    near_duplicates: NDArray[np.int64],
    *,
    id_column: str,
    taken: Collection[str | None],
) -> Guess | None:
    """Which of the train rows, which have their images' paths, belong in one fold."""
    others = None
    if test.rows is not None:
        others = test.rows.assign(path=fill_table(test.image.value, test.rows, layout))
        others = others.rename(columns={str(test.rows.columns[0]): id_column} if id_column not in others else {})
    return choose_group(rows, others, form, id_column=id_column, taken=taken, near_duplicates=near_duplicates)


def _coco_keys(train: TrainRows) -> list[str]:
    """The columns of a coco file that name an image, the annotation's own one first."""
    if train.source is None or train.source.kind != "coco":
        return []
    image_key, annotation_key = train.source.on
    return [annotation_key, image_key, f"{image_key}_image"]


def _find_target(train: TrainRows, sample: Sample, test: TestRows, taken: set[str]) -> Guess:
    if train.column is not None:
        return Guess(train.column, "read off the path, as rows say" if not train.fact.choices else "as rows say")
    own = set() if sample.rows is None else set(sample.rows.columns[1:])
    if _coco_keys(train) and COCO_LABEL in train.rows and not own & set(train.rows):
        return Guess(COCO_LABEL, "the label of a coco file")
    added = set(test.rows) if test.rows is not None and test.source is not None else set()
    return choose_target(train.rows, sample.rows, taken | (added - own))


def _open_form(form: Form) -> Form:
    """The form of labels that may be others: of how many classes, nobody knows."""
    task, kind = form.task, form.kind
    tasks = tuple(dict.fromkeys([task.value, *task.choices, "multiclass", "binary"]))
    kinds = tuple(dict.fromkeys([kind.value, *kind.choices, "label", "probability", "class_probabilities"]))
    task, kind = Guess(task.value, task.reason, tasks), Guess(kind.value, kind.reason, kinds)
    return Form(form.target, task, kind, form.train, form.submission)


def _add_names(hints: Hints, target: Guess, train: TrainRows, sources: Sequence[Source]) -> Hints:
    numbered = train.source is not None and train.source.has_categories
    if not isinstance(target.value, str):
        return hints
    labels = set(train.rows[target.value].unique())
    own = train.source.path if train.source else ""
    names = find_names(labels, [source for source in sources if source.path != own])
    return replace(hints, names=names, numbered=numbered)


def find_names(labels: set[str], sources: Sequence[Source]) -> dict[str, str]:
    """The names that a table gives to numbered labels, or nothing."""
    if not labels or not all(map(is_number, labels)):
        return {}
    for source in sources:
        for key in source.rows if source.rows.shape[1] > 1 else ():
            values = source.rows[key]
            if not values.is_unique or not labels <= set(values):
                continue
            for name in source.rows:
                words = source.rows[name]
                if name != key and words.is_unique and not any(map(is_number, words)):
                    return dict(zip(values, words, strict=True))
    return {}


def _columns_of(target: object) -> list[str]:
    if isinstance(target, dict):
        return [target["column"]]
    return [target] if isinstance(target, str) else list(target) if isinstance(target, list) else []


def _list_entries(
    findings: Findings, layout: Layout, scratch: Path, *, title: str, pages: Mapping[str, str]
) -> Iterator[Entry]:
    """The facts in the order of the file."""
    form = findings.form
    yield "", "title", Guess(title, "from its address")
    yield "", "task", form.task
    yield "", "metric", choose_metric(form, pages)
    if archives := _find_archives(findings, layout):
        yield "", "archives", archives
    if channels := _count_channels(findings.train, layout, scratch):
        yield "image", "channels", channels
    yield from _list_train(findings)
    yield from _list_test(findings)
    yield "folds", "scheme", choose_scheme(form.task.value, findings.group)
    yield "folds", "count", Guess(5, "as usual")
    yield "folds", "seed", Guess(42, "as usual")
    if findings.duplicates is not None:
        yield "folds", "duplicates", findings.duplicates
    yield "submission", "kind", form.kind
    for key, guess in form.submission.items():
        yield "submission", key, guess
    rows = 0 if findings.sample.rows is None else len(findings.sample.rows)
    yield "submission", "via", choose_way(len(findings.train.rows), rows, pages)
    yield "submission", "sample", findings.sample.fact


def _list_train(findings: Findings) -> Iterator[Entry]:
    train, form = findings.train, findings.form
    yield "train", "rows", train.fact
    yield "train", "id", findings.id
    yield "train", "target", form.target
    for key, guess in form.train.items():
        yield "train", key, guess
    if findings.group is not None:
        yield "train", "group", findings.group
    yield "train", "image", train.image
    if findings.features is not None:
        yield "train", "features", findings.features


def _list_test(findings: Findings) -> Iterator[Entry]:
    test = findings.test
    if test.source is not None and (test.needs_source or findings.features is not None):
        reason = "its columns are in the image's path" if test.needs_source else "it has the features"
        yield "test", "rows", Guess(test.source.fact, f"a row for each id of the sample; {reason}")
        yield "test", "id", Guess(test.id, "the sample's ids stand there")
    yield "test", "image", test.image


def _find_archives(findings: Findings, layout: Layout) -> Guess | None:
    """The archives that hold anything which the facts need; unsure where these are not known themselves."""
    if not any(layout.files.values()):
        return None
    train, test = findings.train, findings.test
    paths = fill_table(train.image.value, train.rows, layout)
    test_paths = [] if test.rows is None else fill_table(test.image.value, test.rows, layout)
    sources = [source.path for source in (train.source, test.source) if source is not None]
    used = sorted(layout.archives_of([*paths, *test_paths, *sources, findings.sample.fact.value]))
    full = sorted(layout.archives_of([*layout.images, *sources, findings.sample.fact.value]))
    if full != used and not any(path in layout.files for path in test_paths):
        return Guess(used, "still packed; others may hold the test images", (used, full))
    return Guess(used, "still packed; what is in them is used") if used else None


def _count_channels(train: TrainRows, layout: Layout, scratch: Path) -> Guess | None:
    """Of arrays; other images have three, or are made so."""
    first = fill_table(train.image.value, train.rows.iloc[:20], layout)
    path = next((path for path in first if suffix_of(path) == ".npy" and path in layout.files), None)
    if path is None:
        return None
    try:
        shape = np.load(layout.place(path, scratch), mmap_mode="r", allow_pickle=False).shape
    except (ValueError, EOFError, OSError):
        return Guess(3, f"{path} cannot be read", (1, 3))
    reason = f"{path} has the shape {shape}"
    if len(shape) != 3:
        return Guess(1, reason)
    sides = sorted({shape[0], shape[-1]})
    unsure = len(sides) == 2 and sides[1] <= MOST_CHANNELS
    return Guess(int(sides[0]), reason, tuple(map(int, sides)) if unsure else ())


def _title(slug: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in re.split(r"[-_]+", slug) if word)
