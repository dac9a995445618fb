"""A Ray on this machine stands for a cluster."""

import sys

import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.training import cluster
from kitsolve.training.cluster import train_on_ray
from kitsolve.workspace import read_json

pytest.importorskip("ray")

DIES_ONCE = """
import os, signal
from pathlib import Path

def augmentation(image_size):
    marker = Path({marker!r})
    if not marker.exists() and "RAY_RAYLET_PID" in os.environ:
        marker.write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)
    return []
"""


def train(workspace, *overrides, folds=(), name="first"):
    run = open_run(workspace, Wanted("shades", overrides=overrides, run_name=name))
    return train_on_ray(workspace, run, folds, address="local", workers=0)


@pytest.mark.slow
def test_folds_side_by_side_give_what_they_give_one_after_the_other(fetched, trained):
    cv = train(fetched)
    assert cv.oof_rows == 36
    for fold in (0, 1):
        ours, theirs = (space.runs("shades") / "first" / f"fold_{fold}" for space in (fetched, trained))
        for name in ("best.safetensors", "oof.csv"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        assert read_json(ours / "fold.json")["run_started"] == read_json(ours.parent / "run.json")["started"]


@pytest.mark.slow
def test_a_fold_whose_process_died_is_started_again_and_a_mistake_is_not(fetched, tmp_path):
    marker = tmp_path / "killed"
    (fetched.competition("shades") / "prepare.py").write_text(DIES_ONCE.format(marker=str(marker)))
    assert train(fetched, "augment=prepare:augmentation", "epochs=1", folds=[1], name="died").oof_rows == 18
    assert marker.read_text() == "killed"
    (fetched.raw("shades") / "train" / "0004.png").unlink()
    with pytest.raises(KitsolveError, match=r"0004\.png cannot be read"):
        train(fetched, "cache=none", "epochs=1", name="mistake")


def test_a_recipe_that_leaves_the_batch_to_the_machine_is_refused(fetched):
    with pytest.raises(KitsolveError, match="different batch sizes"):
        train(fetched, "batch_size=auto")


def test_a_fold_out_of_range_is_refused_as_without_ray(fetched):
    with pytest.raises(KitsolveError, match="no fold 9"):
        train(fetched, folds=[9])


def test_without_ray_the_hint_is_to_install_it(fetched, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(KitsolveError, match="Ray is not installed") as caught:
        train(fetched)
    assert "kitsolve[ray]" in caught.value.hint


def test_files_that_are_there_already_stay(tmp_path):
    (tmp_path / "history.csv").write_text("ours")
    cluster._store(tmp_path, {"history.csv": b"theirs", "fold.json": b"{}"})
    assert (tmp_path / "history.csv").read_text() == "ours"
    assert (tmp_path / "fold.json").read_text() == "{}"
