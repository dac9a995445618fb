import os
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kitsolve.errors import KitsolveError
from kitsolve.inference.ensemble import load_ensemble
from kitsolve.inference.predict import predict_bundle
from kitsolve.inference.submission import check_submission
from kitsolve.inference.testset import read_sample
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


def sources_of_a_submission(workspace):
    """Each file that a submission of `shades` hangs on, and how it is changed without a change of size and time."""
    return [workspace.raw("shades") / "test" / "t003.png", workspace.raw("shades") / "sample_submission.csv"]


def test_a_submission_is_kept_while_it_is_made_from_what_there_is(copy, monkeypatch):
    path = keep_or_predict(copy, find_bundle(copy, "shades"))
    monkeypatch.setattr("kitsolve.submission.predict.predict_bundle", None)
    for source in [*copy.root.rglob("*.json"), *copy.root.rglob("*.png"), path]:
        os.utime(source, ns=(0, 10**18))  # as `cp -r` or a clock that was ahead leave them
    assert keep_or_predict(copy, find_bundle(copy, "shades")) == path


@pytest.mark.parametrize("number", [0, 1])
def test_a_source_of_equal_size_and_time_but_another_content_is_noticed(copy, number, capsys):
    bundle = find_bundle(copy, "shades")
    keep_or_predict(copy, bundle)
    source = sources_of_a_submission(copy)[number]
    state, other = source.stat(), copy.raw("shades") / "test" / "t004.png"
    content = other.read_bytes() if number == 0 else source.read_bytes().replace(b"dark", b"grey")
    source.unlink()
    source.write_bytes(content)
    os.utime(source, ns=(state.st_atime_ns, state.st_mtime_ns))
    keep_or_predict(copy, bundle)
    assert f"predicting anew: {['the test images', source.name][number]} changed" in capsys.readouterr().err


def test_a_submission_of_another_bundle_is_predicted_anew(copy, capsys):
    bundle = find_bundle(copy, "shades")
    keep_or_predict(copy, bundle)
    described = copy.bundle("shades", bundle.name) / "bundle.json"
    described.write_text(described.read_text().replace('"batch_size": 32', '"batch_size": 31'))
    keep_or_predict(copy, bundle)
    assert "predicting anew: bundle.json changed" in capsys.readouterr().err


def test_a_submission_that_was_edited_by_hand_is_not_the_runs_own(copy):
    bundle = find_bundle(copy, "shades")
    path = keep_or_predict(copy, bundle)
    own = path.read_text()
    path.write_text(own.replace("t000,bright", "t000,dark"))
    with pytest.raises(KitsolveError, match="was changed after `kitsolve predict` wrote it") as caught:
        keep_or_predict(copy, bundle)
    assert f"--file {path}" in caught.value.hint
    predict(copy, bundle)
    assert keep_or_predict(copy, bundle).read_text() == own


def test_a_submission_without_a_record_is_put_aside_not_lost(copy):
    bundle = find_bundle(copy, "shades")
    path = keep_or_predict(copy, bundle)
    path.with_name("submission.csv.made.json").unlink()
    path.write_text("mine")
    assert keep_or_predict(copy, bundle).read_text() != "mine"
    assert path.with_name("submission.before.csv").read_text() == "mine"


def place_of(exported):
    bundle = find_bundle(exported, "shades")
    return exported.bundle("shades", bundle.name), exported.raw("shades"), bundle


@pytest.mark.parametrize("limit_s", [0.0, 1e-6, 60.0])
def test_a_limit_far_too_small_still_writes_a_valid_file(exported, tmp_path, limit_s, capsys):
    folder, raw, _ = place_of(exported)
    written = predict_bundle(folder, raw, tmp_path / "submission.csv", lenient=True, time_limit_s=limit_s)
    assert len(written) == 7
    assert ("the time was over" in capsys.readouterr().out) is (limit_s < 1)


def test_a_notebook_that_is_killed_leaves_a_valid_submission_of_the_mean_prediction(exported, tmp_path, monkeypatch):
    folder, raw, bundle = place_of(exported)

    def die(*_):
        raise SystemExit

    monkeypatch.setattr("kitsolve.inference.predict.load_ensemble", die)
    with pytest.raises(SystemExit):
        predict_bundle(folder, raw, tmp_path / "submission.csv", lenient=True)
    early = read_csv(tmp_path / "submission.csv")
    check_submission(early, read_sample(raw, bundle.submission), bundle.submission)
    assert early.shade.nunique() == 1


def test_a_lenient_prediction_is_the_strict_one_where_nothing_is_wrong(exported, tmp_path):
    folder, raw, _ = place_of(exported)
    strict = predict_bundle(folder, raw, tmp_path / "strict.csv")
    lenient = predict_bundle(folder, raw, tmp_path / "lenient.csv", lenient=True, time_limit_s=3600)
    assert strict.equals(lenient)


def test_when_the_disk_is_full_the_early_submission_stays(exported, tmp_path, monkeypatch):
    folder, raw, bundle = place_of(exported)

    def fill_disk(*given):
        (tmp_path / ".submission.csv").symlink_to("/dev/full")
        return load_ensemble(*given)

    monkeypatch.setattr("kitsolve.inference.predict.load_ensemble", fill_disk)
    with pytest.raises(ValueError, match=r"submission.csv cannot be written: No space left on device"):
        predict_bundle(folder, raw, tmp_path / "submission.csv", lenient=True)
    check_submission(read_csv(tmp_path / "submission.csv"), read_sample(raw, bundle.submission), bundle.submission)


def spoil(folder):
    """Seven test images of every odd kind; the first four cannot be read."""
    image = Image.open(folder / "t000.png").convert("RGB")
    image.save(folder / "cut.jpg")
    (folder / "t000.png").write_bytes((folder / "cut.jpg").read_bytes()[:400])
    (folder / "t001.png").write_bytes(b"")
    (folder / "t002.png").write_text("no image")
    (folder / "t003.png").unlink()
    Image.fromarray(np.full((20, 24), 40_000, dtype=np.uint16)).save(folder / "t004.png")
    image.convert("CMYK").save(folder / "t005.png", format="JPEG")  # and the suffix is wrong
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(folder / "t006.png", transparency=bytes(range(256)))


def test_a_hidden_test_set_with_every_fault_still_gets_a_valid_submission(exported, tmp_path, capsys):
    bundle_dir, raw, bundle = place_of(exported)
    shutil.copytree(raw, tmp_path / "raw")
    spoil(tmp_path / "raw" / "test")
    written = predict_bundle(bundle_dir, tmp_path / "raw", tmp_path / "submission.csv", lenient=True)
    check_submission(written, read_sample(raw, bundle.submission), bundle.submission)
    assert written.shade[:4].nunique() == 1
    told = capsys.readouterr().out
    assert "7 images, 4 of them unreadable" in told
    assert "t000.png is damaged" in told
    with pytest.raises(ValueError, match=r"t000.png is damaged"):
        predict_bundle(bundle_dir, tmp_path / "raw", tmp_path / "strict.csv")
