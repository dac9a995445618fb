import shutil
import zipfile

import pytest

from kitsolve.data.fetch import fetch
from kitsolve.errors import KitsolveError


def test_another_source_is_refused_and_taken_by_force(fetched):
    first, other = fetched.root / "download", fetched.root / "other"
    shutil.copytree(first, other)
    assert fetch(fetched, "shades", source=other).train_rows == 36, "the same files elsewhere are the same data"
    table = other / "train.csv"
    table.write_text(table.read_text().replace("0001,dark", "0001,grey"))
    with pytest.raises(KitsolveError, match=f"was filled from {first}") as caught:
        fetch(fetched, "shades", source=other)
    assert f"--force to take {other}" in caught.value.hint
    fetch(fetched, "shades", source=other, force=True)
    assert "0001,grey" in (fetched.raw("shades") / "train.csv").read_text()
    assert fetch(fetched, "shades", source=other).train_rows == 36


def test_a_source_whose_table_was_corrected_is_noticed(fetched):
    table = fetched.root / "download" / "train.csv"
    content = table.read_text()
    table.unlink()
    table.write_text(content.replace("0001,dark", "0001,grey"))  # as long as before
    with pytest.raises(KitsolveError, match="download has changed since"):
        fetch(fetched, "shades", source=fetched.root / "download")


def test_an_image_that_came_or_went_is_noticed(fetched):
    (fetched.root / "download" / "test" / "t000.png").unlink()
    with pytest.raises(KitsolveError, match="download has changed since"):
        fetch(fetched, "shades", source=fetched.root / "download")


def test_an_archive_is_known_again_under_another_name(shades):
    archive = shades.root / "one.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((shades.root / "download").rglob("*.*")):
            file.write(path, path.relative_to(shades.root / "download"))
    fetch(shades, "shades", source=archive)
    fetch(shades, "shades", source=archive.rename(shades.root / "two.zip"))
    with pytest.raises(KitsolveError, match="was filled from"):
        fetch(shades, "shades", source=shades.root / "download")


def test_raw_files_of_an_older_version_are_not_answered_with(fetched):
    (fetched.raw("shades").parent / ".shades.origin.json").unlink()
    with pytest.raises(KitsolveError, match="not on record what it was filled from"):
        fetch(fetched, "shades", source=fetched.root / "download")
    assert fetch(fetched, "shades").train_rows == 36
