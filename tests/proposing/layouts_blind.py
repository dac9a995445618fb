"""Layouts written down after the detection, from the code that others prepare these competitions' files with.

Source: the field and folder names in mle-bench (https://github.com/openai/mle-bench, competitions/*/prepare.py and
description.md) for the first six, memory for the ten after them. bench_detect.py prints how they fare.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from layouts import Layout, draw, hexes, pack, touch, write_table
from layouts_seen import facts, write_json


def steganography(raw: Path) -> None:
    """The same names in four folders, of which one is the negative class."""
    for kind in ("Cover", "JMiPOD", "JUNIWARD", "UERD"):
        touch(raw, [f"{kind}/{number:05d}.jpg" for number in range(1, 61)])
    test = [f"{number:04d}.jpg" for number in range(1, 41)]
    touch(raw, [f"Test/{name}" for name in test])
    write_table(raw / "sample_submission.csv", {"Id": test, "Label": [0] * 40})


def pressed_plants(raw: Path) -> None:
    """The tables lie beside the images, in folders of the splits, and are not UTF-8."""
    root = raw / "nybg2020"
    labels = draw([0, 1, 5, 9, 14, 22, 400], 140)
    images = [
        {
            "file_name": f"images/{label // 100:03d}/{label % 100:02d}/{437000 + row}.jpg",
            "height": 1000,
            "id": 437000 + row,
            "license": 1,
        }
        for row, label in enumerate(labels)
    ]
    annotations = [
        {"category_id": label, "id": 900000 + row, "image_id": 437000 + row, "region_id": row % 3}
        for row, label in enumerate(labels)
    ]
    write_json(
        root / "train/metadata.json",
        {"annotations": annotations, "images": images, "categories": [{"id": 0, "name": "x"}]},
    )
    text = (root / "train/metadata.json").read_text().replace('"x"', '"é"')
    (root / "train/metadata.json").write_text(text, encoding="latin-1")
    test = [{"file_name": f"images/000/{row}.jpg", "height": 1000, "id": row, "license": 1} for row in range(40)]
    write_json(root / "test/metadata.json", {"images": test, "info": {}, "licenses": []})
    touch(root, [f"train/{image['file_name']}" for image in images] + [f"test/{image['file_name']}" for image in test])
    write_table(raw / "sample_submission.csv", {"Id": range(40), "Predicted": [0] * 40})


def camera_traps_2019(raw: Path) -> None:
    """A table with much beside, archives without a top folder."""
    names, test = hexes(150, 0), hexes(50, 1)

    def describe(ids: list[str], first: int) -> dict[str, Any]:
        rows = range(len(ids))
        return {
            "date_captured": [f"2011-05-{1 + row % 28:02d} 23:43:18" for row in rows],
            "file_name": [f"{name}.jpg" for name in ids],
            "frame_num": [1 + row % 3 for row in rows],
            "id": ids,
            "location": [first + row // 10 for row in rows],
            "rights_holder": ["Justin Brown"] * len(ids),
            "seq_id": [f"{first}-{row // 3}" for row in rows],
            "seq_num_frames": [3] * len(ids),
            "width": [1024] * len(ids),
            "height": [747] * len(ids),
        }

    write_table(raw / "train.csv", {"category_id": draw([0, 1, 3, 8, 13, 19], 150), **describe(names, 100)})
    write_table(raw / "test.csv", describe(test, 500))
    touch(raw, [f"train_images/{name}.jpg" for name in names] + [f"test_images/{name}.jpg" for name in test])
    pack(raw, "train_images", top=False)
    pack(raw, "test_images", top=False)
    write_table(raw / "sample_submission.csv", {"Id": test, "Category": [0] * 50})


def brain_tumours(raw: Path) -> None:
    """Four series of slices for each id."""
    train, test = [f"{2 * number:05d}" for number in range(60)], [f"{2 * number + 1:05d}" for number in range(20)]
    for split, ids in (("train", train), ("test", test)):
        touch(
            raw,
            [
                f"{split}/{name}/{kind}/Image-{slice_}.dcm"
                for name in ids
                for kind in ("FLAIR", "T1w")
                for slice_ in (1, 2)
            ],
        )
    write_table(raw / "train_labels.csv", {"BraTS21ID": train, "MGMT_value": draw((0, 1), 60)})
    write_table(raw / "sample_submission.csv", {"BraTS21ID": test, "MGMT_value": [0.5] * 20})


def naturalist_packed(raw: Path) -> None:
    """Two coco files over one folder, packed as tar.gz."""
    rows = [
        (row, label, f"train_val2019/Birds/{label}/{name}.jpg")
        for row, (label, name) in enumerate(zip(draw(range(30), 160), hexes(160, 0), strict=True))
    ]
    for table, part in (("train2019.json", rows[:120]), ("val2019.json", rows[120:])):
        images = [
            {"license": 0, "file_name": path, "rights_holder": "x", "height": 800, "width": 600, "id": row}
            for row, _, path in part
        ]
        annotations = [{"image_id": row, "category_id": label, "id": row} for row, label, _ in part]
        categories = [{"kingdom": "Animalia", "id": label} for label in range(30)]
        write_json(raw / table, {"info": {}, "images": images, "annotations": annotations, "categories": categories})
    test = [
        {"license": 0, "file_name": f"test2019/{name}.jpg", "height": 800, "width": 600, "id": 268243 + row}
        for row, name in enumerate(hexes(40, 1))
    ]
    write_json(raw / "test2019.json", {"info": {}, "images": test, "licenses": []})
    touch(raw, [path for *_, path in rows] + [image["file_name"] for image in test])
    pack(raw, "train_val2019", form="gztar")
    pack(raw, "test2019", form="gztar")
    write_table(raw / "kaggle_sample_submission.csv", {"id": [image["id"] for image in test], "predicted": [0] * 40})


def studies(raw: Path) -> None:
    """Two tables of two kinds of rows, and a sample with both."""
    rows = [(f"{row:012x}", f"{row + 500:012x}", f"{row + 900:012x}") for row in range(60)]
    touch(raw, [f"train/{study}/{series}/{image}.dcm" for study, series, image in rows])
    kinds = ("Negative for Pneumonia", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance")
    hot = draw(range(4), 60)
    write_table(
        raw / "train_study_level.csv",
        {
            "id": [f"{study}_study" for study, *_ in rows],
            **{name: [int(one == number) for one in hot] for number, name in enumerate(kinds)},
        },
    )
    columns = {"id": [f"{image}_image" for *_, image in rows], "boxes": [None] * 60, "label": ["none 1 0 0 1 1"] * 60}
    write_table(raw / "train_image_level.csv", {**columns, "StudyInstanceUID": [study for study, *_ in rows]})
    touch(raw, [f"test/{row + 2000:012x}/{row + 3000:012x}/{row + 4000:012x}.dcm" for row in range(20)])
    ids = [f"{row + 2000:012x}_study" for row in range(20)] + [f"{row + 4000:012x}_image" for row in range(20)]
    write_table(raw / "sample_submission.csv", {"id": ids, "PredictionString": ["negative 1 0 0 1 1"] * 40})


def ships(raw: Path) -> None:
    """Runs of pixels in a cell, several rows an image."""
    rng = np.random.default_rng(0)
    names, test = [f"{name}.jpg" for name in hexes(60, 0)], [f"{name}.jpg" for name in hexes(12, 1)]
    touch(raw, [f"train_v2/{name}" for name in names] + [f"test_v2/{name}" for name in test])
    rows = [name for number, name in enumerate(names) for _ in range(1 + number % 3)]
    runs = [" ".join(map(str, rng.integers(1, 600_000, 2 * rng.integers(1, 6)))) for _ in rows]
    write_table(raw / "train_ship_segmentations_v2.csv", {"ImageId": rows, "EncodedPixels": runs})
    write_table(raw / "sample_submission_v2.csv", {"ImageId": test, "EncodedPixels": ["1 2"] * 12})


def one_run_an_image(raw: Path) -> None:
    """Runs of pixels, a row an image."""
    rng = np.random.default_rng(0)
    names, test = hexes(60, 0), hexes(12, 1)
    touch(raw, [f"train/images/{name}.png" for name in names] + [f"train/masks/{name}.png" for name in names])
    touch(raw, [f"test/images/{name}.png" for name in test])
    runs = [" ".join(map(str, rng.integers(1, 10201, 2 * rng.integers(1, 9)))) for _ in names]
    write_table(raw / "train.csv", {"id": names, "rle_mask": runs})
    write_table(raw / "sample_submission.csv", {"id": test, "rle_mask": ["1 1"] * 12})


def wheat(raw: Path) -> None:
    """Three boxes an image, a row each."""
    names, test = hexes(40, 0), hexes(10, 1)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in test])
    rows = [name for name in names for _ in range(3)]
    columns = {"image_id": rows, "width": [1024] * 120, "height": [1024] * 120}
    boxes = [f"[{row}.0, {row + 2}.0, 56.0, 36.0]" for row in range(120)]
    write_table(raw / "train.csv", {**columns, "bbox": boxes, "source": draw(["usask_1", "arvalis_1"], 120)})
    write_table(raw / "sample_submission.csv", {"image_id": test, "PredictionString": ["1.0 0 0 50 50"] * 10})


def landmarks(raw: Path) -> None:
    """A label and a confidence in the sample's cells."""
    names, test = hexes(120, 0), hexes(12, 1)
    for split, ids in (("train", names), ("test", test)):
        touch(raw, [f"{split}/{one[0]}/{one[1]}/{one[2]}/{one}.jpg" for one in ids])
    write_table(raw / "train.csv", {"id": names, "landmark_id": draw(range(7, 203079, 8000), 120)})
    write_table(raw / "sample_submission.csv", {"id": test, "landmarks": ["8007 0.1"] * 12})


def small_photos(raw: Path) -> None:
    """Numbers in both splits, more of them in the test set."""
    touch(raw, [f"train/{row}.png" for row in range(1, 101)] + [f"test/{row}.png" for row in range(1, 301)])
    write_table(raw / "trainLabels.csv", {"id": range(1, 101), "label": draw(["airplane", "bird", "cat", "frog"], 100)})
    write_table(raw / "sampleSubmission.csv", {"id": range(1, 301), "label": ["cat"] * 300})


def ground_truth(raw: Path) -> None:
    """One-hot columns of 1.0 and 0.0, metadata in another table, no sample."""
    names = [f"ISIC_{row:07d}" for row in range(80)]
    touch(raw, [f"Training_Input/{name}.jpg" for name in names])
    touch(raw, [f"Test_Input/ISIC_{row:07d}.jpg" for row in range(500, 520)])
    hot = draw(range(4), 80)
    columns = {kind: [float(one == number) for one in hot] for number, kind in enumerate(("MEL", "NV", "BCC", "UNK"))}
    write_table(raw / "Training_GroundTruth.csv", {"image": names, **columns})
    about = {"age_approx": [5 * (row % 17) for row in range(80)], "sex": draw(["male", "female"], 80)}
    write_table(raw / "Training_Metadata.csv", {"image": names, **about})


def public_and_private(raw: Path) -> None:
    """A column in the sample that is no class."""
    names, test = hexes(60, 0), hexes(12, 1)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in test])
    write_table(raw / "train.csv", {"id": names, "label": draw((0, 1), 60)})
    usage = ["Public", "Private"] * 6
    write_table(raw / "sample_submission.csv", {"id": test, "label": [0.5] * 12, "Usage": usage})


def many_numbers(raw: Path) -> None:
    """Measurements of which the sample asks for one under another name."""
    names, test, rng = hexes(80, 0), hexes(12, 1), np.random.default_rng(1)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in test])
    columns = {name: rng.uniform(1, 9, 80).round(3).tolist() for name in ("humidity", "biomass", "depth")}
    write_table(raw / "train.csv", {"id": names, **columns})
    write_table(raw / "sample_submission.csv", {"id": test, "prediction": [0.0] * 12})


def without_header(raw: Path) -> None:
    names, test = hexes(60, 0), hexes(12, 1)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in test])
    lines = [f"{name},{label}" for name, label in zip(names, draw(["cat", "dog", "cow"], 60), strict=True)]
    (raw / "train.csv").write_text("\n".join(lines) + "\n")
    write_table(raw / "sample_submission.csv", {"id": test, "label": ["cat"] * 12})


def paths_of_another_machine(raw: Path) -> None:
    names, test = hexes(60, 0), hexes(12, 1)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in test])
    paths = [f"/kaggle/input/comp/train/{name}.jpg" for name in names]
    write_table(raw / "train.csv", {"path": paths, "label": draw(["cat", "dog", "cow"], 60)})
    write_table(raw / "sample_submission.csv", {"id": test, "label": ["cat"] * 12})


BLIND = [
    Layout(
        "blind: four folders with the same names",
        steganography,
        facts(test__image="Test/{Id}"),
        frozenset({"train.rows"}),
        fails=True,
    ),
    Layout(
        "blind: tables beside the images",
        pressed_plants,
        facts(
            train__rows={"coco": "nybg2020/train/metadata.json", "encoding": "cp1252"},
            train__id="image_id",
            train__target="category_id",
            task="multiclass",
            train__image="nybg2020/train/{file_name}",
            test__rows={"records": "nybg2020/test/metadata.json"},
            test__id="id",
            test__image="nybg2020/test/{file_name}",
            submission__kind="label",
        ),
    ),
    Layout(
        "blind: packed without a top, much beside",
        camera_traps_2019,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="id",
            train__target="category_id",
            task="multiclass",
            train__group="location",
            train__image="train_images/{id}.jpg",
            test__image="test_images/{Id}.jpg",
            submission__kind="label",
            archives=["train_images.zip", "test_images.zip"],
        ),
        frozenset({"train.group"}),
    ),
    Layout(
        "blind: series of slices",
        brain_tumours,
        facts(
            train__rows={"csv": "train_labels.csv"},
            train__id="BraTS21ID",
            train__target="MGMT_value",
            task="binary",
            train__image="train/{BraTS21ID}/FLAIR/Image-1.dcm",
            test__image="test/{BraTS21ID}/FLAIR/Image-1.dcm",
            submission__kind="probability",
        ),
        frozenset({"train.image", "test.image"}),
        fails=True,
    ),
    Layout(
        "blind: two coco files, packed",
        naturalist_packed,
        facts(
            train__rows={"coco": "train2019.json"},
            train__id="image_id",
            train__target="category_id",
            task="multiclass",
            train__image="{file_name}",
            test__rows={"records": "test2019.json"},
            test__id="id",
            test__image="{file_name}",
            submission__kind="label",
            submission__sample="kaggle_sample_submission.csv",
            archives=["train_val2019.tar.gz", "test2019.tar.gz"],
        ),
        frozenset({"train.rows"}),
        fails=True,
    ),
    Layout("blind: studies and images", studies, {}, refused="this is detection"),
    Layout(
        "blind: ships",
        ships,
        {},
        refused="this is segmentation",
    ),
    Layout(
        "blind: a run of pixels an image",
        one_run_an_image,
        {},
        refused="this is segmentation",
    ),
    Layout(
        "blind: wheat",
        wheat,
        {},
        refused="this is detection",
    ),
    Layout(
        "blind: a label and a confidence",
        landmarks,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="id",
            train__target="landmark_id",
            train__image="train/{id[0]}/{id[1]}/{id[2]}/{id}.jpg",
        ),
        frozenset({"submission.kind"}),
    ),
    Layout(
        "blind: numbers in both splits",
        small_photos,
        facts(
            train__rows={"csv": "trainLabels.csv"},
            train__id="id",
            train__target="label",
            task="multiclass",
            train__image="train/{id}.png",
            test__image="test/{id}.png",
            submission__kind="label",
        ),
    ),
    Layout(
        "blind: ground truth without a sample",
        ground_truth,
        facts(
            train__rows={"csv": "Training_GroundTruth.csv"},
            train__id="image",
            train__image="Training_Input/{image}.jpg",
        ),
        frozenset({"submission.sample", "train.target"}),
    ),
    Layout(
        "blind: public and private",
        public_and_private,
        facts(train__rows={"csv": "train.csv"}, train__target="label"),
        frozenset({"submission.kind"}),
        fails=True,
    ),
    Layout(
        "blind: many numbers",
        many_numbers,
        facts(train__rows={"csv": "train.csv"}, train__id="id", task="regression", submission__kind="value"),
        frozenset({"train.target"}),
    ),
    Layout("blind: a table without a header", without_header, {}, refused="no table names the 72 images"),
    Layout("blind: paths of another machine", paths_of_another_machine, {}, fails=True),
]
