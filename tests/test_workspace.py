import errno
import os

import pandas as pd
import pytest

from kitsolve.errors import KitsolveError
from kitsolve.workspace import Workspace, read_csv, read_json, write_csv, write_json, write_text, write_whole


def test_a_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "text")
    assert (tmp_path / "a" / "b.txt").read_text() == "text"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(errno.EIO, "broken")])
def test_a_failure_while_writing_leaves_the_former_content(tmp_path, error):
    write_text(tmp_path / "file", "before")

    def half(file):
        file.write(b"hal")
        raise error

    with pytest.raises((KeyboardInterrupt, ValueError, OSError)):
        write_whole(tmp_path / "file", half)
    assert (tmp_path / "file").read_text() == "before"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_an_error_with_its_repair(tmp_path, number):
    def full(file):
        raise OSError(number, os.strerror(number))

    with pytest.raises(KitsolveError, match="disk is full") as caught:
        write_whole(tmp_path / "file", full)
    assert str(tmp_path) in caught.value.hint


def test_ids_survive_the_way_through_csv(tmp_path):
    table = pd.DataFrame({"image_id": ["0012", "1e5", "NA", "true", ""], "x": ["1", "", "nan", "ü", '"q",']})
    write_csv(tmp_path / "t.csv", table)
    assert read_csv(tmp_path / "t.csv").to_dict("list") == table.to_dict("list")


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfid\nx\n")
    assert list(read_csv(tmp_path / "t.csv")) == ["id"]


def test_json_keeps_values_and_refuses_nan(tmp_path):
    write_json(tmp_path / "v.json", {"a": [1, "ü"]})
    assert read_json(tmp_path / "v.json") == {"a": [1, "ü"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "v.json", {"a": float("nan")})


def test_the_roots_own_competition_wins_over_the_catalogues(tmp_path):
    workspace = Workspace(tmp_path)
    assert workspace.competition("digits").parent.name == "competitions"
    own = tmp_path / "competitions" / "digits"
    own.mkdir(parents=True)
    (own / "competition.toml").touch()
    assert workspace.competition("digits") == own


def test_an_unknown_competition_names_the_nearest(tmp_path):
    with pytest.raises(KitsolveError, match="'digit'") as caught:
        Workspace(tmp_path).competition("digit")
    assert "digits" in caught.value.hint
