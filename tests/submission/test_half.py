import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kitsolve.errors import KitsolveError
from kitsolve.inference.ensemble import load_ensemble
from kitsolve.inference.loop import predict_probs
from kitsolve.submission.bundle import Choices, export_bundle
from kitsolve.submission.half import write_half
from kitsolve.workspace import Workspace, read_json

HALF = Choices(half=True)


@pytest.fixture
def copy(exported, tmp_path):
    """A workspace of its own, with the plain bundle."""
    shutil.copytree(exported.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def sizes_of(workspace):
    return {path.name: path.stat().st_size for path in workspace.bundle("shades", "first").glob("*.safetensors")}


def probs_of(workspace, bundle):
    ensemble = load_ensemble(bundle, workspace.bundle("shades", "first"), torch.device("cpu"))
    return predict_probs(ensemble, sorted((workspace.raw("shades") / "test").iterdir()), workers=1)


def test_weights_in_float16_are_half_as_large_and_predict_almost_the_same(copy):
    plain, before = sizes_of(copy), probs_of(copy, export_bundle(copy, "shades", []))
    bundle = export_bundle(copy, "shades", [], choices=HALF)
    for name, size in sizes_of(copy).items():
        assert 0.4 < size / plain[name] < 0.6
    np.testing.assert_allclose(probs_of(copy, bundle), before, atol=0.02)


def test_the_card_says_what_float16_changes_out_of_fold(copy):
    measured = export_bundle(copy, "shades", [], choices=HALF).card["half"]
    assert measured["cv"] == read_json(copy.runs("shades") / "first" / "score.json")["pooled"]
    assert measured["cv_half"] == pytest.approx(measured["cv"], abs=0.1)
    assert 0 < measured["largest"] < 0.02


def test_what_was_chosen_stays_until_it_is_chosen_anew(copy):
    half = export_bundle(copy, "shades", [], choices=HALF)
    written = (copy.bundle("shades", "first") / "bundle.json").stat().st_mtime_ns
    assert export_bundle(copy, "shades", []) == half
    assert (copy.bundle("shades", "first") / "bundle.json").stat().st_mtime_ns == written
    plain = export_bundle(copy, "shades", [], choices=Choices())
    assert "half" not in plain.card
    assert plain.models[0].sha256 != half.models[0].sha256


def test_float16_that_changes_too_much_is_refused_and_leaves_the_bundle(copy, monkeypatch):
    before = sizes_of(copy)
    monkeypatch.setattr("kitsolve.submission.half.LARGEST", 0.0)
    with pytest.raises(KitsolveError, match="out-of-fold output changes by") as caught:
        export_bundle(copy, "shades", [], choices=HALF)
    assert "without --half" in caught.value.hint
    assert sizes_of(copy) == before
    assert [path.name for path in copy.bundle("shades", "first").parent.iterdir()] == ["first"]


def test_numbers_that_float16_does_not_reach_stay_as_they_are(tmp_path):
    save_file({"small": torch.tensor([0.1]), "large": torch.tensor([1e6]), "count": torch.tensor([3])}, tmp_path / "a")
    write_half(tmp_path / "a", tmp_path / "b")
    half = load_file(tmp_path / "b")
    assert {name: tensor.dtype for name, tensor in half.items()} == {
        "small": torch.float16,
        "large": torch.float32,
        "count": torch.int64,
    }
    assert half["large"].item() == 1e6
