import io
import tarfile
import zipfile

import pytest
from fake_kaggle import zipped

from kitsolve.data.archives import DamagedArchiveError, check_free, is_archive, unpack, unpack_nested
from kitsolve.errors import KitsolveError

MEMBERS = {"train/a.png": b"a" * 1000, "train/deep/b.png": b"b", "train.csv": b"id\n"}


def write_archive(path, members=MEMBERS):
    if path.name.endswith(".zip"):
        path.write_bytes(zipped(members))
    elif path.name.endswith(".7z"):
        import py7zr

        with py7zr.SevenZipFile(path, "w") as archive:
            for name, value in members.items():
                archive.writestr(value, name)
    else:
        mode = "w:gz" if path.name.endswith("gz") else "w"
        with tarfile.open(path, mode) as archive:
            for name, value in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(value)
                archive.addfile(member, io.BytesIO(value))
    return path


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tgz", "7z"])
def test_every_kind_of_archive_gives_its_members(tmp_path, suffix):
    archive = write_archive(tmp_path / f"all.{suffix}")
    assert is_archive(archive)
    unpack(archive, tmp_path / "target")
    assert files(tmp_path / "target") == MEMBERS


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "train/../../outside.txt", "..\\outside.txt"])
def test_a_zip_with_a_member_outside_writes_nothing_at_all(tmp_path, name):
    archive = write_archive(tmp_path / "evil.zip", {"good.txt": b"good", name: b"evil"})
    with pytest.raises(KitsolveError, match="outside of its folder: .*outside.txt"):
        unpack(archive, tmp_path / "target")
    assert not files(tmp_path / "target")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_with_a_member_outside_is_refused(tmp_path, suffix):
    archive = write_archive(tmp_path / f"evil.{suffix}", {"train/../../outside.txt": b"evil"})
    with pytest.raises(KitsolveError, match="outside of its folder"):
        unpack(archive, tmp_path / "target")
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_link_that_leads_outside_is_refused(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(KitsolveError, match="outside"):
        unpack(tmp_path / "evil.tar", tmp_path / "target")


@pytest.mark.parametrize("suffix", ["zip", "tar.gz", "7z"])
def test_a_cut_archive_is_damaged(tmp_path, suffix):
    archive = write_archive(tmp_path / f"cut.{suffix}", {"a.bin": bytes(range(256)) * 400})
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(DamagedArchiveError, match="is damaged"):
        unpack(archive, tmp_path / "target")


def test_a_zip_with_one_wrong_byte_is_damaged(tmp_path):
    archive = write_archive(tmp_path / "wrong.zip", {"a.bin": b"\0" * 5000})
    content = bytearray(archive.read_bytes())
    content[2000] ^= 1
    archive.write_bytes(content)
    assert zipfile.is_zipfile(archive)
    with pytest.raises(DamagedArchiveError, match="CRC"):
        unpack(archive, tmp_path / "target")


@pytest.mark.parametrize("suffix", ["zip", "tar.gz", "7z"])
@pytest.mark.parametrize("members", [{"a.png": b"a", "x/b.png": b"b"}, {"train/a.png": b"a", "train/x/b.png": b"b"}])
def test_a_nested_archive_becomes_its_folder_with_or_without_a_top_folder(tmp_path, suffix, members):
    (tmp_path / "inner").mkdir()
    write_archive(tmp_path / "inner" / f"train.{suffix}", members)
    unpack_nested(tmp_path, [f"inner/train.{suffix}"])
    assert files(tmp_path) == {"inner/train/a.png": b"a", "inner/train/x/b.png": b"b"}


def test_a_missing_nested_archive_is_named(tmp_path):
    with pytest.raises(KitsolveError, match="no archive 'train.zip'"):
        unpack_nested(tmp_path, ["train.zip"])


def test_too_little_room_is_said_before(tmp_path):
    check_free(tmp_path, 0)
    with pytest.raises(KitsolveError, match=r"1000000000\.0 GB are needed") as caught:
        check_free(tmp_path, 10**18)
    assert "--root" in caught.value.hint
