"""Layouts made to mislead: what looks like one thing and is another, or cannot be known, or cannot be said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from layouts import (
    ANIMALS,
    NAMES,
    PROBABILITY,
    WHOLE,
    Labels,
    Layout,
    draw,
    hexes,
    numbers,
    one_hot,
    single,
    table_layout,
    touch,
    write_table,
)
from layouts_seen import facts

TAXA = (
    "quercus alba",
    "quercus alba var latiloba",
    "quercus rubra",
    "acer alba",
    "acer rubra var alba",
    "acer alba minor",
)
COLOURS = ("light blue", "dark blue", "light green", "dark green", "blue", "green")
BLIGHTS = ("healthy", "leaf blight", "leaf rust", "stem rust", "stem blight late", "rust")


def shown_as(labels: Labels, **columns: object) -> Labels:
    """The same labels with another sample."""
    return replace(labels, sample=lambda count: {name: [value] * count for name, value in columns.items()})


def dependent(labels: Labels, *undecidable: str, **truth: object) -> Labels:
    return replace(labels, undecidable=frozenset(undecidable), truth={**labels.truth, **facts(**truth)})


def boxes(raw: Path) -> None:
    names = hexes(60, 0)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in hexes(12, 1)])
    sides = {side: np.random.default_rng(row).integers(0, 300, 60).tolist() for row, side in enumerate("xywh")}
    write_table(raw / "train.csv", {"id": names, **sides})
    write_table(raw / "sample_submission.csv", {"id": hexes(12, 1), **{side: [0] * 12 for side in "xywh"}})


def soft_labels(raw: Path) -> None:
    names = hexes(60, 0)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in hexes(12, 1)])
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], 60).round(4)
    columns = {f"Class{number}.{number}": shares[:, number].tolist() for number in range(3)}
    write_table(raw / "training_solutions.csv", {"GalaxyID": names, **columns})
    write_table(raw / "all_zeros_benchmark.csv", {"GalaxyID": hexes(12, 1), **dict.fromkeys(columns, [0.0] * 12)})


def shards(raw: Path) -> None:
    """Folders by the first character, and no label anywhere."""
    touch(raw, [f"train/{name[0]}/{name}.png" for name in hexes(200, 0)])
    touch(raw, [f"test/{name[0]}/{name}.png" for name in hexes(40, 1)])
    write_table(raw / "sample_submission.csv", {"id": hexes(40, 1), "label": [0] * 40})


def two_tables_to_join(raw: Path) -> None:
    """One table names the images, the other one has the labels."""
    names, keys = hexes(60, 0), [f"k{row}" for row in range(60)]
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in hexes(12, 1)])
    write_table(raw / "train_files.csv", {"key": keys, "file": names})
    write_table(raw / "train_labels.csv", {"key": keys, "species": draw(ANIMALS, 60)})
    write_table(raw / "sample_submission.csv", {"file": hexes(12, 1), "species": ["bee"] * 12})


def rows_with_keys(raw: Path) -> None:
    names, test = hexes(60, 0), hexes(12, 1)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in test])
    write_table(raw / "train.csv", {"row_id": range(60), "image": names, "species": draw(ANIMALS, 60)})
    write_table(raw / "test.csv", {"row_id": range(60, 72), "image": test})
    write_table(raw / "sample_submission.csv", {"row_id": range(60, 72), "species": ["bee"] * 12})


def both_splits_in_a_table(raw: Path) -> None:
    """The rows of the test set have no label."""
    names, test = hexes(60, 0), hexes(12, 1)
    touch(raw, [f"images/{name}.jpg" for name in [*names, *test]])
    columns = {
        "id": [*names, *test],
        "split": ["train"] * 60 + ["test"] * 12,
        "species": [*draw(ANIMALS, 60), *[None] * 12],
    }
    write_table(raw / "data.csv", columns)
    write_table(raw / "sample_submission.csv", {"id": test, "species": ["bee"] * 12})


def photographers(raw: Path) -> None:
    """The table beside folders of classes tells something else."""
    labels, names = draw(["rose", "tulip", "aster"], 90), hexes(90, 0)
    touch(raw, [f"train/{label}/{name}.jpg" for label, name in zip(labels, names, strict=True)])
    touch(raw, [f"test/{name}.jpg" for name in hexes(12, 1)])
    write_table(raw / "credits.csv", {"file": names, "photographer": draw(["Ann", "Bob", "Cid", "Dee"], 90)})
    write_table(raw / "sample_submission.csv", {"id": hexes(12, 1), "flower": ["rose"] * 12})


def photographers_without_a_hint(raw: Path) -> None:
    """As before, and the sample shows no class."""
    photographers(raw)
    write_table(raw / "sample_submission.csv", {"id": hexes(12, 1), "flower": [0] * 12})


def numbered_folders(raw: Path) -> None:
    touch(raw, [f"train/{label}/{name}.png" for label, name in zip(draw(range(10), 100), hexes(100, 0), strict=True)])
    touch(raw, [f"test/{name}.png" for name in hexes(12, 1)])
    write_table(raw / "sample_submission.csv", {"id": hexes(12, 1), "label": [0] * 12})


def pixels_in_a_table(raw: Path) -> None:
    pixels = {f"pixel{number}": [0] * 50 for number in range(9)}
    write_table(raw / "train.csv", {"label": draw(range(10), 50), **pixels})
    write_table(raw / "test.csv", {name: cells[:9] for name, cells in pixels.items()})
    write_table(raw / "sample_submission.csv", {"ImageId": range(1, 10), "Label": [0] * 9})


def folders_by_number(raw: Path) -> None:
    """Images lie in folders that no column tells."""
    names = hexes(90, 0)
    touch(raw, [f"images_{row // 30:03d}/{name}.png" for row, name in enumerate(names)])
    touch(raw, [f"test/{name}.png" for name in hexes(12, 1)])
    write_table(raw / "train.csv", {"id": names, "species": draw(ANIMALS, 90)})
    write_table(raw / "sample_submission.csv", {"id": hexes(12, 1), "species": ["bee"] * 12})


def unsayable_column(raw: Path) -> None:
    names = hexes(60, 0)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in hexes(12, 1)])
    write_table(raw / "train.csv", {"img.name": names, "species": draw(ANIMALS, 60)})
    write_table(raw / "sample_submission.csv", {"img.name": hexes(12, 1), "species": ["bee"] * 12})


def nothing(raw: Path) -> None:
    (raw / "readme.txt").write_text("hello")


def long_sample(raw: Path) -> None:
    """A row for each image and label: the ids are no images."""
    names, kinds = hexes(60, 0), ("any", "epidural", "subdural")
    touch(raw, [f"train/{name}.png" for name in names] + [f"test/{name}.png" for name in hexes(12, 1)])
    ids = [f"{name}_{kind}" for name in names for kind in kinds]
    write_table(raw / "train.csv", {"ID": ids, "Label": draw((0, 1), 180)})
    write_table(
        raw / "sample_submission.csv",
        {"ID": [f"{name}_{kind}" for name in hexes(12, 1) for kind in kinds], "Label": [0.5] * 36},
    )


def lost_images(raw: Path, train_ids: list[str], test_ids: list[str]) -> None:
    for name in train_ids[:3]:
        (raw / f"train/{name}.jpg").unlink()


def write_all_images(raw: Path, train_ids: list[str], test_ids: list[str]) -> None:
    names = [*train_ids, *test_ids]
    write_table(raw / "all_images.csv", {"id": names, "width": [100 + row % 5 for row in range(len(names))]})


def write_stages(raw: Path, train_ids: list[str], test_ids: list[str]) -> None:
    write_table(raw / "stage2_sample_submission.csv", {"id": test_ids, "species": ["bee"] * len(test_ids)})


SCORE = single(range(6), column="label", shown="0.0", task="multiclass", kind="label")
AGE = single(range(1, 81), column="label", shown=0, task="regression", kind="value")
HALVES = single([0, 0.5, 1, 1.5, 2, 2.5], column="stars", shown=1, task="ordinal", kind="value")
SHARE = single(
    np.random.default_rng(0).uniform(0, 1, 30).round(3).tolist(),
    column="cover",
    shown=0.5,
    task="regression",
    kind="value",
)
SIGNS = single((-1, 1), column="sign", shown=1, task="binary", kind="label")
YES = single(("no", "yes"), column="cancer", shown=0, task="binary", kind="probability", train__positive="yes")
PERSON = single(
    [f"p{number}" for number in range(12)], column="patient_id", shown="p3", task="multiclass", kind="label"
)
ORDER = single(("low", "medium", "high"), column="risk", shown="low", task="ordinal", kind="label")
GAPS = single(range(0, 200, 8), column="label", shown=0, task="multiclass", kind="label")

TRAPS = [
    table_layout(
        "trap: names of several words",
        single(TAXA, column="species", shown="quercus alba", task="multiclass", kind="label"),
    ),
    table_layout(
        "trap: colours",
        dependent(single(COLOURS, column="colour", shown="blue", task="multiclass", kind="label"), "train.target"),
    ),
    table_layout(
        "trap: diseases",
        dependent(single(BLIGHTS, column="disease", shown="rust", task="multiclass", kind="label"), "train.target"),
    ),
    table_layout(
        "trap: diseases, numbers in the sample",
        dependent(single(BLIGHTS, column="labels", shown=0, task="multiclass", kind="label"), "train.target"),
    ),
    table_layout("trap: ages as labels", dependent(AGE, "task", "submission.kind"), train=240),
    table_layout("trap: classes with gaps", dependent(GAPS, "task"), train=100),
    table_layout("trap: classes shown as 0.0", dependent(SCORE, "task")),
    table_layout("trap: halves", dependent(HALVES, "task")),
    table_layout("trap: shares", SHARE),
    table_layout(
        "trap: 0.0 for labels", dependent(shown_as(WHOLE, target="0.0"), "submission.kind", submission__kind="label")
    ),
    table_layout("trap: signs", dependent(SIGNS, "submission.kind")),
    table_layout("trap: yes and no", dependent(YES, "submission.kind", "train.positive")),
    table_layout("trap: persons as labels", PERSON),
    table_layout("trap: words in an order", dependent(ORDER, "task")),
    table_layout("trap: Label and label", shown_as(NAMES, Species="bee")),
    table_layout("trap: a table of all images", more=write_all_images),
    table_layout(
        "trap: a test table with a dummy label",
        more=lambda raw, ids, tests: write_table(raw / "test.csv", {"id": tests, "species": [-1] * len(tests)}),
    ),
    table_layout(
        "trap: an older table",
        more=lambda raw, ids, tests: write_table(
            raw / "train_old.csv", {"id": ids, "species": draw(ANIMALS, len(ids), seed=2)}
        ),
        undecidable=["train.rows"],
    ),
    table_layout(
        "trap: external images with a table",
        more=lambda raw, ids, tests: (
            touch(raw, [f"external/{name}.jpg" for name in hexes(90, 5)]),
            write_table(raw / "external.csv", {"id": hexes(90, 5), "species": draw(ANIMALS, 90, seed=2)}),
        ),
        undecidable=["train.rows"],
    ),
    table_layout(
        "trap: two stages", more=write_stages, sample="stage1_sample_submission.csv", undecidable=["submission.sample"]
    ),
    replace(table_layout("trap: three images are missing", more=lost_images), fails=True),
    table_layout(
        "trap: multi-hot columns, names in the sample",
        replace(
            one_hot(ANIMALS, several=True),
            sample=lambda count: {"animals": ["ant bee"] * count},
            truth={"train.target": list(ANIMALS), "task": "multilabel", "submission.kind": "label_list"},
        ),
    ),
    table_layout(
        "trap: one-hot columns, a name in the sample",
        replace(
            one_hot(ANIMALS),
            sample=lambda count: {"animal": ["bee"] * count},
            truth={"train.target": list(ANIMALS), "task": "multiclass", "submission.kind": "label"},
        ),
    ),
    table_layout(
        "trap: labels in a cell, a column for each in the sample",
        Labels(
            lambda count: {"labels": draw(["ant", "ant bee", "bee camel", "camel", "ant camel bee"], count)},
            lambda count: {name: [0.5] * count for name in ("ant", "bee", "camel")},
            facts(
                train__target={"column": "labels", "separator": " "},
                task="multilabel",
                submission__kind="class_probabilities",
            ),
        ),
    ),
    table_layout(
        "trap: further flags beside the label",
        replace(
            NAMES,
            train=lambda count: {
                "blurred": draw((0, 1), count),
                "night": draw((0, 1), count, seed=1),
                "species": draw(ANIMALS, count),
            },
        ),
    ),
    table_layout(
        "trap: a label and its name",
        replace(
            NAMES,
            train=lambda count: {"species_id": draw(range(6), count), "species_name": draw(ANIMALS, count)},
            sample=lambda count: {"prediction": [0] * count},
            truth={"train.target": "species_id", "task": "multiclass", "submission.kind": "label"},
            undecidable=frozenset({"train.target"}),
        ),
    ),
    table_layout("trap: short ids", PROBABILITY, ids=numbers, train=30, test=9, files=("train/{}.png", "test/{}.png")),
    table_layout(
        "trap: a number in the folder",
        PROBABILITY,
        ids=numbers,
        train=30,
        test=9,
        files=("train_2020/{}.png", "test_2020/{}.png"),
    ),
    table_layout(
        "trap: train and test in words that mislead", files=("trainset/latest/{}.png", "testset/latest/{}.png")
    ),
    Layout(
        "trap: boxes",
        boxes,
        {},
        refused="this is detection",
    ),
    Layout(
        "trap: soft labels",
        soft_labels,
        facts(train__rows={"csv": "training_solutions.csv"}, train__id="GalaxyID"),
        frozenset({"task", "submission.kind", "submission.sample"}),
        fails=True,
    ),
    Layout("trap: folders by the first character", shards, {}, frozenset({"train.rows", "task"})),
    Layout("trap: two tables to join", two_tables_to_join, {}, refused="but train_labels.csv has"),
    Layout(
        "trap: rows with keys",
        rows_with_keys,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="row_id",
            train__target="species",
            task="multiclass",
            train__image="train/{image}.jpg",
            test__image="test/{image}.jpg",
            test__rows={"csv": "test.csv"},
            test__id="row_id",
            submission__kind="label",
        ),
    ),
    Layout(
        "trap: both splits in a table",
        both_splits_in_a_table,
        facts(train__rows={"csv": "data.csv"}, train__target="species"),
        fails=True,
    ),
    Layout(
        "trap: a table of photographers",
        photographers,
        facts(
            train__rows={"glob": "train/*/*.jpg", "pattern": "^train/(?P<flower>[^/]+)/"},
            train__id="path",
            train__target="flower",
            task="multiclass",
            train__image="{path}",
            test__image="test/{id}.jpg",
            submission__kind="label",
        ),
    ),
    Layout(
        "trap: a table of photographers, no hint",
        photographers_without_a_hint,
        facts(
            train__rows={"glob": "train/*/*.jpg", "pattern": "^train/(?P<flower>[^/]+)/"}, test__image="test/{id}.jpg"
        ),
        frozenset({"train.rows"}),
    ),
    Layout(
        "trap: numbered folders",
        numbered_folders,
        facts(
            train__rows={"glob": "train/*/*.png", "pattern": "^train/(?P<label>[^/]+)/"},
            train__id="path",
            train__target="label",
            task="multiclass",
            train__image="{path}",
            test__image="test/{id}.png",
            submission__kind="label",
        ),
        frozenset({"train.rows"}),
    ),
    Layout("trap: pixels in a table", pixels_in_a_table, {}, refused="the images are pixels in the 9 columns"),
    Layout(
        "trap: folders that no column tells",
        folders_by_number,
        facts(train__rows={"csv": "train.csv"}, train__id="id"),
        fails=True,
    ),
    Layout("trap: a column that no template can say", unsayable_column, {}, refused="no table names the 72 images"),
    Layout(
        "trap: nothing",
        nothing,
        {},
        refused="there are no image files",
    ),
    Layout("trap: a row for each image and label", long_sample, {}, refused="3 lines an image"),
]
