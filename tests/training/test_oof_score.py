"""The score of a fold's OOF stands beside that of its epoch, with what makes them differ."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.inference.bundle import TTA
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.training.oof_score import describe_fold, list_differences
from kitsolve.workspace import read_json

WORDS = {
    "soup": "the mean of the best epochs' weights",
    "views": "the mean of 2 views",
    "cache": "the original files in place of the JPEG cache",
    "dtype": "another rounding (bfloat16 in merged layers)",
    "compile": "no torch.compile",
}


def made_up_job(changed, *, fits=False):
    """A fold of a run whose OOF is predicted otherwise in these ways."""
    recipe = SimpleNamespace(
        soup=2 if "soup" in changed else 1,
        views=TTA["hflip" if "views" in changed else "none"],
        compile="compile" in changed,
    )
    return SimpleNamespace(
        recipe=recipe,
        settled=SimpleNamespace(cache="jpeg" if "cache" in changed else "raw"),
        dtype=torch.bfloat16 if "dtype" in changed else torch.float32,
        data=SimpleNamespace(fold=3),
        run=SimpleNamespace(competition=SimpleNamespace(metric="accuracy")),
        judge=SimpleNamespace(fits=fits),
    )


@given(st.sets(st.sampled_from(sorted(WORDS))))
def test_exactly_what_differs_is_named(changed):
    assert sorted(list_differences(made_up_job(changed))) == sorted(WORDS[name] for name in changed)


@given(st.sets(st.sampled_from(sorted(WORDS))), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_reasons_stand_where_the_printed_scores_differ(changed, then, now, fits):
    line = describe_fold(made_up_job(changed, fits=fits), epoch=1, epoch_score=then, score=now)
    assert line.startswith(f"fold 3  OOF accuracy {now:.5f}")
    assert (f"after epoch 2 it was {then:.5f}: the OOF takes " in line) == (f"{then:.5f}" != f"{now:.5f}")
    assert ("in the CV to those of the other folds" in line) == fits
    assert "\n" not in line


def test_a_fold_without_validation_rows_has_no_line():
    assert describe_fold(made_up_job(set()), epoch=1, epoch_score=None, score=None) is None


@pytest.mark.parametrize("tta", ["none", "hflip"])
def test_without_a_difference_both_scores_are_one(fetched, capsys, tta):
    overrides = ("epochs=1", f"tta={tta}", "precision=float32", "cache=raw")
    run = open_run(fetched, Wanted("shades", overrides=overrides, run_name="first"))
    train_folds(fetched, run, [0], choose_machine("cpu", 0))
    done, history = read_json(run.fold(0) / "fold.json"), pd.read_csv(run.fold(0) / "history.csv")
    assert done["epoch_score"] == pytest.approx(history.score[done["epoch"]], abs=1e-12)
    assert done["oof_takes"] == ([] if tta == "none" else ["the mean of 2 views"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "OOF" in line]
    if tta == "none":
        assert line == f"fold 0  OOF accuracy {done['epoch_score']:.5f}"
