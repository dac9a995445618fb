"""Layouts of raw files that `kitsolve new` has to understand: each one writes itself and knows its own truth.

They vary one thing or two of a plain competition: names of columns, files and folders, ids, formats, labels, forms of
the sample. Images are empty files, since nobody decodes them here; arrays are real.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Columns = dict[str, Sequence[Any]]


@dataclass(frozen=True)
class Layout:
    """What `write` lays out, and the facts that are true of it, by "table.key".

    `undecidable`: facts that these files do not tell, so that a proposal has to mark them as unsure. `pages`: Kaggle's.
    `fails`: no facts can say it, so that the proposal must not count as verified. `refused`: nothing is proposed, and
    the error says this.
    """

    name: str
    write: Callable[[Path], None]
    truth: Mapping[str, Any]
    undecidable: frozenset[str] = frozenset()
    pages: Mapping[str, str] = field(default_factory=dict)
    fails: bool = False
    refused: str = ""


# ------------------------------------------------------------------------------------------------ ids


def hexes(count: int, seed: int) -> list[str]:
    """As in most competitions; the first and the last would be damaged as numbers."""
    rng = np.random.default_rng(seed)
    return [f"{seed}0000012", *(rng.bytes(4).hex() for _ in range(count - 2)), f"{seed}00001e5"][:count]


def numbers(count: int, seed: int) -> list[str]:
    """From 1 on, the same in both splits."""
    return [str(number) for number in range(1, count + 1)]


def padded(count: int, seed: int) -> list[str]:
    return [f"{number + 500 * seed:06d}" for number in range(count)]


def named(count: int, seed: int) -> list[str]:
    return [f"{'Train' if seed == 0 else 'Test'}_{number}" for number in range(count)]


def uids(count: int, seed: int) -> list[str]:
    return [f"1.2.826.0.1.{3680043 + 1000 * seed}.{260 + 79 * number}" for number in range(count)]


# ------------------------------------------------------------------------------------------------ labels


@dataclass(frozen=True)
class Labels:
    """The label's columns in the train rows and in the sample, and what is true of them."""

    train: Callable[[int], Columns]
    sample: Callable[[int], Columns]
    truth: Mapping[str, Any]
    undecidable: frozenset[str] = frozenset()


def draw(values: Sequence[Any], count: int, *, seed: int = 7) -> list[Any]:
    """Every value at least twice, in any order."""
    rng = np.random.default_rng(seed)
    drawn = [*values, *values, *(values[number] for number in rng.integers(0, len(values), count - 2 * len(values)))]
    return [drawn[number] for number in rng.permutation(count)]


def single(
    values: Sequence[Any], *, column: str = "label", shown: Any, sample: str | None = None, **truth: Any
) -> Labels:
    """One label a row in one column; `shown` stands in the sample, a list of it in turn."""
    shows = shown if isinstance(shown, list) else [shown]
    return Labels(
        lambda count: {column: draw(values, count)},
        lambda count: {sample or column: [shows[row % len(shows)] for row in range(count)]},
        {"train.target": column, **_facts(truth)},
    )


def _facts(truth: Mapping[str, Any]) -> dict[str, Any]:
    return {{"kind": "submission.kind"}.get(key, key.replace("__", ".")): value for key, value in truth.items()}


ANIMALS = ("ant", "bee", "camel", "deer", "emu", "fox")
GRADES = single(range(5), column="level", shown=0, task="ordinal", kind="label")
GRADES = replace(GRADES, undecidable=frozenset({"task"}))
CODES = replace(single(range(6), shown=0, task="multiclass", kind="label"), undecidable=frozenset({"task"}))
NAMES = single(ANIMALS, column="species", shown="bee", task="multiclass", kind="label")
WIDE = Labels(
    lambda count: {"species": draw(ANIMALS, count)},
    lambda count: {name: [1 / 6] * count for name in ANIMALS[::-1]},
    {"train.target": "species", "task": "multiclass", "submission.kind": "class_probabilities"},
)
PROBABILITY = single((0, 1), column="has_wheel", shown=0.5, task="binary", kind="probability")
WHOLE = single((0, 1), column="target", shown=0, task="binary", kind="probability")
WHOLE = replace(WHOLE, undecidable=frozenset({"submission.kind"}))
WORDS = single(("benign", "malignant"), column="outcome", shown=0.5, task="binary", kind="probability")
WORDS = replace(WORDS, undecidable=frozenset({"train.positive"}), truth={**WORDS.truth, "train.positive": "malignant"})
VALUES = single(
    np.random.default_rng(0).uniform(2, 90, 40).round(3).tolist(),
    column="height_cm",
    shown=0,
    task="regression",
    kind="value",
)
SCORES = single(range(1, 101), column="beauty", shown=38.4, task="regression", kind="value", train__range=[1, 100])
RANKED = Labels(
    lambda count: {"individual": draw([f"w_{number:04x}" for number in range(20)], count)},
    lambda count: {"individual": ["w_0001 w_0002 w_0003 w_0004 w_0005"] * count},
    {"train.target": "individual", "task": "retrieval", "submission.kind": "top_k", "submission.top_k": 5},
    frozenset({"task"}),
)


def one_hot(names: Sequence[str], *, several: bool = False) -> Labels:
    """A column a class with 0 or 1, of which a row has one, or `several`."""

    def write(count: int) -> Columns:
        rng = np.random.default_rng(3)
        rows = np.eye(len(names), dtype=int)[draw(range(len(names)), count)]
        rows |= rng.integers(0, 2, rows.shape) if several else 0
        return {name: rows[:, number].tolist() for number, name in enumerate(names)}

    task = "multilabel" if several else "multiclass"
    truth = {"train.target": list(names), "task": task, "submission.kind": "class_probabilities"}
    return Labels(write, lambda count: {name: [0.5] * count for name in names}, truth)


def several(separator: str, *, column: str = "labels", values: Sequence[str] = ANIMALS, shown: int = 2) -> Labels:
    """Several labels in a cell, also in the sample."""

    def write(count: int) -> Columns:
        rng = np.random.default_rng(5)
        cells = [separator.join(rng.permutation(values)[: rng.integers(1, 4)]) for _ in range(count)]
        return {column: cells}

    target = {"column": column, "separator": separator}
    truth = {"train.target": target, "task": "multilabel", "submission.kind": "label_list"}
    truth |= {"submission.separator": separator} if separator != " " else {}
    return Labels(write, lambda count: {column: [separator.join(values[:shown])] * count}, truth)


# ------------------------------------------------------------------------------------------------ files


def touch(raw: Path, paths: Sequence[str]) -> None:
    """Files that stand for images; arrays are real ones of 4 channels."""
    for path in paths:
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".npy"):
            np.save(raw / path, np.zeros((4, 9, 8), dtype=np.float16))
        else:
            (raw / path).touch()


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], *, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(dict(columns)).to_csv(path, index=False, encoding=encoding)


def pack(raw: Path, name: str, *, form: str = "zip", top: bool = True) -> None:
    """Replace a folder or a file by an archive, in which a folder has itself at the top or not."""
    place = raw / name
    suffix = {"zip": ".zip", "gztar": ".tar.gz"}[form]
    inside = place.name if top or place.is_file() else "."
    made = shutil.make_archive(str(raw / ".packed"), form, place.parent if inside == place.name else place, inside)
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    Path(made).rename(raw / f"{name}{suffix}")


def table_layout(
    name: str,
    labels: Labels = NAMES,
    *,
    ids: Callable[[int, int], list[str]] = hexes,
    id: str = "id",  # noqa: A002
    suffix: str = "",
    table: str = "train.csv",
    sample: str = "sample_submission.csv",
    sample_id: str | None = None,
    files: tuple[str, str] = ("train/{}.jpg", "test/{}.jpg"),
    templates: tuple[str, str] | None = None,
    train: int = 60,
    test: int = 12,
    more: Callable[[Path, list[str], list[str]], object] = lambda raw, train_ids, test_ids: None,
    columns: Callable[[int], Columns] = lambda count: {},
    undecidable: Sequence[str] = (),
    **truth: Any,
) -> Layout:
    """A table of ids and labels beside folders of images.

    Args:
        suffix: what the ids of the tables have beyond the files' stems.
        files: where the images are, the stem as {}; `templates`: what the facts say, where it is not that with the id.
        more: writes further files, or packs some.
        columns: further columns of the train table.
    """
    stems = ids(train, 0), ids(test, 1)
    rows = [[f"{stem}{suffix}" for stem in split] for split in stems]

    def write(raw: Path) -> None:
        touch(raw, [files[0].format(stem) for stem in stems[0]] + [files[1].format(stem) for stem in stems[1]])
        write_table(raw / table, {id: rows[0], **columns(train), **labels.train(train)})
        write_table(raw / sample, {sample_id or id: rows[1], **labels.sample(test)})
        more(raw, rows[0], rows[1])

    ending = files[0].rpartition("{}")[2]
    usual = [
        file.replace("{}" + (ending if suffix == ending else ""), f"{{{key}}}")
        for file, key in zip(files, (id, sample_id or id), strict=True)
    ]
    facts = {"train.rows": {"csv": table}, "train.id": id, "submission.sample": sample, "archives": []}
    facts |= {"train.image": (templates or usual)[0], "test.image": (templates or usual)[1], **labels.truth}
    return Layout(name, write, facts | _facts(truth), labels.undecidable | set(undecidable))


def packing(*names: str, form: str = "zip", top: bool = True) -> Callable[[Path, list[str], list[str]], object]:
    """Pack these folders or files after all is written."""
    return lambda raw, train_ids, test_ids: [pack(raw, name, form=form, top=top) for name in names]


def write_test_table(name: str, column: str, **columns: Callable[[int], list[Any]]) -> Callable[..., object]:
    """A table of the test ids with further columns."""
    return lambda raw, train_ids, test_ids: write_table(
        raw / name, {column: test_ids, **{key: make(len(test_ids)) for key, make in columns.items()}}
    )


# ------------------------------------------------------------------------------------------------ variations


def counting(count: int) -> list[int]:
    return [number % 7 for number in range(count)]


def in_pairs(count: int) -> list[str]:
    return [f"P{number // 2:03d}" for number in range(count)]


VARIATIONS = [
    table_layout("plain"),
    table_layout("labels.csv", table="labels.csv", id="image"),
    table_layout("train_labels.csv", table="train_labels.csv", id="image_name"),
    table_layout("train-metadata.csv", table="train-metadata.csv", id="isic", labels=WHOLE),
    table_layout(
        "trainLabels.csv, sampleSubmission.csv", GRADES, table="trainLabels.csv", sample="sampleSubmission.csv"
    ),
    table_layout("suffix in the id", suffix=".jpg"),
    table_layout("suffix in the id, numbers", CODES, ids=numbers, suffix=".jpg"),
    table_layout("png", files=("train/{}.png", "test/{}.png")),
    table_layout("jpeg, upper case", files=("train/{}.JPEG", "test/{}.JPEG")),
    table_layout("tif", WHOLE, files=("train/{}.tif", "test/{}.tif")),
    table_layout("npy", PROBABILITY, files=("train/{}.npy", "test/{}.npy"), image__channels=4),
    table_layout("other folders", files=("train_images/{}.jpg", "test_images/{}.jpg")),
    table_layout("folders in a folder", files=("data/images/train/{}.jpg", "data/images/test/{}.jpg")),
    table_layout("all images in one folder", files=("images/{}.png", "images/{}.png")),
    table_layout("all images in one folder, named by split", ids=named, files=("images/{}.png", "images/{}.png")),
    table_layout("images beside the tables", files=("{}.png", "{}.png")),
    table_layout("numbers that both splits have", ids=numbers, test=40),
    table_layout("numbers, more of them in the test set", ids=numbers, test=100),
    table_layout(
        "numbers in two folders without telling names",
        ids=numbers,
        files=("a/{}.jpg", "b/{}.jpg"),
        test=40,
        undecidable=["test.image"],
    ),
    table_layout("padded ids", ids=padded),
    table_layout("uids", ids=uids, id="SeriesInstanceUID", files=("train/{}.png", "test/{}.png")),
    table_layout(
        "nested by the first character",
        files=("train/{0[0]}/{0}.jpg", "test/{0[0]}/{0}.jpg"),
        templates=("train/{id[0]}/{id}.jpg", "test/{id[0]}/{id}.jpg"),
    ),
    table_layout(
        "nested by three characters",
        files=("train/{0[0]}/{0[1]}/{0[2]}/{0}.jpg", "test/{0[0]}/{0[1]}/{0[2]}/{0}.jpg"),
        templates=tuple(f"{split}/{{id[0]}}/{{id[1]}}/{{id[2]}}/{{id}}.jpg" for split in ("train", "test")),
    ),
    table_layout(
        "nested by two characters together",
        files=("train/{0[0]}{0[1]}/{0}.png", "test/{0[0]}{0[1]}/{0}.png"),
        templates=tuple(f"{split}/{{id[0]}}{{id[1]}}/{{id}}.png" for split in ("train", "test")),
    ),
    table_layout("a prefix in the file name", ids=numbers, files=("train/img_{}.png", "test/img_{}.png"), test=30),
    table_layout(
        "padded in the file name only",
        ids=numbers,
        files=("train/{:0>5}.png", "test/{:0>5}.png"),
        templates=("train/{id:0>5}.png", "test/{id:0>5}.png"),
        test=30,
    ),
    table_layout("an ending in the file name", files=("train/{}_rgb.png", "test/{}_rgb.png")),
    table_layout(
        "a folder for each image",
        files=("train/{0}/{0}.png", "test/{0}/{0}.png"),
        templates=("train/{id}/{id}.png", "test/{id}/{id}.png"),
    ),
    table_layout("the sample has other names", CODES, id="image_id", sample_id="Id"),
    table_layout(
        "the sample calls the label otherwise",
        single(ANIMALS, column="species", sample="Predicted", shown="bee", task="multiclass", kind="label"),
        sample_id="Id",
    ),
    table_layout(
        "the sample calls the label otherwise and shows nothing",
        single(ANIMALS, column="species", sample="Predicted", shown=0, task="multiclass", kind="label"),
    ),
    table_layout("a column for each class in the sample", WIDE),
    table_layout("one-hot columns", one_hot(ANIMALS)),
    table_layout("multi-hot columns", one_hot(("No finding", "Edema - mild", "Edema - severe", "Mass"), several=True)),
    table_layout("labels in a cell, blanks", several(" ")),
    table_layout("labels in a cell, commas", several(",", column="tags")),
    table_layout("labels in a cell, bars", several("|", column="Finding Labels")),
    table_layout("labels in a cell, semicolons", several(";")),
    table_layout("numbers in a cell", several(" ", column="Target", values=("3", "14", "15", "92", "65"))),
    table_layout(
        "names of two words",
        single(
            ("sugar beet", "fat hen", "black grass", "maize"),
            column="crop",
            shown="maize",
            task="multiclass",
            kind="label",
        ),
    ),
    table_layout(
        "scientific names",
        single(
            ("quercus alba", "quercus rubra", "acer rubrum", "acer alba", "tilia rubra"),
            column="species",
            shown="acer alba",
            task="multiclass",
            kind="label",
        ),
    ),
    table_layout("a probability", PROBABILITY),
    table_layout("a probability of a word", WORDS),
    table_layout("a whole number that may be a probability", WHOLE),
    table_layout("whole numbers as classes or grades", CODES),
    table_layout(
        "many whole numbers as classes",
        single(range(0, 120, 3), column="class_id", shown=0, task="multiclass", kind="label"),
        train=120,
    ),
    table_layout("values", VALUES, train=100),
    table_layout("whole values", SCORES, train=250),
    table_layout("ranks", RANKED),
    table_layout(
        "ranks with an unknown label",
        single(
            [f"w_{number:03d}" for number in range(15)] + ["new_whale"],
            column="Id",
            shown="new_whale w_001 w_002",
            task="retrieval",
            kind="top_k",
            submission__top_k=3,
            train__unknown="new_whale",
        ),
        id="Image",
        suffix=".jpg",
        sample_id="Image",
    ),
    table_layout("a test table that adds nothing", more=write_test_table("test.csv", "id")),
    table_layout(
        "a test table that adds features",
        CODES,
        columns=lambda count: {"age": counting(count)},
        more=write_test_table("test.csv", "id", age=counting),
        train__features=["age"],
        test__rows={"csv": "test.csv"},
        undecidable=["train.features"],
    ),
    table_layout(
        "columns that only train has",
        WHOLE,
        columns=lambda count: {"diagnosis": counting(count), "age": counting(count)},
        more=write_test_table("test.csv", "id", age=counting),
        train__features=["age"],
        undecidable=["train.features"],
    ),
    table_layout(
        "patients",
        WHOLE,
        columns=lambda count: {"patient_id": in_pairs(count)},
        train__group="patient_id",
        undecidable=["train.group"],
    ),
    table_layout(
        "copies as dcm",
        PROBABILITY,
        more=lambda raw, ids, tests: touch(
            raw, [f"dicom/train/{one}.dcm" for one in ids] + [f"dicom/test/{one}.dcm" for one in tests]
        ),
    ),
    table_layout("only dcm", PROBABILITY, files=("train/{}.dcm", "test/{}.dcm")),
    table_layout(
        "copies as small jpg",
        more=lambda raw, ids, tests: touch(
            raw, [f"train_small/{one}.jpg" for one in ids] + [f"test_small/{one}.jpg" for one in tests]
        ),
        undecidable=["train.image", "test.image"],
    ),
    table_layout(
        "masks beside images",
        files=("train/{}.png", "test/{}.png"),
        more=lambda raw, ids, tests: touch(raw, [f"train_masks/{one}.png" for one in ids]),
    ),
    table_layout(
        "a decoy with some of the images",
        more=lambda raw, ids, tests: touch(raw, [f"old_train/{one}.jpg" for one in ids[:40]]),
    ),
    table_layout("packed folders", more=packing("train", "test"), archives=["test.zip", "train.zip"]),
    table_layout(
        "packed folders without a top", more=packing("train", "test", top=False), archives=["test.zip", "train.zip"]
    ),
    table_layout(
        "packed as tar.gz", more=packing("train", "test", form="gztar"), archives=["test.tar.gz", "train.tar.gz"]
    ),
    table_layout(
        "packed beside what is of no use",
        more=lambda raw, ids, tests: (
            touch(raw, [f"masks/{one}_m.txt" for one in ids]),
            packing("train", "test", "masks")(raw, ids, tests),
        ),
        archives=["test.zip", "train.zip"],
    ),
    table_layout(
        "a packed table",
        more=packing("train.csv", "train", "test"),
        train__rows={"csv": "train.csv/train.csv"},
        archives=["test.zip", "train.csv.zip", "train.zip"],
    ),
    table_layout(
        "a map of the labels",
        replace(CODES, undecidable=frozenset()),
        more=lambda raw, ids, tests: (raw / "label_map.json").write_text(
            json.dumps({str(number): name for number, name in enumerate(ANIMALS)})
        ),
    ),
    table_layout(
        "two tables of the same rows",
        more=lambda raw, ids, tests: write_table(
            raw / "train_cleaned.csv", {"id": ids, "species": draw(ANIMALS, len(ids), seed=1)}
        ),
        undecidable=["train.rows"],
    ),
    table_layout(
        "a table of boxes",
        more=lambda raw, ids, tests: write_table(
            raw / "train_boxes.csv", {"id": [*ids[:9], *ids[:9]], "box": [f"{row} 2 3 4" for row in range(18)]}
        ),
    ),
    table_layout("an index column", columns=lambda count: {"Unnamed: 0": list(range(count))}),
    table_layout("a stub of a test set", test=1, train=120, submission__via="notebook"),
]
