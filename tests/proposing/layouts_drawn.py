"""Layouts drawn by chance: names, ids, formats, folders, labels and archives in any combination."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import layouts
from layouts import Layout, packing, table_layout, write_test_table

FOLDERS = [
    ("train", "test"),
    ("train_images", "test_images"),
    ("images/train", "images/test"),
    ("Train", "Test"),
    ("data", "data"),
    ("x", "y"),
    ("trn", "tst"),
]
SHAPES = ["{}", "{}", "img_{}", "{}_x", "{0}/{0}", "{0[0]}/{0}", "sub/{}"]
LABELS = [
    layouts.NAMES,
    layouts.WIDE,
    layouts.CODES,
    layouts.GRADES,
    layouts.PROBABILITY,
    layouts.WHOLE,
    layouts.WORDS,
    layouts.VALUES,
    layouts.SCORES,
    layouts.RANKED,
    layouts.one_hot(layouts.ANIMALS),
    layouts.one_hot(layouts.ANIMALS, several=True),
    layouts.several(" "),
    layouts.several(","),
    layouts.several("|"),
    layouts.several(" ", values=("3", "14", "15", "92")),
]
ROWS = {id(layouts.VALUES): 100, id(layouts.SCORES): 250}


def draw_layout(seed: int) -> Layout:
    """The layout of this seed; the same one each time."""
    rng = random.Random(seed)
    folders = rng.choice(FOLDERS)
    kinds = [layouts.hexes, layouts.padded, layouts.named, layouts.uids]
    kinds += [layouts.numbers] if folders[0] != folders[1] else []  # the splits would share their images
    ids = rng.choice(kinds)
    shapes = SHAPES if ids is layouts.hexes else [shape for shape in SHAPES if shape != "{0[0]}/{0}"]
    shape, ending = rng.choice(shapes), rng.choice([".jpg", ".png", ".jpeg", ".tif", ".npy", ".JPG", ".bmp", ".dcm"])
    row_id = rng.choice(["id", "image_id", "Image", "file name", "StudyInstanceUID", "name", "Id"])
    sample_id = rng.choice([row_id, row_id, "id", "Id", "filename"])
    suffix = rng.choice(["", ending]) if shape in ("{}", "img_{}", "sub/{}") else ""
    templates = [
        f"{folder}/{_spell(shape, key)}{'' if suffix else ending}"
        for folder, key in zip(folders, (row_id, sample_id), strict=True)
    ]
    labels = rng.choice(LABELS)
    more, archives = _draw_more(rng, folders, sample_id)
    return table_layout(
        f"drawn {seed}",
        labels,
        ids=ids,
        id=row_id,
        suffix=suffix,
        table=rng.choice(["train.csv", "labels.csv", "train_labels.csv", "trainLabels.csv", "meta/train.csv"]),
        sample=rng.choice(["sample_submission.csv", "sampleSubmission.csv", "submission_format.csv", "sample_sub.csv"]),
        sample_id=sample_id,
        files=(f"{folders[0]}/{shape}{ending}", f"{folders[1]}/{shape}{ending}"),
        templates=(templates[0], templates[1]),
        train=ROWS.get(id(labels), rng.choice([60, 100])),
        test=rng.choice([12, 30, 50]),
        more=more,
        columns=_describe if rng.random() < 0.4 else (lambda count: {}),
        archives=archives,
        **({"image__channels": 4} if ending == ".npy" else {}),
    )


def _spell(shape: str, key: str) -> str:
    return shape.replace("{0[0]}", f"{{{key}[0]}}").replace("{0}", f"{{{key}}}").replace("{}", f"{{{key}}}")


def _draw_more(rng: random.Random, folders: tuple[str, str], sample_id: str) -> tuple[Callable[..., Any], list[str]]:
    """Packed folders, a test table, or nothing."""
    kind = rng.choice(["packed", "test table", "nothing"])
    if kind == "packed" and folders[0] in ("train", "train_images"):
        return packing(*folders), [f"{folder}.zip" for folder in folders]
    if kind == "test table":
        return write_test_table("test.csv", rng.choice(["id", sample_id])), []
    return lambda raw, train_ids, test_ids: None, []


def _describe(count: int) -> dict[str, list[Any]]:
    """Columns that are neither labels nor ids."""
    return {"width": [100 + row % 9 for row in range(count)], "source": ["abc"[row % 3] for row in range(count)]}
