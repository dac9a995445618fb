"""A tiny competition of generated images whose brightness tells the class."""

import os
import shutil
import signal
import sys
from pathlib import Path

# A shell ignores Ctrl-C for what it starts in the background, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Two test processes share the cores: with more threads than cores, each waits for the other's. Children inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from fake_kaggle import TOKEN, FakeKaggle, start, zipped

from kitsolve.workspace import Workspace

# A busy machine is no failure.
hypothesis.settings.register_profile("kitsolve", deadline=None)
hypothesis.settings.load_profile("kitsolve")

COMPETITION = """
title  = "Shades of grey"
task   = "multiclass"
metric = "accuracy"

[train]
rows   = { csv = "train.csv" }
id     = "image_id"
target = "shade"
image  = "train/{image_id}.png"

[test]
image  = "test/{image_id}.png"

[folds]
count  = 2

[submission]
kind   = "label"
via    = "csv"
"""

RECIPE = """
backbone   = "timm/test_resnet"
pretrained = false
image_size = 32
epochs     = 2
batch_size = 8
lr         = 1e-2
ema_decay  = 0.5
augment    = "light"
tta        = "hflip"
"""

CLASSES = ("bright", "dark", "grey")


def write_image(path: Path, shade: str, seed: int) -> None:
    """A 24 x 20 image of noise around the shade's brightness."""
    level = {"dark": 40, "grey": 128, "bright": 215}[shade]
    noise = np.random.default_rng(seed).integers(-30, 30, size=(20, 24, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), (level + noise).astype(np.uint8))


def write_shades(root: Path, *, train: int = 36, test: int = 7) -> Path:
    """The competition's folder and raw files below `root`; gives the folder of the raw files."""
    folder = root / "competitions" / "shades"
    (folder / "recipes").mkdir(parents=True)
    (folder / "competition.toml").write_text(COMPETITION)
    (folder / "recipes" / "baseline.toml").write_text(RECIPE)
    raw = root / "download"
    rows = [{"image_id": f"{number:04d}", "shade": CLASSES[number % 3]} for number in range(train)]
    ids = [f"t{number:03d}" for number in range(test)]
    for number, row in enumerate(rows):
        write_image(raw / "train" / f"{row['image_id']}.png", row["shade"], seed=number)
    for number, image_id in enumerate(ids):
        write_image(raw / "test" / f"{image_id}.png", CLASSES[number % 3], seed=1000 + number)
    pd.DataFrame(rows).to_csv(raw / "train.csv", index=False)
    pd.DataFrame({"image_id": ids, "shade": "dark"}).to_csv(raw / "sample_submission.csv", index=False)
    return raw


def failed_rehearsal(checks, *, versions=None):
    """A rehearsal with these checks, by name whether each was passed."""
    from kitsolve.submission.rehearse import Rehearsal

    return Rehearsal(
        passed=False, checks=checks, seconds=1.0, peak_gb=0.5, start_s=2.0, image_s=0.1, full_images=15_000,
        full_s=1502.0, versions=versions or {}, subject="",
    )  # fmt: skip


def pytest_collection_modifyitems(items):
    """The longest tests start first; those of `fake` are marked; those marked `gpu` are skipped where there is none."""
    items.sort(key=lambda item: "slow" not in item.keywords)
    for item in items:
        if "fake" in item.fixturenames:
            item.add_marker("kaggle")
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def images(tmp_path):
    """Ten files of 13 x 11 px noise."""
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, size=(11, 13, 3), dtype=np.uint8)
        cv2.imwrite(str(path), pixels)
    return paths


@pytest.fixture
def shades(tmp_path):
    """A workspace with the raw files of `shades` in download/, nothing fetched yet."""
    write_shades(tmp_path)
    return Workspace(tmp_path)


@pytest.fixture
def fetched(shades):
    """The workspace after `kitsolve fetch shades`."""
    from kitsolve.data.fetch import fetch

    fetch(shades, "shades", source=shades.root / "download")
    return shades


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A workspace with one finished run of `shades`; only for reading."""
    from kitsolve.data.fetch import fetch
    from kitsolve.evaluation.runs import Wanted, open_run
    from kitsolve.training.fold import train_folds
    from kitsolve.training.job import choose_machine

    workspace = Workspace(tmp_path_factory.mktemp("trained"))
    write_shades(workspace.root)
    fetch(workspace, "shades", source=workspace.root / "download")
    run = open_run(workspace, Wanted("shades", run_name="first"))
    train_folds(workspace, run, [], choose_machine("cpu", 0))
    return workspace


@pytest.fixture(scope="session")
def exported(trained):
    """The workspace of `trained` after `kitsolve export shades`; only for reading."""
    from kitsolve.submission.bundle import export_bundle
    from kitsolve.submission.notebook import write_notebook

    write_notebook(trained, export_bundle(trained, "shades", []))
    return trained


@pytest.fixture(scope="session")
def rehearsed(exported, tmp_path_factory):
    """`shades` as a code competition: exported for the user of `fake`, rehearsed, predicted; only for reading."""
    from kitsolve.submission.bundle import find_bundle
    from kitsolve.submission.notebook import write_notebook
    from kitsolve.submission.rehearse import require_rehearsal

    workspace = Workspace(tmp_path_factory.mktemp("rehearsed") / "root")
    shutil.copytree(exported.root, workspace.root)
    facts = workspace.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace('via    = "csv"', 'via    = "notebook"'))
    bundle = find_bundle(workspace, "shades")
    write_notebook(workspace, bundle, owner="tester")
    require_rehearsal(workspace, bundle)
    return workspace


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Kaggle on this machine, with this user's token in the environment and an empty home."""
    fake = FakeKaggle()
    server = start(fake)
    for name in [name for name in os.environ if name.startswith("KAGGLE") or name.lower() == "no_proxy"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    monkeypatch.setattr("kitsolve.transport.PAUSE", 0.01)
    monkeypatch.setattr("kitsolve.transport.POLL", 0.01)
    for name in [name for name in sys.modules if name.partition(".")[0] == "kaggle"]:
        monkeypatch.delitem(sys.modules, name)  # the client looks for its configuration when it is imported
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    fake.archive = zipped({"train.csv": b"id,label\n", "big.bin": os.urandom(3 << 20)})
    fake.files["shades"] = [("train.csv", 9), ("big.bin", 3 << 20), ("more.csv", 5)]
    yield fake
    server.shutdown()
    server.server_close()


def submit_and_kill(workspace, fake, call, when):
    """Submit `shades` in a child process that is killed when `call` arrives at Kaggle, or `after` it is carried out."""
    from kitsolve.submission.bundle import find_bundle
    from kitsolve.submission.submit import Wishes, submit

    child = []

    def kill(answer=None):
        os.kill(child[0], signal.SIGKILL)

    getattr(fake, when)[call].append(kill)
    child.append(os.fork())
    if child[0] == 0:
        try:
            submit(workspace, find_bundle(workspace, "shades"), Wishes(), confirm=lambda plan: None)
        finally:
            os._exit(1)
    _, status = os.waitpid(child[0], 0)
    assert os.WIFSIGNALED(status), f"{call} did not happen"
