"""inference.py: test rows, decoding, and what a submission may hold."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.inference import (
    Decoder,
    Split,
    SubmissionRules,
    check_submission,
    decode,
    find_images,
    join_rows,
    make_submission,
    read_rows,
)

SAMPLE = pd.DataFrame({"Id": ["007", "1e5"], "Predicted": ["", ""]})


def split(*files, id_="image_id"):
    return Split(image="{file_name}", files=files, id=id_, encoding="utf-8")


@pytest.mark.parametrize(
    "value",
    [
        [{"image_id": 7, "name": None, "boxes": [1, 2]}, {"image_id": 100000, "name": "é"}],
        {"images": [{"image_id": 7, "name": ""}, {"image_id": 100000, "name": "é"}], "licenses": []},
        {"image_id": [7, 100000], "name": ["", "é"]},
    ],
)
def test_json_of_any_shape_becomes_rows_of_text(tmp_path, value):
    (tmp_path / "rows.json").write_text(json.dumps(value))
    rows = read_rows(tmp_path / "rows.json")
    assert rows.to_dict("records") == [{"image_id": "7", "name": ""}, {"image_id": "100000", "name": "é"}]


def test_other_encodings_are_read(tmp_path):
    (tmp_path / "rows.json").write_bytes('[{"name": "é"}]'.encode("latin-1"))
    assert read_rows(tmp_path / "rows.json", "latin-1").name[0] == "é"
    (tmp_path / "rows.csv").write_bytes("﻿name\né\n".encode())
    assert list(read_rows(tmp_path / "rows.csv")) == ["name"]


def test_test_rows_are_joined_by_id_in_the_samples_order(tmp_path):
    (tmp_path / "test.json").write_text(
        '[{"image_id": "1e5", "file_name": "b.jpg"}, {"image_id": "007", "file_name": "a.jpg"}]'
    )
    rows = join_rows(SAMPLE, tmp_path, split("test.json"))
    assert rows.to_dict("records") == [
        {"Id": "007", "image_id": "007", "file_name": "a.jpg"},
        {"Id": "1e5", "image_id": "1e5", "file_name": "b.jpg"},
    ]


def test_without_files_the_sample_alone_has_the_rows(tmp_path):
    assert join_rows(SAMPLE, tmp_path, split()).equals(SAMPLE)


def test_an_id_that_no_file_has_is_named(tmp_path):
    (tmp_path / "test.csv").write_text("Id,file_name\n007,a.jpg\n")
    with pytest.raises(ValueError, match="test.csv lacks 1 of 2 ids, first: '1e5'"):
        join_rows(SAMPLE, tmp_path, split("test.csv", id_="Id"))
    with pytest.raises(ValueError, match="no column 'image_id'"):
        join_rows(SAMPLE, tmp_path, split("test.csv"))


def write_zip(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)


def write_tar(path, names):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))


@pytest.mark.parametrize("top", ["", "test/"])
@pytest.mark.parametrize(("name", "write"), [("test.zip", write_zip), ("test.tar.gz", write_tar)])
def test_images_inside_of_an_archive_are_unpacked_beside(tmp_path, name, write, top):
    write(tmp_path / name, [f"{top}1.jpg", f"{top}2.jpg"])
    found = find_images(tmp_path, ["test/2.jpg", "test/1.jpg", "else/3.jpg"], [name, "train.zip"], tmp_path / "scratch")
    assert [path.read_text() for path in found[:2]] == [f"{top}2.jpg", f"{top}1.jpg"]
    assert found[2] == tmp_path / "else" / "3.jpg"
    assert not (tmp_path / "test").exists()


def test_what_is_unpacked_already_is_taken_as_it_is(tmp_path):
    write_zip(tmp_path / "test.zip", ["1.jpg"])
    (tmp_path / "test").mkdir()
    assert find_images(tmp_path, ["test/1.jpg"], ["test.zip"], tmp_path / "x") == [tmp_path / "test" / "1.jpg"]


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_the_classes_of_an_ordinal_task_have_probabilities_that_sum_to_one(cumulative):
    probs = decode(np.array([cumulative], dtype=np.float32), Decoder("ordinal"), "probs")
    assert probs.shape == (1, 5)
    assert (probs >= 0).all()
    assert probs.sum() == pytest.approx(1)


def test_an_ordinal_class_is_the_number_of_steps_that_were_taken():
    outputs = np.array([[0.9, 0.8, 0.1], [0.1, 0.0, 0.0], [1.0, 1.0, 0.9]])
    assert decode(outputs, Decoder("ordinal"), "labels").tolist() == [2, 0, 3]
    assert decode(outputs, Decoder("ordinal", thresholds=(0.05, 0.05, 2.95)), "labels").tolist() == [2, 2, 2]


def test_a_value_stays_within_its_bounds():
    decoder = Decoder("regression", scale=(1, 99), bounds=(1, 100))
    assert decode(np.array([[0.0], [0.5], [1.2]]), decoder, "values").tolist() == [1, 50.5, 100]


def test_probabilities_are_clipped_and_still_sum_to_one():
    outputs = np.array([[1.0, 0.0], [0.5, 0.5]])
    probs = decode(outputs, Decoder("binary", clip=0.005), "probs")
    np.testing.assert_allclose(probs, [[0.995, 0.005], [0.5, 0.5]])


@given(st.integers(1, 8), st.integers(1, 12))
def test_a_ranking_is_sorted_and_names_no_class_twice(top_k, classes):
    outputs = np.random.default_rng(top_k * 100 + classes).dirichlet(np.ones(classes), 5)
    ranks = decode(outputs, Decoder("retrieval", top_k=top_k), "ranking")
    assert ranks.shape == (5, min(top_k, classes))
    for row, probs in zip(ranks, outputs, strict=True):
        assert len(set(row)) == len(row)
        assert list(probs[row]) == sorted(probs, reverse=True)[: len(row)]


LISTS = SubmissionRules("label_list", "s.csv", ("a", "b - c", "d"), separator="|")
RANKS = SubmissionRules("top_k", "s.csv", ("w1", "w2"), top_k=2, unknown="new")
VALUES = SubmissionRules("value", "s.csv", ("v",), bounds=(1, 100))


def test_label_lists_and_ranks_are_written_in_their_own_words():
    sets = np.array([[True, True, False], [False, False, False]])
    assert make_submission(SAMPLE, sets, LISTS).Predicted.tolist() == ["a|b - c", ""]
    assert make_submission(SAMPLE, np.array([[1, 2], [2, 0]]), RANKS).Predicted.tolist() == ["w2 new", "new w1"]


@pytest.mark.parametrize(
    ("rules", "cells", "problem"),
    [
        (LISTS, ["a|d", "a|x"], r"row 3, id '1e5': 'x' is none of the classes"),
        (LISTS, ["a|a", "d"], r"row 2, id '007': 'a\|a' names a class twice"),
        (RANKS, ["w1 w2", ""], r"row 3, id '1e5': there is no class"),
        (RANKS, ["w1 w2 new", "w1"], r"row 2, id '007': .* more than 2"),
        (VALUES, ["1", "100.5"], r"row 3, id '1e5': \['100.5'\] is not within 1 and 100"),
        (VALUES, ["", "3"], r"row 2, id '007': \[''\] is not within"),
        (SubmissionRules("value", "s.csv"), ["inf", "3"], r"row 2, id '007': \['inf'\] is not within"),
    ],
)
def test_what_kaggle_would_refuse_is_refused_by_row(rules, cells, problem):
    with pytest.raises(ValueError, match=problem):
        check_submission(SAMPLE.assign(Predicted=cells), SAMPLE, rules)


@pytest.mark.parametrize(
    ("rules", "cells"),
    [
        (LISTS, ["", "d|a"]),
        (RANKS, ["new w1", "w2"]),
        (VALUES, ["1", "99.99"]),
        (SubmissionRules("prepare:submission", "s.csv"), ["?", ""]),
    ],
)
def test_what_kaggle_takes_is_passed(rules, cells):
    check_submission(SAMPLE.assign(Predicted=cells), SAMPLE, rules)
