"""Layouts that no facts can say, a generated one of each kind: refused by name, never read as classes."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import draw, hexes, touch, write_table

from kitsolve.errors import KitsolveError
from kitsolve.proposing.containers import CONTAINERS
from kitsolve.proposing.detect import propose


def lay_images(raw: Path, rows: int) -> tuple[list[str], list[str]]:
    """Train and test images, and their ids."""
    train, test = hexes(rows, 0), hexes(8, 1)
    touch(raw, [f"train/{name}.jpg" for name in train] + [f"test/{name}.jpg" for name in test])
    return train, test


def runs(rng: np.random.Generator) -> str:
    starts = np.sort(rng.choice(90_000, size=int(rng.integers(2, 7)), replace=False))
    return " ".join(f"{start} {rng.integers(1, 9)}" for start in starts)


def run_lengths(raw, rows, rng):
    train, test = lay_images(raw, rows)
    write_table(raw / "train.csv", {"id": train, "kind": draw("abc", rows), "where": [runs(rng) for _ in train]})
    write_table(raw / "sample_submission.csv", {"id": test, "predicted": [""] * 8})


def run_lengths_by_name(raw, rows, rng):
    train, test = lay_images(raw, rows)
    write_table(raw / "train.csv", {"id": train, "rle": [runs(rng) for _ in train], "ClassId": draw("123", rows)})
    write_table(raw / "sample_submission.csv", {"id": test, "rle": ["1 1"] * 8, "ClassId": [1] * 8})


def polygons(raw, rows, rng):
    train, test = lay_images(raw, rows)
    cells = [f"POLYGON (({a} {b}, {b} {a}, 3 4))" for a, b in rng.integers(0, 900, (rows, 2))]
    write_table(raw / "train.csv", {"id": train, "organ": draw("ab", rows), "shape": cells})
    write_table(raw / "sample_submission.csv", {"id": test, "outline": [""] * 8})


def boxes(raw, rows, rng):
    train, test = lay_images(raw, rows)
    names = [name for name in train for _ in range(2)]
    corners = dict(zip(("x_min", "y_min", "x_max", "y_max"), rng.integers(0, 900, (4, 2 * rows)).tolist(), strict=True))
    write_table(raw / "train.csv", {"id": names, "finding": draw("abc", 2 * rows), **corners})
    write_table(raw / "sample_submission.csv", {"id": test, "result": [""] * 8})


def boxes_in_a_cell(raw, rows, rng):
    train, test = lay_images(raw, rows)
    names = [name for name in train for _ in range(2)]
    cells = [str(list(map(float, box))) for box in rng.integers(0, 900, (2 * rows, 4))]
    write_table(raw / "train.csv", {"id": names, "source": draw("abc", 2 * rows), "bbox": cells})
    write_table(raw / "sample_submission.csv", {"id": test, "PredictionString": ["1.0 0 0 5 5"] * 8})


def boxes_beside(raw, rows, rng):
    names = hexes(rows, 0)
    touch(raw, [f"images/{name}.jpg" for name in names] + [f"labels/{name}.txt" for name in names])


def masks(raw, rows, rng):
    names = hexes(rows, 0)
    touch(raw, [f"images/{name}.png" for name in names] + [f"masks/{name}_mask.gif" for name in names])


def pairs(raw, rows, rng):
    train, test = lay_images(raw, rows)
    write_table(raw / "train.csv", {"one": train, "other": train[::-1], "same": draw("01", rows)})
    write_table(raw / "sample_submission.csv", {"pair": [f"{test[0]}-{name}" for name in test[1:]], "same": [0] * 7})


def embeddings(raw, rows, rng):
    train, test = lay_images(raw, rows)
    write_table(raw / "train.csv", {"id": train, "prompt": [f"a picture of {name}" for name in train]})
    ids = [f"{name}_{number}" for name in test for number in range(40)]
    write_table(raw / "sample_submission.csv", {"id": ids, "value": [0.1] * len(ids)})


def bags(raw, rows, rng):
    train, test = lay_images(raw, rows)
    shops = [f"s{row // 3}" for row in range(rows)]
    write_table(raw / "train_links.csv", {"photo": train, "shop": shops})
    write_table(raw / "train.csv", {"shop": sorted(set(shops)), "label": draw("ab", len(set(shops)))})
    write_table(raw / "sample_submission.csv", {"shop": ["t1", "t2"], "label": ["a", "a"]})


def several_answers(raw, rows, rng):
    train, test = lay_images(raw, rows)
    columns = {"age": rng.integers(1, 90, rows), "sex": draw("01", rows), "race": draw("01234", rows)}
    write_table(raw / "train.csv", {"id": train, **columns})
    write_table(raw / "sample_submission.csv", {"id": test, "age": [30] * 8, "sex": [0] * 8, "race": [0] * 8})


def several_numbers(raw, rows, rng):
    train, test = lay_images(raw, rows)
    columns = {f"X{name}_{what}": rng.normal(size=rows) for name in (4, 11, 18) for what in ("mean", "sd")}
    write_table(raw / "train.csv", {"id": train, **columns})
    write_table(raw / "sample_submission.csv", {"id": test, **{f"X{name}": [1.0] * 8 for name in (18, 4, 11)}})


def lines_for_answers(raw, rows, rng):
    train, test = lay_images(raw, rows)
    kinds = ("any", "left", "right")
    ids = [f"{name}_{kind}" for name in train for kind in kinds]
    write_table(raw / "train.csv", {"ID": ids, "Label": draw("01", len(ids))})
    ids = [f"{name}_{kind}" for name in test for kind in kinds]
    write_table(raw / "sample_submission.csv", {"ID": ids, "Label": [0.5] * len(ids)})


def pixel_columns(raw, rows, rng):
    pixels = {f"{number}": rng.integers(0, 256, rows) for number in range(100)}
    write_table(raw / "train.csv", {"letter": draw("abc", rows), **pixels})
    write_table(raw / "sample_submission.csv", {"ImageId": range(1, 9), "letter": ["a"] * 8})


def pixels_in_a_cell(raw, rows, rng):
    cells = [" ".join(map(str, rng.integers(0, 256, 100))) for _ in range(rows)]
    write_table(raw / "faces.csv", {"emotion": draw("0123", rows), "pixels": cells, "Usage": ["Training"] * rows})


def parts(raw, rows, rng):
    touch(raw, [f"train.zip.{number:03d}" for number in range(1, 4)])
    write_table(raw / "train.csv", {"id": hexes(rows, 0), "label": draw("ab", rows)})


def encrypted(raw, rows, rng):
    py7zr = pytest.importorskip("py7zr")
    with py7zr.SevenZipFile(raw / "train.7z", "w", password="x", header_encryption=bool(rng.integers(2))) as packed:
        packed.writestr(b"abc", "train/a.jpg")
    write_table(raw / "train.csv", {"id": hexes(rows, 0), "label": draw("ab", rows)})


def damaged(raw, rows, rng):
    with zipfile.ZipFile(raw / "train.zip", "w") as packed:
        packed.writestr("a.jpg", b"abc" * 99)
    (raw / "train.zip").write_bytes((raw / "train.zip").read_bytes()[: int(rng.integers(1, 200))])


def text(raw, rows, rng):
    write_table(raw / "train.csv", {"id": range(rows), "comment": ["what a nice day it is today"] * rows})


def unlabelled(raw, rows, rng):
    train, test = lay_images(raw, rows)
    write_table(raw / "train.csv", {"id": train, "url": [f"https://any.org/{name}.jpg" for name in train]})
    write_table(raw / "sample_submission.csv", {"id": test, "tags": ["1 2"] * 8})


KINDS = {
    run_lengths: "segmentation",
    run_lengths_by_name: "segmentation",
    polygons: "segmentation",
    boxes: "detection",
    boxes_in_a_cell: "detection",
    boxes_beside: "boxes or outlines",
    masks: "segmentation",
    pairs: "pair of images",
    embeddings: "40 numbers an image",
    bags: "bags of images",
    several_answers: "3 answers an image: age",
    several_numbers: "3 answers an image: X18",
    lines_for_answers: "3 lines an image",
    pixel_columns: "pixels in the 100 columns",
    pixels_in_a_cell: "pixels in the cells of the column 'pixels'",
    parts: "train.zip came in 3 parts",
    encrypted: "is encrypted",
    damaged: "cannot be looked into",
    text: "but text",
    unlabelled: "no column that could be their label",
}


@given(kind=st.sampled_from(list(KINDS)), rows=st.integers(15, 40), seed=st.integers(0, 2**32))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_no_facts_can_say_is_refused_by_its_name_with_a_way_out(kind, rows, seed, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    kind(raw, rows, np.random.default_rng(seed))
    with pytest.raises(KitsolveError) as caught:
        propose(raw, "any")
    assert KINDS[kind] in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize(("what", "suffix"), [(what, end) for what, ends in CONTAINERS.items() for end in ends])
def test_images_in_other_containers_are_named_with_their_number(what, suffix, tmp_path):
    touch(tmp_path, [f"data/train_{number}{suffix}" for number in range(3)])
    write_table(tmp_path / "train.csv", {"id": hexes(20, 0), "label": draw("ab", 20)})
    with pytest.raises(KitsolveError, match=f"no image files, but 3 {what} files, first: data/train_0"):
        propose(tmp_path, "any")


def test_classes_beside_boxes_masks_or_runs_are_no_segmentation_where_the_sample_asks_for_them(tmp_path):
    train, test = lay_images(tmp_path, 30)
    touch(tmp_path, [f"train_masks/{name}_mask.png" for name in train])
    cells = {"id": train, "grade": draw("abc", 30), "rle": [runs(np.random.default_rng(row)) for row in range(30)]}
    write_table(tmp_path / "train.csv", cells)
    write_table(tmp_path / "sample_submission.csv", {"id": test, "grade": ["a"] * 8})
    proposal = propose(tmp_path, "any")
    assert not proposal.problems
    assert next(fact.value for fact in proposal.facts if fact.key == "target") == "grade"


def test_an_encrypted_archive_beside_sound_data_hides_nothing(tmp_path):
    py7zr = pytest.importorskip("py7zr")
    train, test = lay_images(tmp_path, 30)
    write_table(tmp_path / "train.csv", {"id": train, "label": draw("abc", 30)})
    write_table(tmp_path / "sample_submission.csv", {"id": test, "label": ["a"] * 8})
    with py7zr.SevenZipFile(tmp_path / "stage2.7z", "w", password="x", header_encryption=True) as packed:
        packed.writestr(b"abc", "stage2/a.jpg")
    proposal = propose(tmp_path, "any")
    assert not proposal.problems
    assert "stage2.7z is encrypted" in proposal.found["left out"]
