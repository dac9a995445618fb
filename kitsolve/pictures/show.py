"""`kitsolve show`: pictures of the train set, of its classes and sizes, and of what augmentation makes of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kitsolve.config import read_fetched
from kitsolve.data.augment import AUGMENTATION_HINT, find_augmentation
from kitsolve.data.cache import ScaledImages, encode_paths
from kitsolve.data.dataset import Look, TrainImages
from kitsolve.data.fetch import read_train_table
from kitsolve.data.targets import Targets, encode_targets
from kitsolve.errors import translated
from kitsolve.inference.bundle import Preprocessing
from kitsolve.inference.images import read_image, resize_image
from kitsolve.pictures.charts import Bar, draw_bars, draw_histogram, draw_scatter
from kitsolve.pictures.drawing import Heading, draw_grid, readable, readable_names
from kitsolve.pictures.summary import (
    TrainSet,
    count_labels,
    describe,
    measure_images,
    percent,
    printable,
    row_labels,
    size_range,
)
from kitsolve.recipe import Recipe
from kitsolve.workspace import Workspace, write_whole

IMAGES, BARS, MEASURED, AUGMENTED, VARIANTS, EXPLAINED = 48, 40, 2000, 6, 7, 10


@dataclass(frozen=True)
class Shown:
    """The files by name (train, classes, sizes, augmented), and what they show in numbers and in words.

    `classes` is 0 for a regression. Sizes are (width, height) in px of the images of least, middle and greatest area.
    `lines` are for a terminal.
    """

    pictures: dict[str, Path]
    rows: int
    classes: int
    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    lines: list[str]


def show(workspace: Workspace, slug: str, *, recipe: Recipe, seed: int = 0) -> Shown:
    """Draw the pictures; the same tables, images, recipe and seed give the same bytes.

    Raises:
        KitsolveError: nothing is fetched yet, or an image is missing or damaged.
    """
    train = read_train_set(workspace, slug)
    with translated(f"run `kitsolve fetch {slug} --force`."):
        sizes = measure_images(_sample(train.paths, MEASURED, seed=seed), train.competition.image.channels)
        pictures = {
            "train": draw_train(train, seed=seed),
            "classes": draw_classes(train),
            "sizes": draw_sizes(train, sizes, image_size=recipe.size),
            "augmented": draw_augmented(workspace, train, recipe, seed=seed),
        }
    files = {name: workspace.pictures(slug) / f"{name}.png" for name in pictures}
    for name, picture in pictures.items():
        write_whole(files[name], partial(picture.save, format="PNG"))
    smallest, median, largest = size_range(sizes)
    classes = 0 if train.is_regression else len(train.targets.names)
    lines = [*describe(train, sizes), *explain_numbers(train)]
    return Shown(files, len(train.table), classes, smallest, median, largest, lines)


def read_train_set(workspace: Workspace, slug: str) -> TrainSet:
    """The train set of a competition that is fetched."""
    competition, table, raw = read_fetched(workspace, slug), read_train_table(workspace, slug), workspace.raw(slug)
    return TrainSet(competition, table, encode_targets(table, competition, raw), [raw / path for path in table.path])


def _sample(paths: list[Path], count: int, *, seed: int) -> list[Path]:
    if len(paths) <= count:
        return paths
    return [paths[row] for row in np.sort(np.random.default_rng(seed).choice(len(paths), count, replace=False))]


def choose_rows(targets: Targets, count: int, *, seed: int) -> list[int]:
    """Rows of as many labels as possible, as equally as possible, in the labels' order; of a regression by value."""
    generator = np.random.default_rng(seed)
    if targets.task == "regression":
        order = np.lexsort((generator.random(len(targets.values)), targets.values))
        ranks = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
        return [int(row) for row in order[ranks]]
    groups = [generator.permutation(rows).tolist() for rows in group_rows(targets)]
    if len(groups) > count:
        kept = np.sort(generator.choice(len(groups), count, replace=False))
        groups = [groups[number] for number in kept]
    return _deal(groups, count)


def group_rows(targets: Targets) -> list[NDArray[np.int64]]:
    """The rows of each label that has any, in the labels' order, at last those of none."""
    if targets.task == "multilabel":
        groups = [np.flatnonzero(column) for column in targets.values.T]
        return [rows for rows in (*groups, np.flatnonzero(~targets.values.any(axis=1))) if len(rows)]
    order = np.argsort(targets.values, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(targets.values[order])) + 1)


def _deal(groups: list[list[int]], count: int) -> list[int]:
    """Rows from all groups in turn until there are `count`, none of them twice; then group after group."""
    chosen: list[list[int]] = [[] for _ in groups]
    taken: set[int] = set()
    while len(taken) < count and any(groups):
        for group, own in zip(groups, chosen, strict=True):
            while group and group[-1] in taken:
                group.pop()
            if group and len(taken) < count:
                own.append(group.pop())
                taken.add(own[-1])
    return [row for own in chosen for row in own]


def explain_numbers(train: TrainSet) -> list[str]:
    """Which labels the pictures show with a number, as their font lacks some letters; nothing where there are none."""
    shown = readable_names(train.names)
    numbered = [
        f"#{number} {printable(name)}"
        for number, name in enumerate(train.names)
        if shown[number] != name and shown[number].startswith(f"#{number}")
    ]
    more = ", …" if len(numbered) > EXPLAINED else ""
    return [f"numbered in the pictures: {', '.join(numbered[:EXPLAINED])}{more}"] if numbered else []


def draw_train(train: TrainSet, *, seed: int) -> Image.Image:
    """Images of every class, with their labels."""
    rows = choose_rows(train.targets, IMAGES, seed=seed)
    read = partial(read_image, **train.competition.image.reading)
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(read, [train.paths[row] for row in rows]))
    names = readable_names(train.names)
    how = "in order of their values" if train.is_regression else f"{train.kind} as even as possible"
    heading = Heading(train.competition.title, f"{train.content}  ·  {len(rows)} train images, {how}")
    return draw_grid(images, [row_labels(train, row, names) for row in rows], heading)


def draw_classes(train: TrainSet) -> Image.Image:
    """How often each label or value occurs."""
    title = train.competition.title
    if train.is_regression:
        values, name = train.targets.values, readable(train.targets.names[0])
        spread = f"mean {values.mean():,.4g}  ·  standard deviation {values.std():,.4g}"
        return draw_histogram(values, Heading(title, f"{train.content}  ·  {spread}"), name=name)
    names, rows = readable_names(train.names), len(train.table)
    counts = count_labels(train.targets)
    bars = [
        Bar(names[label], count, f"{count:,}  ·  {percent(count / rows)}", quiet=label == len(names) - 1)
        for label, count in counts[:BARS]
    ]
    more = counts[BARS:]
    rest = f"and {len(more):,} more with {sum(count for _, count in more):,} rows" if more else ""
    note = "  ·  a row may have several" if train.targets.task == "multilabel" else ""
    return draw_bars(bars, Heading(title, f"{train.content}{note}"), rest=rest)


def draw_sizes(train: TrainSet, sizes: NDArray[np.int64], *, image_size: tuple[int, int]) -> Image.Image:
    """Width against height."""
    which = "all" if len(sizes) == len(train.paths) else "a sample of"
    kinds = len(np.unique(sizes, axis=0))
    different = f"{kinds:,} different sizes" if kinds > 1 else "one size"
    seen = f"the model sees {image_size[1]:,} x {image_size[0]:,} px"
    return draw_scatter(
        sizes, Heading(train.competition.title, f"{which} {len(sizes):,} train images  ·  {different}  ·  {seen}")
    )


def draw_augmented(workspace: Workspace, train: TrainSet, recipe: Recipe, *, seed: int) -> Image.Image:
    """A few images as the model sees them, each with what the recipe's augmentation makes of it."""
    rows = choose_rows(train.targets, AUGMENTED, seed=seed)
    reading = train.competition.image.reading
    channels = reading.pop("channels")
    # Mean and standard deviation are for the device, but for the bars of a letterbox.
    mean, std = (0.45,) * channels, (1.0,) * channels
    preprocessing = Preprocessing(recipe.size, mean, std, "bicubic", recipe.resize, **reading)
    paths = encode_paths([str(train.paths[row]) for row in rows])
    augmentation = find_augmentation(workspace, train.competition.slug, recipe.augment, channels)
    look = Look(augmentation, (recipe.size,), epochs=VARIANTS)
    images = TrainImages(ScaledImages(paths, preprocessing), np.zeros(len(rows)), look=look, seed=seed)
    pictures: list[NDArray[Any]] = []
    for number in range(len(rows)):
        with translated(AUGMENTATION_HINT):
            variants = [images[epoch, number][0].numpy() for epoch in range(VARIANTS)]
        pictures += [resize_image(images.images.read(number), preprocessing), *variants]
    names = readable_names(train.names)
    captions = [row_labels(train, row, names) if column == 0 else [] for row in rows for column in range(VARIANTS + 1)]
    heading = Heading(
        f'augment = "{recipe.augment}"  ·  image_size = {recipe.image_size}',
        f"{train.competition.title}  ·  at the left train images as the model sees them, then changed as for training",
    )
    return draw_grid(pictures, captions, heading, columns=VARIANTS + 1, heads=("original", "augmented"))
