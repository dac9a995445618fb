import os
import shutil

import pandas as pd
import pytest

from kitsolve.errors import KitsolveError
from kitsolve.submission.bundle import find_bundle
from kitsolve.submission.predict import keep_or_predict, predict
from kitsolve.workspace import Workspace, read_csv


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def test_the_submission_has_the_samples_columns_and_ids(exported):
    path = predict(exported, find_bundle(exported, "shades"))
    assert path == exported.submission("shades", "first")
    submission = read_csv(path)
    assert submission.image_id.tolist() == [f"t{n:03d}" for n in range(7)]
    assert set(submission.shade) <= {"bright", "dark", "grey"}


def test_the_submission_goes_where_it_is_wanted(exported, tmp_path):
    bundle = find_bundle(exported, "shades")
    path = predict(exported, bundle, output=tmp_path / "new" / "mine.csv")
    assert path.read_bytes() == predict(exported, bundle).read_bytes()


def test_a_missing_test_image_is_named(copy):
    (copy.raw("shades") / "test" / "t003.png").unlink()
    with pytest.raises(KitsolveError, match=r"t003.png cannot be read") as caught:
        predict(copy, find_bundle(copy, "shades"))
    assert "kitsolve fetch shades" in caught.value.hint


def test_a_damaged_bundle_is_named(copy):
    next(copy.bundle("shades", "first").glob("*.safetensors")).write_bytes(b"")
    with pytest.raises(KitsolveError, match="sha256"):
        predict(copy, find_bundle(copy, "shades"))


def test_without_the_sample_submission_nothing_is_predicted(copy):
    (copy.raw("shades") / "sample_submission.csv").unlink()
    with pytest.raises(KitsolveError, match="sample"):
        predict(copy, find_bundle(copy, "shades"))


def test_a_failed_prediction_leaves_the_former_submission(copy):
    bundle = find_bundle(copy, "shades")
    before = pd.read_csv(predict(copy, bundle))
    (copy.raw("shades") / "test" / "t003.png").unlink()
    with pytest.raises(KitsolveError):
        predict(copy, bundle)
    assert pd.read_csv(copy.submission("shades", bundle.name)).equals(before)


def test_a_submission_is_kept_until_bundle_or_tables_are_newer(copy):
    bundle = find_bundle(copy, "shades")
    path = keep_or_predict(copy, bundle)
    path.write_text("kept")
    assert keep_or_predict(copy, bundle).read_text() == "kept"
    for source in (copy.bundle("shades", bundle.name) / "bundle.json", copy.tables("shades") / "tables.json"):
        path.write_text("stale")
        later = path.stat().st_mtime_ns + 1
        os.utime(source, ns=(later, later))
        assert keep_or_predict(copy, bundle).read_text() != "stale"
        os.utime(source, ns=(0, 0))
