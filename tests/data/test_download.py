"""`kitsolve fetch` from Kaggle: whatever breaks, the raw folder is whole or not there."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import write_shades
from fake_kaggle import zipped

from kitsolve.data.fetch import fetch
from kitsolve.errors import KitsolveError
from kitsolve.workspace import Workspace


@pytest.fixture
def shop(tmp_path, fake):
    """A workspace whose competition `shades` lies at Kaggle; gives both."""
    raw = write_shades(tmp_path / "root")
    members = {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*") if path.is_file()}
    fake.archive = zipped({**members, "filler.bin": os.urandom(3 << 20)})
    fake.files["shades"] = [(name, len(value)) for name, value in members.items()]
    return Workspace(tmp_path / "root"), fake


def leftovers(workspace):
    return sorted(path.name for path in (workspace.root / "workspace" / "raw").iterdir())


def test_a_competition_is_downloaded_unpacked_and_its_archive_removed(shop):
    workspace, fake = shop
    done = fetch(workspace, "shades")
    assert (done.train_rows, done.test_rows) == (36, 7)
    assert leftovers(workspace) == [".shades.origin.json", "shades"]
    calls = len(fake.log)
    assert fetch(workspace, "shades") == done
    assert len(fake.log) == calls, "a second call asks nothing"


def test_the_archive_stays_on_request(shop):
    workspace, fake = shop
    fetch(workspace, "shades", keep_archive=True)
    assert (workspace.download("shades") / "shades.zip").read_bytes() == fake.archive


def test_force_downloads_anew(shop):
    workspace, fake = shop
    fetch(workspace, "shades", keep_archive=True)
    fetch(workspace, "shades", force=True)
    assert len(fake.calls("storage")) == 2


def damage(content):
    """One byte in the middle of the last member; the size stays."""
    wrong = bytearray(content)
    wrong[len(content) // 2] ^= 1
    return bytes(wrong)


def test_wrong_bytes_of_the_right_size_are_downloaded_once_more(shop):
    workspace, fake = shop
    good, fake.archive = fake.archive, damage(fake.archive)
    fake.after_download = lambda: setattr(fake, "archive", good)
    fetch(workspace, "shades")
    assert fake.calls("storage") == [None, None]
    assert (workspace.raw("shades") / "filler.bin").stat().st_size == 3 << 20


def test_bytes_that_stay_wrong_leave_no_raw_folder(shop):
    workspace, fake = shop
    fake.archive = damage(fake.archive)
    with pytest.raises(KitsolveError, match="is damaged"):
        fetch(workspace, "shades")
    assert len(fake.calls("storage")) == 2
    assert not workspace.raw("shades").exists()


def test_too_small_a_disk_is_said_before_the_download(shop):
    workspace, fake = shop
    fake.files["shades"] = [("huge.bin", 10**17)]
    with pytest.raises(KitsolveError, match="GB are needed"):
        fetch(workspace, "shades")
    assert not fake.calls("storage")


def test_a_killed_download_goes_on_where_it_was(shop):
    workspace, fake = shop
    fake.stall_after.append(2 << 20)
    words = [sys.executable, "-m", "kitsolve.cli", "--root", str(workspace.root), "fetch", "shades"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    partial = workspace.download("shades") / "shades.zip"
    deadline = time.monotonic() + 60
    while not (partial.is_file() and partial.stat().st_size >= 2 << 20):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not workspace.raw("shades").exists()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("36 train and 7 test images")
    assert fake.calls("storage")[-1] == f"bytes={2 << 20}-"


def test_a_zip_on_this_disk_is_taken(shop, tmp_path):
    workspace, fake = shop
    (tmp_path / "mine.zip").write_bytes(fake.archive)
    assert fetch(workspace, "shades", source=tmp_path / "mine.zip").train_rows == 36
    assert not fake.log


def test_nested_archives_that_the_facts_name_are_unpacked(shop):
    workspace, fake = shop
    raw = workspace.root / "download"
    images = {path.name: path.read_bytes() for path in (raw / "train").iterdir()}
    rest = {path.relative_to(raw).as_posix(): path.read_bytes() for path in [*raw.glob("*.csv"), *raw.glob("test/*")]}
    fake.archive = zipped({**rest, "train.zip": zipped(images)})
    facts = workspace.root / "competitions" / "shades" / "competition.toml"
    facts.write_text('archives = ["train.zip"]\n' + facts.read_text())
    assert fetch(workspace, "shades").train_rows == 36
    assert not (workspace.raw("shades") / "train.zip").exists()


def test_a_file_that_is_no_archive_is_refused(shop, tmp_path):
    (tmp_path / "mine.txt").write_text("no")
    with pytest.raises(KitsolveError, match="no folder and no archive"):
        fetch(shop[0], "shades", source=tmp_path / "mine.txt")
