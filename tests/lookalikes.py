"""Look-alikes of twelve competitions: the layout that lies on disk after the download and its one outer zip.

Every quirk of the real files is there, the images are tiny, and what they show tells the label. The test images show
the classes in turn, in the order in which this file names them (whales as in train.csv, pets at random).
"""

from __future__ import annotations

import colorsys
import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

RGB = tuple[int, int, int]


def write_image(path: Path, colour: RGB | int, *, seed: int, size: tuple[int, int] = (32, 40)) -> None:
    """Noise around one colour, of the (height, width) `size`; a number gives a file with one grey channel."""
    noise = np.random.default_rng(seed).integers(-20, 21, size=(*size, 1))
    pixels = (np.atleast_1d(colour)[::-1] + noise).clip(0, 255).astype(np.uint8)  # cv2 writes BGR
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_images(raw: Path, template: str, ids: Sequence[object], colours: Sequence[RGB | int]) -> None:
    """An image for each id at the template's place; row n has colour n, and these go round."""
    for row, image_id in enumerate(ids):
        place = template.format(image_id)
        write_image(raw / place, colours[row % len(colours)], seed=zlib.crc32(place.encode()))


def hues(count: int) -> list[RGB]:
    """Colours of `count` classes."""
    colours = [colorsys.hsv_to_rgb(number / count, 0.75, 0.85) for number in range(count)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in colours]


def shades(count: int) -> list[int]:
    """Greys of `count` classes, from dark to bright."""
    return np.linspace(30, 225, count).round().astype(int).tolist()


def make_ids(count: int, *, seed: int, digits: int = 12) -> list[str]:
    """Hexadecimal names; the first and the last would be damaged as numbers: 000000000012, 0000000001e5."""
    rng = np.random.default_rng(seed)
    return ["12".zfill(digits), *(rng.bytes(8).hex()[:digits] for _ in range(count - 2)), "1e5".zfill(digits)]


def take_turns(labels: Sequence[object], count: int) -> list[object]:
    """`count` labels, again and again from the first."""
    return [labels[row % len(labels)] for row in range(count)]


def write_table(path: Path, **columns: object) -> None:
    """A CSV file; None is an empty cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)


def write_decoys(raw: Path, *names: str) -> None:
    """Files that nobody can read, under names that look useful."""
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(b"decoy")


def pack(folder: Path) -> None:
    """Replace the folder by an archive of the same name that holds it."""
    shutil.make_archive(str(folder), "zip", root_dir=folder.parent, base_dir=folder.name)
    shutil.rmtree(folder)


def write_cassava(raw: Path, train: int = 40) -> None:
    """Ids that hold .jpg, a stub of one test image, tfrecords."""
    ids = [f"{1000015157 + 201193 * row}.jpg" for row in range(train)]
    write_images(raw, "train_images/{}", ids, hues(5))
    write_images(raw, "test_images/{}", ["2216849948.jpg"], hues(5))
    write_table(raw / "train.csv", image_id=ids, label=take_turns(range(5), train))
    write_table(raw / "sample_submission.csv", image_id=["2216849948.jpg"], label=4)
    (raw / "label_num_to_disease_map.json").write_text(json.dumps({"0": "Blight", "4": "Healthy"}))
    write_decoys(raw, "train_tfrecords/ld_train00-1338.tfrec", "test_tfrecords/ld_test00-1.tfrec")


def write_aptos(raw: Path, train: int = 40, test: int = 6) -> None:
    """Grades from dark to bright; sizes vary widely."""
    ids = make_ids(train + test, seed=1)
    sizes = np.random.default_rng(1).integers(10, 49, size=(train + test, 2)).tolist()
    reds = [(red, 60, 30) for red in shades(5)]
    for number, (id_code, size) in enumerate(zip(ids, sizes, strict=True)):
        folder, row = ("train_images", number) if number < train else ("test_images", number - train)
        write_image(raw / folder / f"{id_code}.png", reds[row % 5], seed=number, size=tuple(size))
    write_table(raw / "train.csv", id_code=ids[:train], diagnosis=take_turns(range(5), train))
    write_table(raw / "test.csv", id_code=ids[train:])
    write_table(raw / "sample_submission.csv", id_code=ids[train:], diagnosis=0)


# Sorting would change their order, which is that of the sample's columns.
BREEDS = (
    "wire-haired_fox_terrier",
    "american_staffordshire_terrier",
    "shih-tzu",
    "black-and-tan_coonhound",
    "german_short-haired_pointer",
    "affenpinscher",
)


def write_dogs(raw: Path, train: int = 48, test: int = 7) -> None:
    """labels.csv instead of train.csv, no test.csv, a column for each breed in the sample."""
    ids = make_ids(train + test, seed=2)
    write_images(raw, "train/{}.jpg", ids[:train], hues(len(BREEDS)))
    write_images(raw, "test/{}.jpg", ids[train:], hues(len(BREEDS)))
    write_table(raw / "labels.csv", id=ids[:train], breed=take_turns(BREEDS, train))
    write_table(raw / "sample_submission.csv", id=ids[train:], **dict.fromkeys(BREEDS, 1 / len(BREEDS)))


def write_dogs_vs_cats(raw: Path, each: int = 18, test: int = 8) -> None:
    """Nested archives, the label in the file name, numbers that repeat across the classes."""
    cat, dog = hues(2)
    write_images(raw, "train/cat.{}.jpg", range(each), [cat])
    write_images(raw, "train/dog.{}.jpg", range(each), [dog])
    write_images(raw, "test/{}.jpg", range(1, test + 1), [cat, dog])
    pack(raw / "train")
    pack(raw / "test")
    write_table(raw / "sample_submission.csv", id=range(1, test + 1), label=0.5)


SPECIES = (
    "Black-grass",
    "Charlock",
    "Cleavers",
    "Common Chickweed",
    "Common wheat",
    "Fat Hen",
    "Loose Silky-bent",
    "Maize",
    "Scentless Mayweed",
    "Shepherds Purse",
    "Small-flowered Cranesbill",
    "Sugar beet",
)


def write_seedlings(raw: Path, each: int = 5, test: int = 8) -> None:
    """No train.csv: the folder is the class."""
    files = [f"{name}.png" for name in make_ids(each * len(SPECIES) + test, seed=3, digits=9)]
    for number, (species, colour) in enumerate(zip(SPECIES, hues(len(SPECIES)), strict=True)):
        write_images(raw, f"train/{species}/{{}}", files[number * each : (number + 1) * each], [colour])
    write_images(raw, "test/{}", files[-test:], hues(len(SPECIES)))
    write_table(raw / "sample_submission.csv", file=files[-test:], species="Sugar beet")


# Label -> which of four kinds of images have it.
CATHETERS = {
    "ETT - Abnormal": (1, 0, 0, 0),
    "ETT - Borderline": (0, 1, 0, 0),
    "ETT - Normal": (0, 0, 1, 0),
    "NGT - Abnormal": (0, 0, 0, 1),
    "NGT - Borderline": (0, 0, 1, 0),
    "NGT - Incompletely Imaged": (0, 1, 0, 0),
    "NGT - Normal": (1, 0, 0, 0),
    "CVC - Abnormal": (1, 0, 0, 1),
    "CVC - Borderline": (0, 1, 0, 0),
    "CVC - Normal": (0, 0, 1, 1),
    "Swan Ganz Catheter Present": (0, 0, 0, 1),
}


def write_catheters(raw: Path, train: int = 60, test: int = 6) -> None:
    """Grey files, 11 columns of labels, two images a patient, annotations, tfrecords, no test.csv."""
    uids = [f"1.2.826.0.1.3680043.8.498.{260 + 7919 * number}" for number in range(train + test)]
    write_images(raw, "train/{}.jpg", uids[:train], shades(4))
    write_images(raw, "test/{}.jpg", uids[train:], shades(4))
    patients = [f"ec8{row % (train // 2):06d}" for row in range(train)]
    labels = {name: take_turns(has, train) for name, has in CATHETERS.items()}
    write_table(raw / "train.csv", StudyInstanceUID=uids[:train], **labels, PatientID=patients)
    write_table(raw / "sample_submission.csv", StudyInstanceUID=uids[train:], **dict.fromkeys(CATHETERS, 0))
    annotated = [uids[0], uids[0], uids[1]]  # an image has a row for each of its catheters
    write_table(raw / "train_annotations.csv", StudyInstanceUID=annotated, label="CVC - Abnormal", data="[[1, 2]]")
    write_decoys(raw, "train_tfrecords/00-1881.tfrec", "test_tfrecords/00-6.tfrec")


def write_melanoma(raw: Path, train: int = 50, test: int = 6) -> None:
    """Each image three times, columns that leak the target in train.csv, empty cells, two images a patient."""
    names = [f"ISIC_{15719 + 613 * number:07d}" for number in range(train + test)]
    benign, malignant = hues(2)
    colours = [malignant, benign, benign, benign]
    write_images(raw, "jpeg/train/{}.jpg", names[:train], colours)
    write_images(raw, "jpeg/test/{}.jpg", names[train:], colours)
    write_decoys(raw, *(f"{'train' if row < train else 'test'}/{name}.dcm" for row, name in enumerate(names)))
    write_decoys(raw, "tfrecords/train00-2071.tfrec", "tfrecords/test00-687.tfrec")
    patients = [f"IP_{number % (train // 2) if number < train else number:07d}" for number in range(len(names))]
    table = pd.DataFrame({"image_name": names, "patient_id": patients, **_describe_patients(len(names))})
    leaks = {
        "diagnosis": take_turns(["melanoma", "nevus", "unknown", "nevus"], train),
        "benign_malignant": take_turns(["malignant", "benign", "benign", "benign"], train),
    }
    table[:train].assign(**leaks, target=take_turns([1, 0, 0, 0], train)).to_csv(raw / "train.csv", index=False)
    table[train:].to_csv(raw / "test.csv", index=False)
    write_table(raw / "sample_submission.csv", image_name=names[train:], target=0)


def _describe_patients(count: int) -> dict[str, list[object]]:
    """Three columns with empty cells, which tell nothing about the target."""
    rng = np.random.default_rng(4)
    sites = ["head/neck", "upper extremity", "lower extremity", "torso", "palms/soles", None]
    return {
        "sex": rng.choice(np.array(["female", "male", None]), count, p=[0.5, 0.4, 0.1]).tolist(),
        "age_approx": [age or None for age in (rng.integers(0, 18, count) * 5.0).tolist()],
        "anatom_site_general_challenge": rng.choice(np.array(sites), count).tolist(),
    }


FLAGS = (
    "Subject Focus",
    "Eyes",
    "Face",
    "Near",
    "Action",
    "Accessory",
    "Group",
    "Collage",
    "Human",
    "Occlusion",
    "Info",
    "Blur",
)


def write_pets(raw: Path, train: int = 50, test: int = 6) -> None:
    """Scores from 1 to 100, the brighter the higher, in any order; 12 flags in both tables."""
    ids = make_ids(train + test, seed=5, digits=15)
    rng = np.random.default_rng(5)
    scores = [1, 100, *rng.integers(1, 101, size=train + test - 2).tolist()]
    colours = [(grey, grey, 90) for grey in np.array(shades(100))[np.array(scores) - 1].tolist()]
    write_images(raw, "train/{}.jpg", ids[:train], colours[:train])
    write_images(raw, "test/{}.jpg", ids[train:], colours[train:])
    table = pd.DataFrame({"Id": ids, **{flag: rng.integers(0, 2, size=train + test) for flag in FLAGS}})
    table[:train].assign(Pawpularity=scores[:train]).to_csv(raw / "train.csv", index=False)
    table[train:].to_csv(raw / "test.csv", index=False)
    write_table(raw / "sample_submission.csv", Id=ids[train:], Pawpularity=38.0)


def write_whales(raw: Path, whales: int = 12, strangers: int = 8, test: int = 7) -> None:
    """Whales with 1 to 3 images and new_whale; every fourth file has one grey channel, the others a blue tint."""
    known = [f"w_{name}" for name in make_ids(whales, seed=6, digits=7)]
    greys = dict(zip([*known, "new_whale"], shades(whales + 1), strict=True))
    seen = [name for number, name in enumerate(known) for _ in range(1 + number % 3)]
    labels = np.random.default_rng(6).permutation([*seen, *["new_whale"] * strangers]).tolist()
    colours = [grey if row % 4 == 0 else (grey, grey, grey + 25) for row, grey in enumerate(map(greys.get, labels))]
    images = [f"{name}.jpg" for name in make_ids(len(labels) + test, seed=7, digits=8)]
    write_images(raw, "train/{}", images[:-test], colours)
    write_images(raw, "test/{}", images[-test:], colours)
    write_table(raw / "train.csv", Image=images[:-test], Id=labels)
    write_table(raw / "sample_submission.csv", Image=images[-test:], Id=" ".join(["new_whale", *known[:4]]))


ATTRIBUTES = ("13", "448 13", "2", "1092 13 782", "782", "3301 2")


def write_works_of_art(raw: Path, train: int = 48, test: int = 6) -> None:
    """Several attributes in a cell, ids with gaps; labels.csv names one, 2000, that no row has."""
    ids = make_ids(train + test, seed=8, digits=15)
    write_images(raw, "train/{}.png", ids[:train], hues(len(ATTRIBUTES)))
    write_images(raw, "test/{}.png", ids[train:], hues(len(ATTRIBUTES)))
    names = [2, 13, 448, 782, 1092, 2000, 3301]
    write_table(raw / "train.csv", id=ids[:train], attribute_ids=take_turns(ATTRIBUTES, train))
    write_table(raw / "labels.csv", attribute_id=names, attribute_name=[f"tags::{name}" for name in names])
    write_table(raw / "sample_submission.csv", id=ids[train:], attribute_ids="2 13 448")


CATEGORIES = (0, 3, 4, 155, 2041, 9007, 15504)


def write_herbarium(raw: Path, each: int = 8, test: int = 7) -> None:
    """JSON tables, no two of them in the same order; category ids with gaps, of which the last has one image."""
    images, annotations = [], []
    for category, colour in zip(CATEGORIES, hues(len(CATEGORIES)), strict=True):
        digits = f"{category:05d}"
        ids = [f"{digits}__{number:03d}" for number in range(1 if category == CATEGORIES[-1] else each)]
        folder = f"{digits[:3]}/{digits[3:]}"
        write_images(raw, f"train_images/{folder}/{{}}.jpg", ids, [colour])
        images += [{"image_id": image_id, "file_name": f"{folder}/{image_id}.jpg"} for image_id in ids]
        annotations += [{"image_id": image_id, "category_id": category} for image_id in ids]
    (raw / "train_metadata.json").write_text(json.dumps({"annotations": annotations[::-1], "images": images}))
    names = [f"000/test-{number:06d}.jpg" for number in range(test)]
    write_images(raw, "test_images/{}", names, hues(len(CATEGORIES)))
    rows = [{"file_name": name, "image_id": str(number)} for number, name in enumerate(names)]
    (raw / "test_metadata.json").write_text(json.dumps(rows[::-1]))
    write_table(raw / "sample_submission.csv", Id=range(test), Predicted=0)


def write_signals(raw: Path, train: int = 40, test: int = 6) -> None:
    """Arrays in folders by the id's first character; old_leaky_data/ has the same names with the other label."""
    ids = make_ids(train + test, seed=9, digits=15)
    for number, image_id in enumerate(ids):
        split, row = ("train", number) if number < train else ("test", number - train)
        place = f"{split}/{image_id[0]}/{image_id}.npy"
        write_spectrogram(raw / place, signal=row % 2 == 1, seed=number)
        write_spectrogram(raw / "old_leaky_data" / place, signal=row % 2 == 0, seed=number)
    write_table(raw / "train_labels.csv", id=ids[:train], target=take_turns([0, 1], train))
    write_table(raw / "old_leaky_data" / "train_labels.csv", id=ids[:train], target=take_turns([1, 0], train))
    write_table(raw / "sample_submission.csv", id=ids[train:], target=0.5)


def write_spectrogram(path: Path, *, signal: bool, seed: int) -> None:
    """(6, 27, 25) float16 noise; a signal is a bright line in the panels 0, 2 and 4."""
    rng = np.random.default_rng(seed)
    panels = rng.normal(size=(6, 27, 25))
    if signal:
        left = int(rng.integers(3, 18))
        panels[::2, :, left : left + 4] += 5
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, panels.astype(np.float16))


LOOKALIKES: dict[str, Callable[[Path], None]] = {
    "cassava-leaf-disease-classification": write_cassava,
    "aptos2019-blindness-detection": write_aptos,
    "dog-breed-identification": write_dogs,
    "dogs-vs-cats-redux-kernels-edition": write_dogs_vs_cats,
    "plant-seedlings-classification": write_seedlings,
    "ranzcr-clip-catheter-line-classification": write_catheters,
    "siim-isic-melanoma-classification": write_melanoma,
    "petfinder-pawpularity-score": write_pets,
    "whale-categorization-playground": write_whales,
    "imet-2020-fgvc7": write_works_of_art,
    "herbarium-2022-fgvc9": write_herbarium,
    "seti-breakthrough-listen": write_signals,
}
"""Slug -> what writes its look-alike into an empty folder."""
