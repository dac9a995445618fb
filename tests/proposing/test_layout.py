import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from kitsolve.data.archives import unpack_nested
from kitsolve.proposing.layout import describe_images, place_of, read_layout


def write_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def pack_zip(archive: Path, *names: str) -> None:
    with zipfile.ZipFile(archive, "w") as packed:
        for name in names:
            packed.writestr(name, name)


def pack_tar(archive: Path, *names: str) -> None:
    scratch = archive.with_name("scratch")
    write_files(scratch, *names)
    with tarfile.open(archive, "w:gz") as packed:
        for name in names:
            packed.add(scratch / name, arcname=name)
    shutil.rmtree(scratch)


def pack_7z(archive: Path, *names: str) -> None:
    py7zr = pytest.importorskip("py7zr")
    with py7zr.SevenZipFile(archive, "w") as packed:
        for name in names:
            packed.writestr(name, name)


def listed(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("suffix", "pack"), [(".zip", pack_zip), (".tar.gz", pack_tar), (".7z", pack_7z)])
@pytest.mark.parametrize(
    "members",
    [
        ("train/1.jpg", "train/2.jpg"),
        ("1.jpg", "a/2.jpg"),
        ("images/1.jpg", "images/2.jpg"),
        ("train/1.jpg", "other.txt"),
        ("train",),
    ],
)
def test_a_packed_file_is_listed_where_unpacking_puts_it(suffix, pack, members, tmp_path):
    pack(tmp_path / f"train{suffix}", *members)
    layout = read_layout(tmp_path)
    unpack_nested(tmp_path, [f"train{suffix}"])
    assert set(layout.files) == listed(tmp_path)


@pytest.mark.parametrize(("suffix", "pack"), [(".zip", pack_zip), (".tar.gz", pack_tar), (".7z", pack_7z)])
def test_a_packed_file_can_be_placed_alone(suffix, pack, tmp_path):
    pack(tmp_path / f"data{suffix}", "data/a.csv", "data/b/c.csv")
    place = read_layout(tmp_path).place("data/b/c.csv", tmp_path / "scratch")
    assert place.read_text() == "data/b/c.csv"
    assert listed(tmp_path / "scratch") == {"data/b/c.csv"}


def test_a_file_that_lies_there_is_its_own_place(tmp_path):
    write_files(tmp_path, "train.csv")
    assert read_layout(tmp_path).place("train.csv", tmp_path / "scratch") == tmp_path / "train.csv"


def test_an_archive_beside_its_folder_counts_as_unpacked(tmp_path):
    pack_zip(tmp_path / "train.zip", "train/1.jpg", "train/2.jpg")
    write_files(tmp_path, "train/1.jpg")
    assert set(read_layout(tmp_path).files) == {"train/1.jpg"}


def test_hidden_files_are_left_out(tmp_path):
    write_files(tmp_path, ".DS_Store", ".git/config", "__MACOSX/1.jpg", "train/.hidden.jpg", "train/1.jpg")
    pack_zip(tmp_path / "test.zip", "test/1.jpg", "test/.DS_Store", "../outside.jpg")
    assert set(read_layout(tmp_path).files) == {"train/1.jpg", "test/test/1.jpg"}


def test_a_broken_archive_is_a_note(tmp_path):
    (tmp_path / "train.zip").write_bytes(b"PK")
    assert "train.zip cannot be looked into" in read_layout(tmp_path).notes[0]


def test_archives_are_named_by_what_is_needed_of_them(tmp_path):
    pack_zip(tmp_path / "train.zip", "train/1.jpg")
    pack_zip(tmp_path / "masks.zip", "masks/1.png")
    assert read_layout(tmp_path).archives_of(["train/1.jpg", "nowhere.jpg"]) == ["train.zip"]


@pytest.mark.parametrize(
    ("name", "place"), [("a/train.zip", "a/train"), ("x.tar.gz", "x"), ("labels.csv.zip", "labels.csv")]
)
def test_the_place_of_an_archive_is_its_name_without_the_suffix(name, place):
    assert place_of(name) == place


def test_images_are_counted_by_format_and_folder(tmp_path):
    write_files(tmp_path, "train/1.jpg", "train/2.JPG", "test/3.png", "notes.txt")
    assert describe_images(read_layout(tmp_path)) == "2 .jpg, 1 .png; in train (2), test (1)"
