"""Layouts as real competitions have them beyond the twelve of the catalogue, and what JSON and folders can look like.

They are told from memory of public descriptions and made small. A truth may be one that no facts can express: then
`undecidable` holds what must be marked, or the proposal must at least say that it is not verified.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from layouts import ANIMALS, Layout, draw, hexes, pack, touch, write_table


def facts(**truth: Any) -> dict[str, Any]:
    """Facts by "table.key", written table__key."""
    return {key.replace("__", "."): value for key, value in truth.items()}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


# ------------------------------------------------------------------------------------------------ tables


def plant_pathology_2020(raw: Path) -> None:
    classes = ["healthy", "multiple_diseases", "rust", "scab"]
    train, test = [f"Train_{row}" for row in range(120)], [f"Test_{row}" for row in range(100)]
    touch(raw, [f"images/{name}.jpg" for name in [*train, *test]])
    rows = np.eye(4, dtype=int)[draw(range(4), 120)]
    write_table(raw / "train.csv", {"image_id": train, **dict(zip(classes, rows.T.tolist(), strict=True))})
    write_table(raw / "test.csv", {"image_id": test})
    write_table(raw / "sample_submission.csv", {"image_id": test, **{name: [0.25] * 100 for name in classes}})


def plant_pathology_2021(raw: Path) -> None:
    labels = [
        "healthy",
        "scab",
        "scab frog_eye_leaf_spot",
        "complex",
        "rust",
        "frog_eye_leaf_spot complex",
        "rust complex",
    ]
    labels += ["frog_eye_leaf_spot", "powdery_mildew", "scab frog_eye_leaf_spot complex", "powdery_mildew complex"]
    train, test = [f"{name}.jpg" for name in hexes(150, 0)], [f"{name}.jpg" for name in hexes(3, 1)]
    touch(raw, [f"train_images/{name}" for name in train] + [f"test_images/{name}" for name in test])
    write_table(raw / "train.csv", {"image": train, "labels": draw(labels, 150)})
    write_table(raw / "sample_submission.csv", {"image": test, "labels": ["healthy"] * 3})


def diabetic_retinopathy(raw: Path) -> None:
    train = [f"{number}_{eye}" for number in range(10, 90) for eye in ("left", "right")]
    test = [f"{number}_{eye}" for number in range(1, 9) for eye in ("left", "right")]
    touch(raw, [f"train/{name}.jpeg" for name in train] + [f"test/{name}.jpeg" for name in test])
    write_table(raw / "trainLabels.csv", {"image": train, "level": draw(range(5), 160)})
    write_table(raw / "sampleSubmission.csv", {"image": test, "level": [0] * len(test)})


def cactus(raw: Path) -> None:
    train, test = [f"{name}.jpg" for name in hexes(100, 0)], [f"{name}.jpg" for name in hexes(20, 1)]
    touch(raw, [f"train/{name}" for name in train] + [f"test/{name}" for name in test])
    write_table(raw / "train.csv", {"id": train, "has_cactus": draw((0, 1), 100)})
    write_table(raw / "sample_submission.csv", {"id": test, "has_cactus": [0.5] * 20})
    pack(raw, "train")
    pack(raw, "test")


def histopathologic(raw: Path) -> None:
    train, test = hexes(100, 0), hexes(20, 1)
    touch(raw, [f"train/{name}.tif" for name in train] + [f"test/{name}.tif" for name in test])
    write_table(raw / "train_labels.csv", {"id": train, "label": draw((0, 1), 100)})
    write_table(raw / "sample_submission.csv", {"id": test, "label": [0] * 20})


def distracted_driver(raw: Path) -> None:
    classes = [f"c{number}" for number in range(10)]
    labels = draw(classes, 200)
    names = [f"img_{number}.jpg" for number in range(1000, 1200)]
    test = [f"img_{number}.jpg" for number in range(1, 31)]
    touch(raw, [f"imgs/train/{label}/{name}" for label, name in zip(labels, names, strict=True)])
    touch(raw, [f"imgs/test/{name}" for name in test])
    subjects = [f"p{10 + row // 10:03d}" for row in range(200)]
    write_table(raw / "driver_imgs_list.csv", {"subject": subjects, "classname": labels, "img": names})
    write_table(raw / "sample_submission.csv", {"img": test, **{name: [0.1] * 30 for name in classes}})


def amazon(raw: Path) -> None:
    tags = [
        "clear primary",
        "agriculture clear primary water",
        "haze primary",
        "cloudy",
        "clear habitation primary road",
    ]
    tags += ["agriculture clear cultivation primary", "partly_cloudy primary", "clear primary selective_logging"]
    train, test = [f"train_{row}" for row in range(150)], [f"test_{row}" for row in range(40)]
    touch(raw, [f"train-jpg/{name}.jpg" for name in train] + [f"test-jpg/{name}.jpg" for name in test])
    touch(raw, [f"train-tif-v2/{name}.tif" for name in train])
    write_table(raw / "train_v2.csv", {"image_name": train, "tags": draw(tags, 150)})
    shown = "primary clear agriculture road water"
    write_table(raw / "sample_submission_v2.csv", {"image_name": test, "tags": [shown] * 40})


def protein_atlas(raw: Path) -> None:
    train, test = hexes(80, 0), hexes(20, 1)
    for split, names in (("train", train), ("test", test)):
        touch(raw, [f"{split}/{name}_{colour}.png" for name in names for colour in ("red", "green", "blue", "yellow")])
    write_table(raw / "train.csv", {"Id": train, "Target": draw(["16 0", "7", "1 2 0", "5", "25 2", "0", "25"], 80)})
    write_table(raw / "sample_submission.csv", {"Id": test, "Predicted": [0] * 20})


def ovarian_cancer(raw: Path) -> None:
    names = [str(number) for number in np.random.default_rng(0).permutation(np.arange(4, 65000, 433))[:140]]
    small = np.arange(140) % 9 > 0
    touch(raw, [f"train_images/{name}.png" for name in names])
    touch(raw, [f"train_thumbnails/{name}_thumbnail.png" for name, made in zip(names, small, strict=True) if made])
    touch(raw, ["test_images/41.png", "test_thumbnails/41_thumbnail.png"])
    labels = draw(["HGSC", "LGSC", "EC", "CC", "MC"], 140)
    sizes = {"image_width": [20000 + row for row in range(140)], "image_height": [10000 + row for row in range(140)]}
    write_table(raw / "train.csv", {"image_id": names, "label": labels, **sizes, "is_tma": (~small).tolist()})
    write_table(raw / "test.csv", {"image_id": [41], "image_width": [28469], "image_height": [16987]})
    write_table(raw / "sample_submission.csv", {"image_id": [41], "label": ["HGSC"]})


def happy_whale(raw: Path) -> None:
    train, test = [f"{name}.jpg" for name in hexes(120, 0)], [f"{name}.jpg" for name in hexes(30, 1)]
    touch(raw, [f"train_images/{name}" for name in train] + [f"test_images/{name}" for name in test])
    whales = draw([f"{number:012x}" for number in range(10**11, 10**11 + 40 * 7919, 7919)], 120)
    species = [("beluga", "killer_whale", "fin_whale")[int(name, 16) % 3] for name in whales]
    write_table(raw / "train.csv", {"image": train, "species": species, "individual_id": whales})
    shown = " ".join([*dict.fromkeys(whales)][:4] + ["new_individual"])
    write_table(raw / "sample_submission.csv", {"image": test, "predictions": [shown] * 30})


def stroke_clots(raw: Path) -> None:
    patients = hexes(60, 0)
    rows = [
        (f"{name}_{number}", row % 11, name, number)
        for row, name in enumerate(patients)
        for number in range(1 + row % 3)
    ]
    touch(raw, [f"train/{image}.tif" for image, *_ in rows])
    outcome = dict(zip(patients, draw(["CE", "LAA"], 60), strict=True))
    columns = dict(zip(("image_id", "center_id", "patient_id", "image_num"), zip(*rows, strict=True), strict=True))
    write_table(raw / "train.csv", {**columns, "label": [outcome[name] for name in columns["patient_id"]]})
    test = [(f"{name}_0", 1, name, 0) for name in ("006388", "008e5c", "00c058", "01adc5")]
    touch(raw, [f"test/{image}.tif" for image, *_ in test])
    added = dict(zip(("image_id", "center_id", "patient_id", "image_num"), zip(*test, strict=True), strict=True))
    write_table(raw / "test.csv", added)
    others = [f"{name}_0" for name in hexes(20, 9)]
    touch(raw, [f"other/{name}.tif" for name in others])
    more = {"image_id": others, "patient_id": hexes(20, 9), "label": draw(["Unknown", "Other"], 20)}
    write_table(raw / "other.csv", more)
    write_table(raw / "sample_submission.csv", {"patient_id": added["patient_id"], "CE": [0.5] * 4, "LAA": [0.5] * 4})


def mammography(raw: Path) -> None:
    rows = [(2, 10000 + row // 4, 10**9 + 7919 * row, "LR"[row % 4 // 2], ("CC", "MLO")[row % 2]) for row in range(160)]
    names = ("site_id", "patient_id", "image_id", "laterality", "view")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    touch(raw, [f"train_images/{patient}/{image}.dcm" for _, patient, image, *_ in rows])
    leaks = {
        name: draw((0, 1), 160, seed=seed)
        for seed, name in enumerate(("biopsy", "invasive", "difficult_negative_case"))
    }
    ages = [40 + row // 4 % 40 for row in range(160)]
    write_table(
        raw / "train.csv", {**columns, "age": ages, "cancer": draw((0, 1), 160), **leaks, "machine_id": [49] * 160}
    )
    touch(raw, [f"test_images/10008/{736471439 + row}.dcm" for row in range(4)])
    test = {"site_id": [2] * 4, "patient_id": [10008] * 4, "image_id": [736471439 + row for row in range(4)]}
    test |= {"laterality": list("LLRR"), "view": ["MLO", "CC"] * 2, "age": [81] * 4, "machine_id": [21] * 4}
    write_table(raw / "test.csv", test | {"prediction_id": ["10008_L", "10008_L", "10008_R", "10008_R"]})
    write_table(
        raw / "sample_submission.csv", {"prediction_id": ["10008_L", "10008_R"], "cancer": [0.021168, 0.021168]}
    )


def paddy(raw: Path) -> None:
    labels = draw(["blast", "brown_spot", "dead_heart", "hispa", "normal", "tungro"], 120)
    train, test = [f"{100001 + row}.jpg" for row in range(120)], [f"{200001 + row}.jpg" for row in range(40)]
    touch(raw, [f"train_images/{label}/{name}" for label, name in zip(labels, train, strict=True)])
    touch(raw, [f"test_images/{name}" for name in test])
    varieties = draw(["ADT45", "KarnatakaPonni", "Ponni"], 120, seed=2)
    write_table(
        raw / "train.csv",
        {"image_id": train, "label": labels, "variety": varieties, "age": [45 + row % 30 for row in range(120)]},
    )
    write_table(raw / "sample_submission.csv", {"image_id": test, "label": [None] * 40})


def leaves(raw: Path) -> None:
    order = np.random.default_rng(1).permutation(np.arange(1, 161)).tolist()
    train, test = sorted(order[:120]), sorted(order[120:])
    touch(raw, [f"images/{number}.jpg" for number in order])
    species = ["Acer_Opalus", "Quercus_Rubra", "Tilia_Tomentosa", "Alnus_Rubra"]
    margins = {f"margin{number}": np.random.default_rng(number).random(160).round(6) for number in (1, 2, 3)}
    write_table(
        raw / "train.csv",
        {"id": train, "species": draw(species, 120), **{name: cells[:120] for name, cells in margins.items()}},
    )
    write_table(raw / "test.csv", {"id": test, **{name: cells[120:] for name, cells in margins.items()}})
    write_table(raw / "sample_submission.csv", {"id": test, **{name: [0.25] * 40 for name in species}})


def skin_crops(raw: Path) -> None:
    train, test = (
        [f"ISIC_{15670 + 7 * row:07d}" for row in range(150)],
        ["ISIC_0015657", "ISIC_0015729", "ISIC_0015740"],
    )
    touch(raw, [f"train-image/image/{name}.jpg" for name in train])
    for name in ("train-image.hdf5", "test-image.hdf5"):
        (raw / name).write_bytes(b"")
    patients = [f"IP_{row // 5:07d}" for row in range(150)]
    ages = [float(5 * (row % 17)) for row in range(150)]
    columns = {"isic_id": train, "target": draw((0, 1), 150), "patient_id": patients, "age_approx": ages}
    write_table(raw / "train-metadata.csv", {**columns, "iddx_full": draw(["Benign", "Malignant::x"], 150)})
    write_table(
        raw / "test-metadata.csv",
        {"isic_id": test, "patient_id": ["IP_1", "IP_2", "IP_3"], "age_approx": [45.0, 35.0, 65.0]},
    )
    write_table(raw / "sample_submission.csv", {"isic_id": test, "target": [0.3] * 3})


def sorghum(raw: Path) -> None:
    train, test = [f"{name}.jpeg" for name in hexes(120, 0)], [f"{name}.jpeg" for name in hexes(40, 1)]
    touch(raw, [f"train_images/{name}" for name in train] + [f"test/{name}" for name in test])
    cultivars = [f"PI_{number}" for number in range(144134, 144144)]
    write_table(raw / "train_cultivar_mapping.csv", {"image": train, "cultivar": draw(cultivars, 120)})
    write_table(raw / "sample_submission.csv", {"filename": test, "cultivar": ["PI_144140"] * 40})


def hotels(raw: Path) -> None:
    train, test = [f"{name}.jpg" for name in hexes(150, 0)], [f"{name}.jpg" for name in hexes(20, 1)]
    ids = draw(list(range(2000, 66000, 1600)), 150)
    chains = [number // 1600 % 7 for number in ids]
    touch(raw, [f"train_images/{chain}/{name}" for chain, name in zip(chains, train, strict=True)])
    touch(raw, [f"test_images/{name}" for name in test])
    times = [f"2018-04-{1 + row % 28:02d} 08:{row % 60:02d}:00" for row in range(150)]
    write_table(raw / "train.csv", {"image": train, "chain": chains, "hotel_id": ids, "timestamp": times})
    write_table(raw / "sample_submission.csv", {"image": test, "hotel_id": ["2000 3600 5200 6800 8400"] * 20})


def biomass(raw: Path) -> None:
    kinds = ("Dry_Clover_g", "Dry_Dead_g", "Dry_Green_g", "Dry_Total_g", "GDM_g")
    names = [f"ID{1011485656 + 7919 * row}" for row in range(40)]
    test = ["ID1001187975"]
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in test])
    weights = np.random.default_rng(2).gamma(2, 12, 200).round(4).tolist()
    table = {
        "sample_id": [f"{name}__{kind}" for name in names for kind in kinds],
        "image_path": [f"train/{name}.jpg" for name in names for _ in kinds],
    }
    states = [("Tas", "NSW", "WA")[row // 5 % 3] for row in range(200)]
    write_table(raw / "train.csv", {**table, "State": states, "target_name": list(kinds) * 40, "target": weights})
    ids = [f"{name}__{kind}" for name in test for kind in kinds]
    write_table(
        raw / "test.csv",
        {
            "sample_id": ids,
            "image_path": [f"test/{name}.jpg" for name in test for _ in kinds],
            "target_name": list(kinds),
        },
    )
    write_table(raw / "sample_submission.csv", {"sample_id": ids, "target": [0.0] * 5})


def invasive_species(raw: Path) -> None:
    touch(raw, [f"train/{number}.jpg" for number in range(1, 151)] + [f"test/{number}.jpg" for number in range(1, 61)])
    write_table(raw / "train_labels.csv", {"name": range(1, 151), "invasive": draw((0, 1), 150)})
    write_table(raw / "sample_submission.csv", {"name": range(1, 61), "invasive": [0.5] * 60})
    for name in ("train", "test", "train_labels.csv", "sample_submission.csv"):
        pack(raw, name)


def prostate_grades(raw: Path) -> None:
    names = hexes(120, 0)
    touch(raw, [f"train_images/{name}.tiff" for name in names])
    touch(raw, [f"train_label_masks/{name}_mask.tiff" for name in names])
    grades = draw(range(6), 120)
    scores = [("negative", "3+3", "3+4", "4+3", "4+4", "5+5")[grade] for grade in grades]
    columns = {"data_provider": draw(["karolinska", "radboud"], 120), "isup_grade": grades, "gleason_score": scores}
    write_table(raw / "train.csv", {"image_id": names, **columns})
    test = ["005700be", "005c6e8e", "0104f762"]
    write_table(raw / "test.csv", {"image_id": test, "data_provider": ["karolinska", "radboud", "radboud"]})
    write_table(raw / "sample_submission.csv", {"image_id": test, "isup_grade": [0] * 3})


def chest_pathologies(raw: Path) -> None:
    names = [f"{row:08d}_{row % 3:03d}.png" for row in range(1, 151)]
    test = [f"{row:08d}_000.png" for row in range(900, 930)]
    touch(raw, [f"images/{name}" for name in [*names, *test]])
    labels = draw(
        ["No Finding", "Effusion", "Effusion|Mass", "Mass|Nodule", "Nodule", "Effusion|Mass|Nodule", "Hernia"], 150
    )
    columns = {"Image Index": names, "Finding Labels": labels, "Follow-up #": [row % 5 for row in range(150)]}
    write_table(
        raw / "train_entry.csv",
        {
            **columns,
            "Patient ID": [row // 3 for row in range(150)],
            "Patient Age": [30 + row % 40 for row in range(150)],
        },
    )
    write_table(raw / "sample_submission.csv", {"Image Index": test, "Finding Labels": ["No Finding"] * 30})


# ------------------------------------------------------------------------------------------------ folders


def fish(raw: Path) -> None:
    classes = ["ALB", "BET", "DOL", "LAG", "NoF", "OTHER", "SHARK", "YFT"]
    touch(raw, [f"train/{label}/img_{row:05d}.jpg" for row, label in enumerate(draw(classes, 160))])
    test = [f"img_{row:05d}.jpg" for row in range(300, 340)]
    touch(raw, [f"test_stg1/{name}" for name in test])
    write_table(raw / "sample_submission_stg1.csv", {"image": test, **{name: [0.125] * 40 for name in classes}})


def tumours(raw: Path) -> None:
    for split, count in (("Training", 120), ("Testing", 40)):
        touch(
            raw,
            [
                f"{split}/{label}/{split[:2]}-{row:04d}.jpg"
                for row, label in enumerate(draw(["glioma", "meningioma", "no_tumor", "pituitary"], count))
            ],
        )


def cassava_packed(raw: Path) -> None:
    labels = ["cbb", "cbsd", "cgm", "cmd", "healthy"]
    touch(raw, [f"train/{label}/train-{label}-{row}.jpg" for row, label in enumerate(draw(labels, 100))])
    touch(raw, [f"test/0/test-img-{row}.jpg" for row in range(30)])
    write_table(
        raw / "sample_submission_file.csv",
        {"Category": ["cbb"] * 30, "Id": [f"test-img-{row}.jpg" for row in range(30)]},
    )
    for name in ("train", "test"):
        pack(raw, name)


def intel_scenes(raw: Path) -> None:
    scenes = ["buildings", "forest", "glacier", "mountain", "sea", "street"]
    touch(raw, [f"seg_train/seg_train/{label}/{row}.jpg" for row, label in enumerate(draw(scenes, 120))])
    touch(raw, [f"seg_pred/seg_pred/{row}.jpg" for row in range(500, 540)])
    write_table(raw / "sample_submission.csv", {"id": [f"{row}.jpg" for row in range(500, 540)], "label": ["sea"] * 40})


def deep_classes(raw: Path) -> None:
    """Classes of which some have a folder more."""
    labels = draw(["rose", "tulip", "aster"], 90)
    touch(raw, [f"train/{label}/{'extra/' if row % 4 == 0 else ''}{row:03d}.png" for row, label in enumerate(labels)])
    test = hexes(20, 1)
    touch(raw, [f"test/{name}.png" for name in test])
    write_table(raw / "sample_submission.csv", {"id": test, "flower": ["rose"] * 20})


def mixed_formats(raw: Path) -> None:
    labels = draw(["rose", "tulip", "aster"], 90)
    touch(raw, [f"train/{label}/{row:03d}.{('jpg', 'png')[row % 2]}" for row, label in enumerate(labels)])
    test = hexes(20, 1)
    touch(raw, [f"test/{name}.png" for name in test])
    write_table(
        raw / "sample_submission.csv", {"id": test, **{name: [1 / 3] * 20 for name in ("aster", "rose", "tulip")}}
    )


def patients_as_folders(raw: Path) -> None:
    """Folders that look like classes and are none: the file's name has it."""
    touch(raw, [f"train/case{row // 8:03d}/{('pos', 'neg')[row % 2]}_{row}.png" for row in range(96)])
    test = hexes(20, 1)
    touch(raw, [f"test/{name}.png" for name in test])
    write_table(raw / "sample_submission.csv", {"id": test, "label": [0.5] * 20})


def number_and_word(raw: Path) -> None:
    touch(raw, [f"train/{row:04d}_{('oak', 'elm', 'fir')[row % 3]}.jpg" for row in range(90)])
    test = [f"{row:04d}" for row in range(90, 120)]
    touch(raw, [f"test/{name}.jpg" for name in test])
    write_table(raw / "sample_submission.csv", {"id": test, "tree": ["elm"] * 30})


# ------------------------------------------------------------------------------------------------ JSON


def camera_traps(raw: Path) -> None:
    labels = draw([0, 2, 3, 14, 71, 256], 120)
    images = [
        {"id": name, "file_name": f"{name}.jpg", "location": row // 10, "width": 800}
        for row, name in enumerate(hexes(120, 0))
    ]
    annotations = [
        {"id": f"a{row}", "image_id": image["id"], "category_id": label}
        for row, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    categories = [{"id": label, "name": f"animal {label}"} for label in sorted(set(labels))]
    write_json(
        raw / "annotations/train.json",
        {"info": {}, "images": images, "annotations": annotations, "categories": categories},
    )
    test = [{"id": name, "file_name": f"{name}.jpg", "location": row} for row, name in enumerate(hexes(30, 1))]
    write_json(raw / "annotations/test_information.json", {"images": test, "categories": categories})
    touch(raw, [f"train/{image['file_name']}" for image in images] + [f"test/{image['file_name']}" for image in test])
    write_table(raw / "sample_submission.csv", {"Id": [image["id"] for image in test], "Category": [0] * 30})


def naturalist(raw: Path) -> None:
    labels = draw(range(30), 150)
    images = [
        {"id": row, "file_name": f"train_val2019/Plants/{label}/{name}.jpg", "width": 8, "height": 8}
        for row, (label, name) in enumerate(zip(labels, hexes(150, 0), strict=True))
    ]
    annotations = [{"id": row, "image_id": row, "category_id": label} for row, label in enumerate(labels)]
    write_json(
        raw / "train2019.json",
        {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "x"}], "licenses": []},
    )
    test = [
        {"id": 900 + row, "file_name": f"test2019/{name}.jpg", "width": 8, "height": 8}
        for row, name in enumerate(hexes(30, 1))
    ]
    write_json(raw / "test2019.json", {"images": test, "licenses": []})
    touch(raw, [image["file_name"] for image in [*images, *test]])
    write_table(raw / "kaggle_sample_submission.csv", {"id": [image["id"] for image in test], "predicted": [0] * 30})


def records(raw: Path) -> None:
    """A bare list with the label, and one without it for the test set."""
    train = [
        {"image": f"{name}.png", "label": label} for name, label in zip(hexes(80, 0), draw(ANIMALS, 80), strict=True)
    ]
    test = [f"{name}.png" for name in hexes(20, 1)]
    touch(raw, [f"train/{row['image']}" for row in train] + [f"test/{name}" for name in test])
    write_json(raw / "train.json", train)
    write_json(raw / "test.json", [{"image": name} for name in test])
    write_table(raw / "sample_submission.csv", {"image": test, "label": ["fox"] * 20})


def records_under_images(raw: Path) -> None:
    train = [
        {"name": name, "class": label, "tags": ["x"]}
        for name, label in zip(hexes(80, 0), draw(ANIMALS, 80), strict=True)
    ]
    test = hexes(20, 1)
    touch(raw, [f"train/{row['name']}.png" for row in train] + [f"test/{name}.png" for name in test])
    write_json(raw / "train.json", {"images": train, "version": 2})
    write_table(raw / "sample_submission.csv", {"name": test, "class": ["fox"] * 20})


def latin_letters(raw: Path) -> None:
    """A table that is not UTF-8."""
    names = hexes(60, 0)
    touch(raw, [f"train/{name}.jpg" for name in names] + [f"test/{name}.jpg" for name in hexes(20, 1)])
    write_table(raw / "train.csv", {"id": names, "pays": draw(["Brésil", "Pérou", "Chili"], 60)}, encoding="latin-1")
    write_table(raw / "sample_submission.csv", {"id": hexes(20, 1), "pays": ["Chili"] * 20})


SEEN = [
    Layout(
        "one-hot, one folder for both splits",
        plant_pathology_2020,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image_id",
            task="multiclass",
            train__target=["healthy", "multiple_diseases", "rust", "scab"],
            train__image="images/{image_id}.jpg",
            test__image="images/{image_id}.jpg",
            submission__kind="class_probabilities",
        ),
    ),
    Layout(
        "labels in a cell, some alone, stub",
        plant_pathology_2021,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image",
            task="multilabel",
            train__target={"column": "labels", "separator": " "},
            train__image="train_images/{image}",
            test__image="test_images/{image}",
            submission__kind="label_list",
        ),
    ),
    Layout(
        "two eyes, grades",
        diabetic_retinopathy,
        facts(
            train__rows={"csv": "trainLabels.csv"},
            train__id="image",
            train__target="level",
            task="ordinal",
            train__image="train/{image}.jpeg",
            test__image="test/{image}.jpeg",
            submission__kind="label",
            submission__sample="sampleSubmission.csv",
        ),
        frozenset({"task"}),
    ),
    Layout(
        "two eyes, grades, with the evaluation page",
        diabetic_retinopathy,
        facts(
            train__rows={"csv": "trainLabels.csv"},
            train__id="image",
            train__target="level",
            task="ordinal",
            metric="qwk",
            train__image="train/{image}.jpeg",
            test__image="test/{image}.jpeg",
            submission__kind="label",
        ),
        pages={"Evaluation": "<p>Submissions are scored based on the <b>quadratic weighted kappa</b>.</p>"},
    ),
    Layout(
        "packed images, ids with suffix",
        cactus,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="id",
            train__target="has_cactus",
            task="binary",
            train__image="train/{id}",
            test__image="test/{id}",
            submission__kind="probability",
            archives=["train.zip", "test.zip"],
        ),
    ),
    Layout(
        "tif, whole numbers",
        histopathologic,
        facts(
            train__rows={"csv": "train_labels.csv"},
            train__id="id",
            train__target="label",
            task="binary",
            train__image="train/{id}.tif",
            test__image="test/{id}.tif",
            submission__kind="probability",
        ),
        frozenset({"submission.kind"}),
    ),
    Layout(
        "tif, with the evaluation page",
        histopathologic,
        facts(
            train__rows={"csv": "train_labels.csv"},
            train__id="id",
            train__target="label",
            task="binary",
            metric="roc_auc",
            train__image="train/{id}.tif",
            test__image="test/{id}.tif",
            submission__kind="probability",
        ),
        pages={"Evaluation": "Evaluated on area under the ROC curve between the predicted probability and the target."},
    ),
    Layout(
        "a folder a class beside a table",
        distracted_driver,
        facts(
            train__rows={"csv": "driver_imgs_list.csv"},
            train__id="img",
            train__target="classname",
            task="multiclass",
            train__group="subject",
            train__image="imgs/train/{classname}/{img}",
            test__image="imgs/test/{img}",
            submission__kind="class_probabilities",
        ),
        frozenset({"train.group"}),
    ),
    Layout(
        "tags, jpg and tif",
        amazon,
        facts(
            train__rows={"csv": "train_v2.csv"},
            train__id="image_name",
            train__target={"column": "tags", "separator": " "},
            task="multilabel",
            train__image="train-jpg/{image_name}.jpg",
            test__image="test-jpg/{image_name}.jpg",
            submission__kind="label_list",
            submission__sample="sample_submission_v2.csv",
        ),
        frozenset({"train.image"}),
    ),
    Layout(
        "four files an image",
        protein_atlas,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="Id",
            train__target={"column": "Target", "separator": " "},
            task="multilabel",
            train__image="train/{Id}_green.png",
            test__image="test/{Id}_green.png",
            submission__kind="label_list",
        ),
        frozenset({"train.image", "test.image"}),
        fails=True,
    ),
    Layout(
        "thumbnails of most images, stub",
        ovarian_cancer,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image_id",
            train__target="label",
            task="multiclass",
            train__image="train_images/{image_id}.png",
            test__image="test_images/{image_id}.png",
            submission__kind="label",
            submission__via="notebook",
        ),
    ),
    Layout(
        "ranks under another name, a label only in the sample",
        happy_whale,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image",
            train__target="individual_id",
            task="retrieval",
            train__unknown="new_individual",
            train__image="train_images/{image}",
            test__image="test_images/{image}",
            submission__kind="top_k",
            submission__top_k=5,
        ),
    ),
    Layout(
        "a row a patient in the sample",
        stroke_clots,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image_id",
            train__target="label",
            task="binary",
            train__group="patient_id",
            train__image="train/{image_id}.tif",
            test__image="test/{image_id}.tif",
            test__id="patient_id",
            test__rows={"csv": "test.csv"},
            submission__kind="class_probabilities",
        ),
        frozenset({"train.group"}),
    ),
    Layout(
        "a row a breast in the sample, a folder a patient",
        mammography,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image_id",
            train__target="cancer",
            task="binary",
            train__group="patient_id",
            train__image="train_images/{patient_id}/{image_id}.dcm",
            test__image="test_images/{patient_id}/{image_id}.dcm",
            test__rows={"csv": "test.csv"},
            test__id="prediction_id",
            submission__kind="probability",
        ),
        frozenset({"train.group"}),
        fails=True,
    ),
    Layout(
        "folders by label, an empty sample",
        paddy,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image_id",
            train__target="label",
            task="multiclass",
            train__image="train_images/{label}/{image_id}",
            test__image="test_images/{image_id}",
            submission__kind="label",
        ),
    ),
    Layout(
        "numbers, one folder, many features",
        leaves,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="id",
            train__target="species",
            task="multiclass",
            train__image="images/{id}.jpg",
            test__image="images/{id}.jpg",
            submission__kind="class_probabilities",
        ),
    ),
    Layout(
        "test images that only the rerun has",
        skin_crops,
        {},
        refused="the test images are in 1 HDF5 file, first: test-image.hdf5",
    ),
    Layout(
        "a mapping for a name, other id in the sample",
        sorghum,
        facts(
            train__rows={"csv": "train_cultivar_mapping.csv"},
            train__id="image",
            train__target="cultivar",
            task="multiclass",
            train__image="train_images/{image}",
            test__image="test/{image}".replace("image", "filename"),
            submission__kind="label",
        ),
    ),
    Layout(
        "folders by another column, ranks of numbers",
        hotels,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image",
            train__target="hotel_id",
            task="retrieval",
            train__image="train_images/{chain}/{image}",
            test__image="test_images/{image}",
            submission__kind="top_k",
            submission__top_k=5,
        ),
        frozenset({"task"}),
    ),
    Layout(
        "five rows an image",
        biomass,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="sample_id",
            train__target="target",
            task="regression",
            train__image="{image_path}",
            test__image="{image_path}",
            test__rows={"csv": "test.csv"},
            test__id="sample_id",
            submission__kind="value",
        ),
        fails=True,
    ),
    Layout(
        "everything packed, numbers in both splits",
        invasive_species,
        facts(
            train__rows={"csv": "train_labels.csv/train_labels.csv"},
            train__id="name",
            train__target="invasive",
            task="binary",
            train__image="train/{name}.jpg",
            test__image="test/{name}.jpg",
            submission__kind="probability",
            submission__sample="sample_submission.csv/sample_submission.csv",
            archives=["train.zip", "test.zip", "train_labels.csv.zip", "sample_submission.csv.zip"],
        ),
    ),
    Layout(
        "masks, grades in numbers and words, no test images",
        prostate_grades,
        facts(
            train__rows={"csv": "train.csv"},
            train__id="image_id",
            train__target="isup_grade",
            task="ordinal",
            train__image="train_images/{image_id}.tiff",
            submission__kind="label",
        ),
        frozenset({"task", "test.image"}),
        fails=True,
    ),
    Layout(
        "names with blanks, bars",
        chest_pathologies,
        facts(
            train__rows={"csv": "train_entry.csv"},
            train__id="Image Index",
            train__target={"column": "Finding Labels", "separator": "|"},
            task="multilabel",
            train__group="Patient ID",
            train__image="images/{Image Index}",
            test__image="images/{Image Index}",
            submission__kind="label_list",
            submission__separator="|",
        ),
        frozenset({"train.group"}),
    ),
    Layout(
        "folders of classes, numbered files",
        fish,
        facts(
            train__rows={"glob": "train/*/*.jpg", "pattern": "^train/(?P<label>[^/]+)/"},
            train__id="path",
            train__target="label",
            task="multiclass",
            train__image="{path}",
            test__image="test_stg1/{image}",
            submission__kind="class_probabilities",
            submission__sample="sample_submission_stg1.csv",
        ),
    ),
    Layout(
        "folders of classes in both splits, no sample",
        tumours,
        facts(
            train__rows={"glob": "Training/*/*.jpg", "pattern": "^Training/(?P<label>[^/]+)/"},
            train__id="path",
            train__target="label",
            task="multiclass",
            train__image="{path}",
        ),
        frozenset({"submission.sample", "train.rows"}),
    ),
    Layout(
        "packed folders of classes, the sample's id in its second column",
        cassava_packed,
        facts(
            train__rows={"glob": "train/*/*.jpg", "pattern": "^train/(?P<Category>[^/]+)/"},
            train__id="path",
            train__target="Category",
            task="multiclass",
            train__image="{path}",
            archives=["train.zip", "test.zip"],
        ),
        frozenset({"test.image"}),
        fails=True,
    ),
    Layout(
        "doubled folders",
        intel_scenes,
        facts(
            train__rows={"glob": "seg_train/seg_train/*/*.jpg", "pattern": "^seg_train/seg_train/(?P<label>[^/]+)/"},
            train__id="path",
            train__target="label",
            task="multiclass",
            train__image="{path}",
            test__image="seg_pred/seg_pred/{id}",
            submission__kind="label",
        ),
    ),
    Layout(
        "folders of classes, some deeper",
        deep_classes,
        facts(
            train__rows={"glob": "train/*/**/*.png", "pattern": "^train/(?P<flower>[^/]+)/"},
            train__id="path",
            train__target="flower",
            task="multiclass",
            train__image="{path}",
            test__image="test/{id}.png",
            submission__kind="label",
        ),
    ),
    Layout(
        "folders of classes, two formats",
        mixed_formats,
        facts(
            train__rows={"glob": "train/*/*", "pattern": "^train/(?P<label>[^/]+)/"},
            train__id="path",
            train__target="label",
            task="multiclass",
            train__image="{path}",
            test__image="test/{id}.png",
            submission__kind="class_probabilities",
        ),
    ),
    Layout(
        "folders that are no classes",
        patients_as_folders,
        facts(
            train__rows={"glob": "train/*/*.png", "pattern": r"/(?P<label>pos|neg)_\d+\.png$"},
            train__id="path",
            train__target="label",
            task="binary",
            train__image="{path}",
            test__image="test/{id}.png",
            submission__kind="probability",
        ),
        frozenset({"train.rows"}),
    ),
    Layout(
        "a number and the class",
        number_and_word,
        facts(
            train__rows={"glob": "train/*.jpg", "pattern": r"_(?P<tree>[a-z]+)\.jpg$"},
            train__id="path",
            train__target="tree",
            task="multiclass",
            train__image="{path}",
            test__image="test/{id}.jpg",
            submission__kind="label",
        ),
    ),
    Layout(
        "coco with categories, the sample has other names",
        camera_traps,
        facts(
            train__rows={"coco": "annotations/train.json"},
            train__id="image_id",
            train__target="category_id",
            task="multiclass",
            train__image="train/{file_name}",
            test__image="test/{Id}.jpg",
            submission__kind="label",
        ),
        frozenset({"train.group"}),
    ),
    Layout(
        "coco with paths",
        naturalist,
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
        ),
    ),
    Layout(
        "a JSON list",
        records,
        facts(
            train__rows={"records": "train.json"},
            train__id="image",
            train__target="label",
            task="multiclass",
            train__image="train/{image}",
            test__image="test/{image}",
            submission__kind="label",
        ),
    ),
    Layout(
        "a JSON object with a list of images",
        records_under_images,
        facts(
            train__rows={"records": "train.json"},
            train__id="name",
            train__target="class",
            task="multiclass",
            train__image="train/{name}.png",
            test__image="test/{name}.png",
            submission__kind="label",
        ),
    ),
    Layout(
        "another encoding",
        latin_letters,
        facts(
            train__rows={"csv": "train.csv", "encoding": "cp1252"},
            train__id="id",
            train__target="pays",
            task="multiclass",
            train__image="train/{id}.jpg",
            test__image="test/{id}.jpg",
            submission__kind="label",
        ),
    ),
]
