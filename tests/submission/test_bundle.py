import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.blend import read_blend, write_blend
from kitsolve.evaluation.runs import Wanted, find_run, open_run
from kitsolve.inference.bundle import Blend, read_bundle
from kitsolve.inference.combine import combine
from kitsolve.inference.ensemble import load_ensemble
from kitsolve.inference.loop import predict_probs
from kitsolve.inference.members import load_member, load_model
from kitsolve.inference.predict import open_bundle
from kitsolve.submission.bundle import Choices, export_bundle, find_bundle
from kitsolve.submission.kaggle_image import KaggleImage
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import Workspace, read_json, write_json

CPU = torch.device("cpu")


def test_a_bundle_holds_every_fold_with_its_weights_and_nothing_else(exported):
    bundle = find_bundle(exported, "shades")
    folder = exported.bundle("shades", bundle.name)
    files = {path.name for path in folder.iterdir()}
    code = {"bundle.json", "dataset-metadata.json", "kitsolve_inference.py"}
    assert files == {spec.file for spec in bundle.models} | code
    assert [spec.run for spec in bundle.models] == ["first", "first"]
    assert bundle.submission.class_names == ("bright", "dark", "grey")


def test_the_bundle_on_disk_is_the_bundle_that_was_exported(exported):
    bundle = export_bundle(exported, "shades", [])
    assert read_bundle(exported.bundle("shades", bundle.name)) == bundle


def test_the_card_carries_the_cv_and_the_versions(exported):
    card = find_bundle(exported, "shades").card
    of_run = read_json(exported.runs("shades") / "first" / "score.json")
    assert card["cv"] == of_run | {"last_epochs": None, "chosen_gain": None}  # these are a run's, not a blend's
    assert {"torch", "timm", "opencv"} <= set(card["versions"])


def test_a_complete_bundle_is_left_as_it_is(exported):
    bundle = find_bundle(exported, "shades")
    path = exported.bundle("shades", bundle.name) / "bundle.json"
    before = path.stat().st_mtime_ns
    export_bundle(exported, "shades", [])
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["first-fold_1.safetensors", "kitsolve_inference.py"])
def test_a_bundle_with_a_changed_or_missing_file_is_refused(exported, tmp_path, name):
    shutil.copytree(exported.bundle("shades", "first"), tmp_path / "bundle")
    path = tmp_path / "bundle" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not the file that was exported"):
        open_bundle(path.parent)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing from the bundle"):
        open_bundle(path.parent)


def test_weights_of_another_backbone_do_not_load(exported):
    bundle = find_bundle(exported, "shades")
    folder = exported.bundle("shades", bundle.name)
    spec = bundle.models[0]
    other = replace(spec, architecture=replace(spec.architecture, backbone="timm/test_vit"))
    with pytest.raises(ValueError, match="does not fit timm/test_vit"):
        load_model(other, folder, CPU)


def test_a_bundle_of_two_runs_gives_each_run_the_same_share(fetched):
    for name, folds in (("one", []), ("two", [1])):
        run = open_run(fetched, Wanted("shades", overrides=("epochs=1", "tta=none"), run_name=name))
        train_folds(fetched, run, folds, choose_machine("cpu", 0))
    bundle = export_bundle(fetched, "shades", ["one", "two", "one"])
    assert re.fullmatch("one-and-1-more-[0-9a-f]{6}", bundle.name)
    assert [(spec.file, spec.run) for spec in bundle.models] == [
        ("one-fold_0.safetensors", "one"),
        ("one-fold_1.safetensors", "one"),
        ("two-fold_1.safetensors", "two"),
    ]
    assert bundle.blend == Blend(("one", "two"), "mean", (0.5, 0.5))
    assert len(bundle.card["cv"]["folds"]) == 1


def test_members_load_in_evaluation_mode(exported):
    bundle = find_bundle(exported, "shades")
    member = load_member(bundle.models[0], exported.bundle("shades", bundle.name), CPU)
    assert not member.model.training
    assert (member.views, member.run) == (("identity", "hflip"), "first")


def test_a_bundle_mixes_its_runs_as_was_chosen_and_predicts_what_the_oof_rule_says(fetched):
    for name, overrides in (("one", ()), ("two", ("seed=7",)), ("three", ("seed=9",))):
        run = open_run(fetched, Wanted("shades", overrides=("epochs=1", "tta=none", *overrides), run_name=name))
        train_folds(fetched, run, [], choose_machine("cpu", 0))
    alone = [probs_of(fetched, export_bundle(fetched, "shades", [name])) for name in ("one", "two")]
    chosen = Blend(("one", "three", "two"), "geometric", (0.25, 0.0, 0.75))
    write_blend(fetched, "shades", chosen)
    bundle = export_bundle(fetched, "shades", ["two", "one", "three"])
    assert bundle.blend == Blend(("two", "one"), "geometric", (0.75, 0.25))
    assert {spec.run for spec in bundle.models} == {"one", "two"}
    expected = combine(alone, Blend(("one", "two"), "geometric", (0.25, 0.75)), activation="softmax")
    np.testing.assert_allclose(probs_of(fetched, bundle), expected, atol=1e-5)


def probs_of(workspace, bundle):
    """What a bundle's models and blend make of the test images."""
    ensemble = load_ensemble(bundle, workspace.bundle("shades", bundle.name), CPU)
    return predict_probs(ensemble, sorted((workspace.raw("shades") / "test").iterdir()), workers=1)


def test_the_bundle_that_was_exported_last_is_found(exported):
    with pytest.raises(KitsolveError, match="no bundle 'frist'") as caught:
        find_bundle(exported, "shades", "frist")
    assert "first" in caught.value.hint


def test_without_a_run_or_bundle_the_error_says_what_to_run(fetched):
    with pytest.raises(KitsolveError) as caught:
        export_bundle(fetched, "shades", [])
    assert "kitsolve train shades" in caught.value.hint
    with pytest.raises(KitsolveError) as caught:
        find_bundle(fetched, "shades")
    assert "kitsolve export shades" in caught.value.hint


def test_bundle_json_is_plain_json(exported):
    bundle = find_bundle(exported, "shades")
    values = json.loads((exported.bundle("shades", bundle.name) / "bundle.json").read_text())
    assert values["models"][0]["preprocessing"]["image_size"] == [32, 32]
    assert values["test"]["image"] == "test/{image_id}.png"


def test_a_bundle_of_another_version_is_exported_anew_and_named_where_it_is_wanted(exported, tmp_path):
    shutil.copytree(exported.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    path = workspace.bundle("shades", "first") / "bundle.json"
    path.write_text(path.read_text().replace('"format": 4', '"format": 2'))
    with pytest.raises(KitsolveError, match="bundle.json has format 2") as caught:
        find_bundle(workspace, "shades")
    assert "kitsolve export shades" in caught.value.hint
    assert export_bundle(workspace, "shades", ["first"]) == find_bundle(workspace, "shades")


def test_an_attached_timm_is_the_one_that_the_file_imports(exported, tmp_path):
    shutil.copytree(exported.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    bundle = export_bundle(workspace, "shades", ["first"], choices=Choices(attach_timm=True))
    folder = workspace.bundle("shades", bundle.name)
    code = "import sys; from kitsolve_inference import main; main(); print(sys.modules['timm'].__file__)"
    command = [sys.executable, "-c", code, "--input", workspace.raw("shades"), "--output", tmp_path / "s.csv"]
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=True)
    assert str(folder / "timm-") in done.stdout
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 8


def test_a_backbone_that_kaggle_does_not_have_is_refused_where_kaggle_runs_the_notebook(
    exported, tmp_path, monkeypatch
):
    shutil.copytree(exported.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    monkeypatch.setattr(
        "kitsolve.submission.bundle.read_kaggle_image",
        lambda: KaggleImage("2026-05-14", 30, {"timm": "1.0.26"}, frozenset({"resnet18"})),
    )
    export_bundle(workspace, "shades", ["first"])
    facts = workspace.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace('via    = "csv"', 'via    = "notebook"'))
    with pytest.raises(KitsolveError, match="has no test_resnet"):
        export_bundle(workspace, "shades", ["first"])
    assert export_bundle(workspace, "shades", ["first"], choices=Choices(attach_timm=True)).files


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_compiled_models_predict_the_same(exported, tmp_path):
    shutil.copytree(exported.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    plain = probs_of(workspace, export_bundle(workspace, "shades", ["first"]))
    bundle = export_bundle(workspace, "shades", ["first"], choices=Choices(compiled=True))
    np.testing.assert_allclose(probs_of(workspace, bundle), plain, atol=0.02)


@pytest.fixture
def three(trained, tmp_path):
    """A workspace with the finished runs first, second and third, which are alike."""
    shutil.copytree(trained.root, tmp_path / "copy", ignore=shutil.ignore_patterns("bundles"))
    runs = Workspace(tmp_path / "copy").runs("shades")
    for name in ("second", "third"):
        shutil.copytree(runs / "first", runs / name)
    return Workspace(tmp_path / "copy")


def test_bundles_of_other_runs_have_other_names_and_each_is_found_again(three):
    one = export_bundle(three, "shades", ["first", "second"])
    other = export_bundle(three, "shades", ["first", "third"])
    assert one.name != other.name
    assert {one.name, other.name} == {path.name for path in three.bundle("shades", "x").parent.iterdir()}
    assert export_bundle(three, "shades", ["first", "second"]).name == one.name
    assert [run["run"] for run in find_bundle(three, "shades", one.name).card["runs"]] == ["first", "second"]


def test_a_bundle_of_an_older_version_keeps_its_name_for_its_own_runs_alone(three):
    made = export_bundle(three, "shades", ["first", "second"])
    three.bundle("shades", made.name).rename(three.bundle("shades", "first-and-1-more"))
    assert export_bundle(three, "shades", ["first", "second"]).name == "first-and-1-more"
    assert export_bundle(three, "shades", ["first", "third"]).name != "first-and-1-more"


def test_the_bundle_that_was_exported_last_is_found_whatever_the_times_of_the_files(three):
    export_bundle(three, "shades", ["second"])
    export_bundle(three, "shades", ["first"])
    for path in three.bundle("shades", "second").iterdir():
        os.utime(path, (2e9, 2e9))
    assert find_bundle(three, "shades").name == "first"


def test_weights_that_are_no_numbers_are_not_exported(three):
    path = three.runs("shades") / "first" / "fold_0" / "best.safetensors"
    tensors = load_file(path)
    next(tensor for tensor in tensors.values() if tensor.is_floating_point()).view(-1)[:1] = float("nan")
    path.unlink()
    save_file(tensors, path)
    with pytest.raises(KitsolveError, match="was changed or damaged after the training"):
        export_bundle(three, "shades", ["first"])
    marker = path.with_name("fold.json")
    write_json(
        marker, {name: value for name, value in read_json(marker).items() if name != "files"}
    )  # an older version
    with pytest.raises(KitsolveError, match="hold NaN or infinity") as caught:
        export_bundle(three, "shades", ["first"])
    assert "--run first --fold 0 --force" in caught.value.hint


def test_a_blend_is_fitted_again_where_a_run_was_trained_since(three, capsys):
    runs = [find_run(three, "shades", name) for name in ("first", "second")]
    write_blend(three, "shades", Blend(("first", "second"), "weighted", (0.9, 0.1)), method="mean")
    assert read_blend(three, "shades", runs).weights == (0.9, 0.1)
    marker = runs[1].folder / "fold_0" / "fold.json"
    write_json(marker, read_json(marker) | {"seconds": 1000.0})
    assert read_blend(three, "shades", runs).weights == (0.5, 0.5)
    assert "was fitted before second was trained: it is fitted again (mean, 0.5, 0.5)" in capsys.readouterr().err
    assert read_blend(three, "shades", runs).weights == (0.5, 0.5)
    assert capsys.readouterr().err == ""
