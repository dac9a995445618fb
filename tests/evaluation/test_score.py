import numpy as np
import pandas as pd
import pytest

from kitsolve.data.fetch import read_train_table
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.blend import read_blend
from kitsolve.evaluation.oof import Oof, write_oof
from kitsolve.evaluation.runs import Wanted, find_run, open_run, record_run
from kitsolve.evaluation.score import score_blend, score_run
from kitsolve.workspace import read_json, write_json

NAMES = ("bright", "dark", "grey")


def predict_fold(workspace, run, fold, *, right):
    """Write the OOF of a fold that predicts the first `right` of its rows rightly and the others wrongly."""
    train = read_train_table(workspace, "shades")
    rows = train[train.fold == fold]
    targets = rows.shade.map(NAMES.index).to_numpy()
    predicted = np.where(np.arange(len(rows)) < right, targets, (targets + 1) % 3)
    outputs = (np.eye(3)[predicted] * 0.7 + 0.1).astype(np.float32)
    write_oof(run.fold(fold) / "oof.csv", Oof(pd.Index(rows.image_id), np.full(len(rows), fold), outputs), NAMES)
    write_json(run.fold(fold) / "fold.json", {"fold": fold})


def start(workspace, name):
    run = open_run(workspace, Wanted("shades", run_name=name))
    record_run(workspace, run)
    return run


@pytest.fixture
def run(fetched):
    return start(fetched, "first")


def test_the_score_has_folds_mean_std_and_the_pooled_rows(fetched, run):
    predict_fold(fetched, run, 0, right=18)
    predict_fold(fetched, run, 1, right=9)
    cv = score_run(fetched, run)
    assert (cv.metric, cv.folds, cv.mean, cv.std, cv.pooled) == ("accuracy", [1.0, 0.5], 0.75, 0.25, 0.75)


def test_only_a_run_with_all_folds_gets_its_files(fetched, run):
    predict_fold(fetched, run, 0, right=9)
    cv = score_run(fetched, run)
    assert (cv.folds, cv.oof_rows, cv.train_rows) == ([0.5], 18, 36)
    assert not run.finished
    predict_fold(fetched, run, 1, right=18)
    cv = score_run(fetched, run)
    assert run.finished
    assert read_json(run.folder / "score.json")["pooled"] == cv.pooled
    assert sorted(pd.read_csv(run.folder / "oof.csv", dtype=str).image_id) == [f"{n:04d}" for n in range(36)]


def test_a_run_without_a_fold_cannot_be_scored(fetched, run):
    with pytest.raises(KitsolveError, match="no finished fold") as caught:
        score_run(fetched, run)
    assert caught.value.hint == "run `kitsolve train shades --run first`."


def test_a_blend_of_a_run_with_itself_scores_as_the_run(trained):
    run = find_run(trained, "shades")
    assert score_blend(trained, [run, run], read_blend(trained, "shades", [run, run]))[0] == score_run(trained, run)


def test_a_blend_counts_only_rows_that_every_run_has_predicted(fetched, run):
    other = start(fetched, "second")
    for fold in (0, 1):
        predict_fold(fetched, run, fold, right=9)
    predict_fold(fetched, other, 1, right=9)
    assert score_blend(fetched, [run, other], read_blend(fetched, "shades", [run, other]))[0].folds == [0.5]
    assert score_blend(fetched, [other, run], read_blend(fetched, "shades", [other, run]))[0].folds == [0.5]
