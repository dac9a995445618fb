"""Layouts written down after the detection, from the code that others prepare these competitions' files with.

Source: the field and folder names in mle-bench (https://github.com/openai/mle-bench, competitions/*/prepare.py and
description.md). bench_detect.py prints how they fare.
"""

from __future__ import annotations

from pathlib import Path

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

    def describe(ids: list[str], first: int) -> dict[str, object]:
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
            train__rows={"coco": "nybg2020/train/metadata.json", "encoding": "latin-1"},
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
    ),
    Layout("blind: studies and images", studies, {}, frozenset({"train.target"}), fails=True),
]
