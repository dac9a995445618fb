import os

import pandas as pd
import pytest

from kitsolve.data import fetch as fetch_module
from kitsolve.data.fetch import fetch, read_train_table
from kitsolve.errors import KitsolveError
from kitsolve.workspace import Workspace, read_csv


def download(workspace):
    return workspace.root / "download"


def test_fetch_writes_the_three_tables(fetched):
    tables = fetched.tables("shades")
    assert list(read_csv(tables / "train.csv")) == ["image_id", "path", "shade"]
    assert list(read_csv(tables / "test.csv")) == ["image_id", "path"]
    folds = read_csv(tables / "folds.csv")
    assert list(folds) == ["image_id", "fold"]
    assert folds.fold.value_counts().to_dict() == {"0": 18, "1": 18}


def test_the_result_counts_rows_and_folds(shades):
    done = fetch(shades, "shades", source=download(shades))
    assert (done.train_rows, done.test_rows, done.folds) == (36, 7, 2)


def test_what_is_done_is_not_done_again(fetched, monkeypatch):
    monkeypatch.setattr(fetch_module, "check_images", lambda *_, **__: pytest.fail("images are checked again"))
    assert fetch(fetched, "shades").train_rows == 36


def test_changed_facts_make_the_tables_again(fetched):
    facts = fetched.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace("count  = 2", "count  = 3"))
    assert fetch(fetched, "shades").folds == 3
    assert read_train_table(fetched, "shades").fold.nunique() == 3


def test_force_takes_the_files_again(fetched):
    (download(fetched) / "train.csv").unlink()  # it is one file with the raw one
    (download(fetched) / "train.csv").write_text("image_id,shade\n" + "".join(f"{n:04d},dark\n" for n in range(4)))
    assert fetch(fetched, "shades").train_rows == 36
    assert fetch(fetched, "shades", source=download(fetched), force=True).train_rows == 4


def test_a_fetch_that_is_killed_leaves_no_raw_folder(shades, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_module, "link_or_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(shades, "shades", source=download(shades))
    assert not shades.raw("shades").exists()
    monkeypatch.undo()
    assert fetch(shades, "shades", source=download(shades)).train_rows == 36


def test_images_are_linked_where_the_disk_can(fetched):
    image = "train/0000.png"
    assert os.path.samefile(download(fetched) / image, fetched.raw("shades") / image)


def test_a_broken_image_stops_the_fetch_before_the_tables_count_as_made(shades):
    (download(shades) / "train" / "0003.png").write_bytes(b"")
    with pytest.raises(KitsolveError, match="0003.png is empty"):
        fetch(shades, "shades", source=download(shades))
    with pytest.raises(KitsolveError, match="not made yet"):
        read_train_table(shades, "shades")


def test_a_repaired_image_is_accepted_at_the_next_fetch(shades):
    good = (download(shades) / "train" / "0003.png").read_bytes()
    (download(shades) / "train" / "0003.png").write_bytes(b"")
    with pytest.raises(KitsolveError):
        fetch(shades, "shades", source=download(shades))
    (shades.raw("shades") / "train" / "0003.png").write_bytes(good)
    assert fetch(shades, "shades").train_rows == 36


def test_a_source_that_is_no_folder_is_an_error(shades):
    with pytest.raises(KitsolveError, match="is no folder"):
        fetch(shades, "shades", source=shades.root / "nowhere")


def test_digits_look_like_a_kaggle_competition(tmp_path):
    workspace = Workspace(tmp_path)
    done = fetch(workspace, "digits")
    raw = workspace.raw("digits")
    assert (done.train_rows, done.test_rows, done.folds) == (1437, 360, 5)
    assert sorted(path.name for path in raw.iterdir()) == ["sample_submission.csv", "test", "train", "train.csv"]
    sample, answers = pd.read_csv(raw / "sample_submission.csv"), pd.read_csv(workspace.answers("digits"))
    assert sample.image_id.tolist() == answers.image_id.tolist()
    assert set(sample.digit) == {0}
    share = read_csv(raw / "train.csv").digit.value_counts(normalize=True)
    assert (share - answers.digit.astype(str).value_counts(normalize=True)).abs().max() < 0.01


def test_a_finished_fetch_of_a_root_that_was_moved_says_where_the_files_are_now(fetched, tmp_path):
    moved = Workspace(fetched.root.rename(tmp_path.with_name("moved")))
    assert fetch(moved, "shades").raw == str(moved.raw("shades"))


def test_a_forced_fetch_that_fails_leaves_the_tables_as_they_are(fetched):
    with pytest.raises(KitsolveError, match="is no folder"):
        fetch(fetched, "shades", source=fetched.root / "nowhere", force=True)
    assert fetch(fetched, "shades").train_rows == 36
    assert len(read_train_table(fetched, "shades")) == 36
