"""One image, one prediction: out of fold, by the bundle, and in the notebook."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, write_shades

from kitsolve.data.fetch import fetch
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.submission.bundle import export_bundle
from kitsolve.submission.notebook import write_notebook
from kitsolve.submission.predict import predict
from kitsolve.submission.rehearse import rehearse
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import Workspace, read_csv


def probs_of(path, prefix=""):
    """Image id -> probabilities in the order of CLASSES."""
    table = read_csv(path).set_index("image_id")
    return table[[prefix + name for name in CLASSES]].astype(float)


def train_on_what_is_tested(root, precision):
    """A workspace whose test images are its train images, and a run of its first fold; batches of 8, not of 32."""
    workspace, download = Workspace(root), write_shades(root)
    shutil.rmtree(download / "test")
    shutil.copytree(download / "train", download / "test")
    ids = pd.read_csv(download / "train.csv", dtype=str).image_id
    pd.DataFrame({"image_id": ids, **dict.fromkeys(CLASSES, 0)}).to_csv(download / "sample_submission.csv", index=False)
    facts = workspace.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace('kind   = "label"', 'kind   = "class_probabilities"'))
    fetch(workspace, "shades", source=download)
    run = open_run(workspace, Wanted("shades", overrides=(f"precision={precision}", "tta=d4"), run_name="one"))
    train_folds(workspace, run, [0], choose_machine("cpu", 0))
    return workspace, run


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-6), ("bfloat16", 5e-3)])
def test_oof_bundle_and_notebook_predict_the_same(tmp_path, precision, bound):
    workspace, run = train_on_what_is_tested(tmp_path, precision)
    bundle = export_bundle(workspace, "shades", ["one"])
    write_notebook(workspace, bundle)
    assert rehearse(workspace, bundle).passed
    oof = probs_of(run.fold(0) / "oof.csv", prefix="prob_")
    local = probs_of(predict(workspace, bundle))
    notebook = probs_of(workspace.rehearsal("shades", "one") / "public" / "working" / "submission.csv")
    assert len(oof) == 18
    np.testing.assert_allclose(local.loc[oof.index], oof, atol=bound)
    np.testing.assert_allclose(notebook, local, atol=bound)
