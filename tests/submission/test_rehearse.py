import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from kitsolve.data.fetch import fetch
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.inference.testset import read_sample
from kitsolve.submission.bundle import export_bundle, find_bundle
from kitsolve.submission.execute import run_notebook
from kitsolve.submission.kaggle_image import read_kaggle_image
from kitsolve.submission.mount import mount_public, mount_rerun
from kitsolve.submission.notebook import PREVIEW, write_notebook
from kitsolve.submission.rehearse import agrees, is_valid, rehearse, require_rehearsal
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import Workspace, read_csv, read_json, write_json


@pytest.fixture
def bundle(exported):
    return find_bundle(exported, "shades")


@pytest.fixture
def copy(exported, tmp_path):
    """A workspace of its own, with everything exported, for notebooks that are tampered with."""
    shutil.copytree(exported.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def end_notebook_with(workspace, bundle, words):
    """Let its last cell, the preview, do something else."""
    path = workspace.notebook("shades", bundle.name) / "shades.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[-1].source == PREVIEW
    notebook.cells[-1].source = words
    nbformat.write(notebook, path)


def rehearse_writing(workspace, bundle, submission):
    """The rehearsal of a notebook that writes something else than it has predicted."""
    words = f"{submission}.to_csv(KAGGLE / 'working' / 'submission.csv', index=False)"
    end_notebook_with(workspace, bundle, words)
    return rehearse(workspace, bundle)


@pytest.fixture(scope="module")
def rehearsed(exported):
    bundle = find_bundle(exported, "shades")
    return exported, bundle, rehearse(exported, bundle)


def test_a_rehearsal_passes_every_check_and_is_recorded(rehearsed):
    workspace, bundle, rehearsal = rehearsed
    assert rehearsal.passed
    assert len(rehearsal.checks) == 6
    written = read_json(workspace.rehearsal("shades", bundle.name) / "rehearsal.json")
    assert written == asdict(rehearsal)


def test_it_says_what_the_notebook_needs_and_what_the_full_test_set_would_take(rehearsed):
    _, _, rehearsal = rehearsed
    assert 0.1 < rehearsal.peak_gb < 5
    assert rehearsal.full_images == 7
    assert rehearsal.full_s == rehearsal.start_s + 7 * rehearsal.image_s
    assert 0 < rehearsal.image_s < 1


def test_it_says_with_which_versions_the_notebook_ran(rehearsed):
    _, _, rehearsal = rehearsed
    assert rehearsal.versions["torch"] == torch.__version__.partition("+")[0]
    assert rehearsal.versions.keys() == read_kaggle_image().versions.keys()


def write_program(path, words):
    path.write_text(f"#!/bin/sh\n{words}\n")
    path.chmod(0o755)


@pytest.mark.slow
def test_another_interpreter_runs_the_notebook(copy, bundle, tmp_path, monkeypatch):
    marker = tmp_path / "called"
    write_program(tmp_path / "python", f'echo "$@" >> {marker}\nexec {sys.executable} "$@"')
    monkeypatch.chdir(tmp_path)
    assert rehearse(copy, bundle, python="./python").passed
    assert marker.read_text().count("ipykernel_launcher") == 2


@pytest.mark.parametrize(("words", "problem"), [("exit 1", "runs no notebook"), (None, "is no program")])
def test_an_interpreter_that_cannot_run_a_notebook_is_refused_first(copy, bundle, tmp_path, words, problem):
    python = tmp_path / "python"
    if words:
        write_program(python, words)
    with pytest.raises(KitsolveError, match=problem):
        rehearse(copy, bundle, python=str(python))


def test_a_rehearsal_of_an_older_kitsolve_counts_for_nothing(rehearsed, tmp_path, monkeypatch):
    workspace, bundle, done = rehearsed
    copy = Workspace(shutil.copytree(workspace.root, tmp_path / "copy"))
    path = copy.rehearsal("shades", bundle.name) / "rehearsal.json"
    monkeypatch.setattr("kitsolve.submission.rehearse.rehearse", lambda *_: pytest.fail("it was passed already"))
    assert require_rehearsal(copy, bundle) == done
    write_json(path, {name: value for name, value in asdict(done).items() if name != "versions"})
    anew = replace(done, seconds=0.0)
    monkeypatch.setattr("kitsolve.submission.rehearse.rehearse", lambda *_: anew)
    assert require_rehearsal(copy, bundle) == anew


def test_a_notebook_that_needs_more_memory_than_kaggles_machine_has_fails(copy, bundle, monkeypatch):
    image = replace(read_kaggle_image(), memory_gb=0.2)
    monkeypatch.setattr("kitsolve.submission.rehearse.read_kaggle_image", lambda: image)
    with pytest.raises(KitsolveError, match=r"more than the 0.2 GB") as caught:
        rehearse(copy, bundle)
    assert "image_size" in caught.value.hint


def test_its_public_submission_is_that_of_predict(rehearsed):
    workspace, bundle, _ = rehearsed
    public = workspace.rehearsal("shades", bundle.name) / "public" / "working" / "submission.csv"
    assert public.read_bytes() == workspace.submission("shades", bundle.name).read_bytes()


def test_its_hidden_submission_has_other_ids_and_more_of_them(rehearsed):
    workspace, bundle, _ = rehearsed
    place = workspace.rehearsal("shades", bundle.name)
    public, hidden = (read_csv(place / stage / "working" / "submission.csv") for stage in ("public", "rerun"))
    assert len(hidden) == len(public) + 36
    assert not set(hidden.image_id) & set(public.image_id)


def test_the_executed_notebooks_show_the_devices_and_the_preview(rehearsed):
    workspace, bundle, _ = rehearsed
    executed = nbformat.read(workspace.rehearsal("shades", bundle.name) / "public" / "executed.ipynb", as_version=4)
    text = "".join(str(output) for cell in executed.cells for output in cell.get("outputs", []))
    assert "devices  cpu" in text
    assert "t000" in text


def test_the_raw_files_are_never_changed(rehearsed):
    workspace, bundle, _ = rehearsed
    assert read_sample(workspace.raw("shades"), bundle.submission).image_id.tolist() == [f"t{n:03d}" for n in range(7)]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("import kitsolve", "No module named 'kitsolve'"),
        ("(KAGGLE / 'x').touch()", "Read-only file system"),
        ("(input_dir / 'x').touch()", "Read-only file system"),
        ("(KAGGLE / 'working' / 'submission.csv').unlink()", "wrote no submission.csv"),
    ],
)
def test_a_notebook_that_would_fail_on_kaggle_fails_here_with_its_reason(copy, bundle, words, problem):
    end_notebook_with(copy, bundle, words)
    with pytest.raises(KitsolveError, match=problem) as caught:
        rehearse(copy, bundle)
    assert "executed.ipynb" in caught.value.hint


def test_a_notebook_that_writes_another_submission_fails_the_checks(copy, bundle):
    rehearsal = rehearse_writing(copy, bundle, "submission.assign(shade='grey')")
    assert not rehearsal.passed
    assert not rehearsal.checks["it equals that of `kitsolve predict`, but for rounding"]


def test_a_notebook_that_leaves_rows_out_fails_the_checks(copy, bundle):
    rehearsal = rehearse_writing(copy, bundle, "submission.head(3)")
    assert [passed for check, passed in rehearsal.checks.items() if "passes every check" in check] == [False, False]


def test_a_notebook_of_an_earlier_bundle_is_refused_with_what_to_run(copy, bundle):
    path = copy.bundle("shades", bundle.name) / "bundle.json"
    text = path.read_text()
    path.unlink()  # it may be a link
    path.write_text(text + "\n")
    with pytest.raises(KitsolveError, match="was written for an earlier bundle first") as caught:
        rehearse(copy, bundle)
    assert "kitsolve export shades" in caught.value.hint


def test_without_an_exported_notebook_the_error_says_what_to_run(copy, bundle):
    (copy.notebook("shades", bundle.name) / "shades.ipynb").unlink()
    with pytest.raises(KitsolveError) as caught:
        rehearse(copy, bundle)
    assert "kitsolve export shades" in caught.value.hint


def test_the_public_tree_holds_everything_but_the_train_images(exported, bundle, tmp_path):
    mount_public(exported, bundle, tmp_path)
    competition = tmp_path / "shades"
    assert sorted(path.name for path in competition.iterdir() if path.is_file()) == [
        "sample_submission.csv",
        "train.csv",
    ]
    assert len(list((competition / "test").iterdir())) == 7
    assert not list((competition / "train").iterdir())
    assert len(list(tmp_path.glob("kitsolve-shades-*/*.safetensors"))) == 2


def test_the_rerun_tree_holds_every_test_image_under_a_new_id(exported, bundle, tmp_path):
    origins = mount_rerun(exported, bundle, tmp_path)
    competition = tmp_path / "competitions" / "shades"
    sample = read_sample(competition, bundle.submission)
    assert sample.image_id.tolist() == origins.image_id.tolist()
    assert sorted(origin for origin in origins.origin if origin) == [f"t{n:03d}" for n in range(7)]
    for row in origins.itertuples():
        image = competition / "test" / f"{row.image_id}.png"
        assert image.is_file()
        if row.origin:
            assert image.read_bytes() == (exported.raw("shades") / "test" / f"{row.origin}.png").read_bytes()


def test_where_the_template_leaves_the_suffix_open_the_new_names_have_that_of_their_image(exported, bundle, tmp_path):
    origins = mount_rerun(exported, replace(bundle, test=replace(bundle.test, image="test/{image_id}.*")), tmp_path)
    images = {path.name for path in (tmp_path / "competitions" / "shades" / "test").iterdir()}
    assert images == {f"{name}.png" for name in origins.image_id}


def test_predictions_agree_only_where_the_same_images_have_the_same_label(bundle):
    public = pd.DataFrame({"image_id": ["a", "b"], "shade": ["dark", "grey"]})
    origins = pd.DataFrame({"image_id": ["x", "y", "z"], "origin": ["b", "", "a"]})
    hidden = pd.DataFrame({"image_id": ["x", "y", "z"], "shade": ["grey", "bright", "dark"]})
    assert agrees(public, hidden, origins, bundle)
    assert not agrees(public, hidden.assign(shade="dark"), origins, bundle)


def test_an_invalid_submission_is_told_apart(exported, bundle):
    raw = exported.raw("shades")
    sample = read_sample(raw, bundle.submission)
    assert is_valid(raw, sample, bundle)
    assert not is_valid(raw, sample.head(3), bundle)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_notebook_may_compile(tmp_path):
    sources = (
        "import torch\ntorch.compile(lambda images: images.relu() + 1)(torch.ones(3))",
        "import pandas as pd\nsubmission = pd.DataFrame({'id': ['a']})\nsubmission.to_csv('submission.csv')",
        "submission.attrs = {'start_s': 1.0, 'image_s': 0.1}",
    )
    path = tmp_path / "notebook.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    (tmp_path / "kaggle" / "input").mkdir(parents=True)
    image = read_kaggle_image()
    done = run_notebook(path, tmp_path / "kaggle", title="", image=image, python=Path(sys.executable))
    assert done.submission.id.tolist() == ["a"]


@pytest.mark.slow
def test_two_backbones_of_different_size_in_one_bundle_pass_from_a_nested_archive(shades):
    download = shades.root / "download"
    shutil.make_archive(str(download / "test"), "zip", download, "test")
    shutil.rmtree(download / "test")
    facts = shades.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace("[train]", 'archives = ["test.zip"]\n\n[train]', 1))
    fetch(shades, "shades", source=download)
    for name, overrides in (("one", ()), ("two", ("backbone=timm/test_convnext", "image_size=48", "tta=['rot90']"))):
        run = open_run(shades, Wanted("shades", overrides=("epochs=1", *overrides), run_name=name))
        train_folds(shades, run, [], choose_machine("cpu", 0))
    bundle = export_bundle(shades, "shades", ["one", "two"])
    write_notebook(shades, bundle)
    assert {spec.preprocessing.image_size for spec in bundle.models} == {(32, 32), (48, 48)}
    rehearsal = rehearse(shades, bundle)
    assert rehearsal.passed, rehearsal.checks
