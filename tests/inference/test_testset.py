import io
import json
import tarfile
import zipfile

import pandas as pd
import pytest

from kitsolve.inference.bundle import (
    Split,
    SubmissionRules,
)
from kitsolve.inference.testset import find_images, image_paths, join_rows, read_rows, read_sample

LABELS = SubmissionRules("label", "sample.csv", ("a", "b", "c"))
SAMPLE = pd.DataFrame({"Id": ["007", "1e5"], "Predicted": ["", ""]})


def test_a_sample_with_the_same_id_twice_is_refused(tmp_path):
    (tmp_path / "sample.csv").write_text("id,label\nx,a\nx,a\n")
    with pytest.raises(ValueError, match="'x' twice"):
        read_sample(tmp_path, LABELS)


def test_a_template_may_use_a_part_of_a_column():
    rows = pd.DataFrame({"id": ["abc", "0012"]})
    assert image_paths(rows, "{id[0]}/{id}.npy") == ["a/abc.npy", "0/0012.npy"]
    with pytest.raises(ValueError, match="'name'"):
        image_paths(rows, "{name}.png")


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


def test_several_rows_of_an_id_are_told_where_they_differ(tmp_path):
    told = []
    (tmp_path / "test.csv").write_text("Id,file_name\n007,a.jpg\n007,a.jpg\n1e5,b.jpg\n")
    assert len(join_rows(SAMPLE, tmp_path, split("test.csv", id_="Id"), note=told.append)) == 2
    assert told == []
    (tmp_path / "test.csv").write_text("Id,file_name\n007,a.jpg\n007,c.jpg\n1e5,b.jpg\n")
    assert join_rows(SAMPLE, tmp_path, split("test.csv", id_="Id"), note=told.append).file_name.tolist()[0] == "a.jpg"
    assert told == ["test.csv has several rows for 1 ids, of which the first is taken; first: id '007'."]


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


def test_hidden_images_are_found_in_another_unicode_form_and_with_another_suffix(tmp_path):
    write_zip(tmp_path / "test.zip", ["Ka\u0308fer.JPG", "b.png"])  # decomposed, as macOS writes it
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.jpeg").touch()
    wanted = ["test/b.*", "test/Käfer.*", "more/c.*", "more/d.*"]
    found = find_images(tmp_path, wanted, ["test.zip"], tmp_path / "scratch")
    assert [path.name for path in found] == ["b.png", "Ka\u0308fer.JPG", "c.jpeg", "d.*"]
    assert found[1].is_file()
