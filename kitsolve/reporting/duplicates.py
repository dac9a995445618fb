"""Images that are nearly the same: in train and test, or in train under different labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kitsolve.data.duplicates import group_duplicates
from kitsolve.data.images import check_images
from kitsolve.pictures.show import read_train_set
from kitsolve.pictures.summary import TrainSet, row_labels
from kitsolve.provenance import is_made_from, stat_sha256, write_record
from kitsolve.reporting.html import Html, element, join, table
from kitsolve.reporting.page import Section
from kitsolve.reporting.thumbnails import draw_files
from kitsolve.workspace import Workspace, read_csv, write_csv

MOST_IMAGES = 20_000
"""More are not hashed for a report: it would take longer than reading it is worth."""
DISTANCE = 3
"""In how many of 64 bits the hashes of near-duplicates differ at most."""
MOST_PAIRS = 100_000
CARDS, ROWS = 8, 50

Pairs = NDArray[np.int64]
"""(pairs, 3): the first image, the second one, in how many bits their hashes differ; the nearest first."""


@dataclass(frozen=True)
class Images:
    """The images of train and test, each once, train first; `ids` and `rows` are those of the first row that has one.

    `rows`: of the train table, -1 for a test image.
    """

    train: TrainSet
    ids: list[str]
    paths: list[str]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """Pairs of near-duplicates; `hashes` None: there are too many images to look for them.

    `pairs`: how many there are in all. `leaks`: one in train, one in test. `conflicts`: both in train, with different
    labels. `split`: how many are in train, but not in the same fold.
    """

    images: Images
    hashes: NDArray[np.uint64] | None
    pairs: int
    leaks: Pairs
    conflicts: Pairs
    split: int


def find_duplicates(workspace: Workspace, slug: str) -> Duplicates:
    """The near-duplicates among all images of a competition.

    Raises:
        KitsolveError: an image cannot be read.
    """
    images = read_images(workspace, slug)
    hashes = read_hashes(workspace, images)
    pairs = np.empty((0, 3), dtype=np.int64) if hashes is None else find_pairs(hashes)
    first, second = images.rows[pairs[:, 0]], images.rows[pairs[:, 1]]
    inside = (first >= 0) & (second >= 0)
    values, folds = images.train.targets.values, images.train.table.fold.to_numpy()
    differ = inside & (values[first] != values[second]).reshape(len(pairs), int(values[:1].size)).any(axis=1)
    split = int((folds[first[inside]] != folds[second[inside]]).sum())
    return Duplicates(images, hashes, len(pairs), pairs[(first >= 0) & (second < 0)], pairs[differ], split)


def read_images(workspace: Workspace, slug: str) -> Images:
    """All images that the tables name."""
    train, test = read_train_set(workspace, slug), read_csv(workspace.tables(slug) / "test.csv")
    table = pd.concat(
        [
            train.table[["image_id", "path"]].assign(row=np.arange(len(train.table))),
            test[["image_id", "path"]].assign(row=-1),
        ]
    ).drop_duplicates("path")
    return Images(train, table.image_id.tolist(), table.path.tolist(), table.row.to_numpy(dtype=np.int64))


def read_hashes(workspace: Workspace, images: Images) -> NDArray[np.uint64] | None:
    """The perceptual hash of each image, computed once for all reports; None where there are too many for that."""
    slug, image = images.train.competition.slug, images.train.competition.image
    file = workspace.reports(slug) / "hashes.csv"
    made_from = {"the images": stat_sha256(workspace.raw(slug), images.paths)}
    if is_made_from(file, made_from):
        return np.array([int(text, 16) for text in read_csv(file).hash], dtype=np.uint64)
    if len(images.paths) > MOST_IMAGES:
        return None
    hashes = check_images(workspace.raw(slug), images.paths, slug=slug, image=image).signatures.hashes
    write_csv(file, pd.DataFrame({"path": images.paths, "hash": [f"{int(value):016x}" for value in hashes]}))
    write_record(file, made_from)
    return hashes


def find_pairs(hashes: NDArray[np.uint64]) -> Pairs:
    """All pairs that differ in at most DISTANCE bits; of more than MOST_PAIRS only so many.

    Images of one colour, whose hash is 0, are left out: they are alike whatever they show.
    """
    found, count = [np.empty((0, 3), dtype=np.int64)], 0
    for pairs in _iter_pairs(hashes, np.flatnonzero(hashes)):
        found.append(pairs)
        count += len(pairs)
        if count >= MOST_PAIRS:
            break
    joined = np.concatenate(found)[:MOST_PAIRS]
    return joined[np.lexsort((joined[:, 1], joined[:, 0], joined[:, 2]))]


def _iter_pairs(hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> Iterator[Pairs]:
    """The near ones among `rows`, for each of them those with later ones."""
    groups = pd.Series(rows).groupby(group_duplicates(hashes[rows], distance=DISTANCE))
    for members in (group.to_numpy() for _, group in groups if len(group) > 1):
        for place, one in enumerate(members[:-1]):
            others = members[place + 1 :]
            bits = count_bits(hashes[others] ^ hashes[one])
            near = bits <= DISTANCE
            yield np.column_stack([np.full(near.sum(), one), others[near], bits[near]])


def count_bits(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many bits of each number are set."""
    octets = np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), 8)
    return np.asarray(np.unpackbits(octets, axis=1).sum(axis=1), dtype=np.int64)


# ------------------------------------------------------------------------------------------------ the section


def show_duplicates(workspace: Workspace, found: Duplicates) -> Section:
    """Pairs across train and test as pictures, and pairs within train whose labels differ."""
    train, test = int((found.images.rows >= 0).sum()), int((found.images.rows < 0).sum())
    if found.hashes is None:
        body = element("p", f"Left out: {train + test:,} images are more than {MOST_IMAGES:,}.")
    else:
        body = join([_show_leaks(workspace, found), _show_conflicts(workspace, found), _show_counts(found)])
    return Section(
        "duplicates",
        "Near-duplicates",
        f"Pairs among {train:,} train and {test:,} test images whose perceptual hashes differ in at most {DISTANCE} of "
        "64 bits; small or plain images may look alike without being so.",
        'Train rows that are nearly the same belong in one fold: folds.duplicates = "group" keeps them there.',
        body,
    )


def _show_counts(found: Duplicates) -> Html:
    """What the pairs mean for the CV score, and whether they are all there are."""
    split = f"{found.split:,} pairs within train lie in different folds, which makes the CV score too good."
    cut = f"The search ended at {MOST_PAIRS:,} pairs; there are more."
    said = [split] * (found.split > 0) + [cut] * (found.pairs == MOST_PAIRS)
    return join(element("p", text, class_="note") for text in said)


def _show_leaks(workspace: Workspace, found: Duplicates) -> Html:
    heading = element("h3", f"In train and in test: {len(found.leaks):,} {_pairs(found.leaks)}")
    if not len(found.leaks):
        return heading
    cards = element("div", *_draw_cards(workspace, found.images, found.leaks[:CARDS]), class_="cards small")
    rest = found.leaks[CARDS : CARDS + ROWS].tolist()
    rows = [
        [found.images.ids[one], _label(found.images, one), found.images.ids[other], bits] for one, other, bits in rest
    ]
    more = table(["train image", "its label", "test image", "bits"], rows) if rows else None
    return join([heading, cards, more, _say_rest(len(found.leaks), CARDS + len(rows))])


def _show_conflicts(workspace: Workspace, found: Duplicates) -> Html:
    heading = element("h3", f"In train, with different labels: {len(found.conflicts):,} {_pairs(found.conflicts)}")
    images, shown = found.images, found.conflicts[:ROWS]
    pictures = _draw_images(workspace, images, shown[:, :2].ravel().tolist())
    rows = []
    for number, (one, other, bits) in enumerate(shown.tolist()):
        left = [pictures[2 * number], images.ids[one], _label(images, one)]
        rows.append([*left, pictures[2 * number + 1], images.ids[other], _label(images, other), bits])
    body = table(["", "image", "labelled", "", "image", "labelled", "bits"], rows) if rows else None
    return join([heading, body, _say_rest(len(found.conflicts), len(rows))])


def _pairs(pairs: Pairs) -> str:
    return "pair" if len(pairs) == 1 else "pairs"


def _say_rest(count: int, shown: int) -> Html | None:
    return element("p", f"and {count - shown:,} more", class_="note") if count > shown else None


def _label(images: Images, place: int) -> str:
    return ", ".join(row_labels(images.train, int(images.rows[place]), images.train.names))


def _draw_images(workspace: Workspace, images: Images, places: Sequence[int]) -> list[Html]:
    raw = workspace.raw(images.train.competition.slug)
    return draw_files([raw / images.paths[place] for place in places], images.train)


def _draw_cards(workspace: Workspace, images: Images, pairs: Pairs) -> list[Html]:
    pictures = _draw_images(workspace, images, pairs[:, :2].ravel().tolist())
    cards = []
    for number, (one, other, bits) in enumerate(pairs.tolist()):
        both = element("div", *pictures[2 * number : 2 * number + 2], class_="pair")
        says = f"train {images.ids[one]}, test {images.ids[other]}, {bits} bits"
        caption = element("figcaption", element("b", _label(images, one)), element("small", says))
        cards.append(element("figure", both, caption))
    return cards
