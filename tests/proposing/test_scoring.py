"""How competitions score: what is proposed must be what facts may say."""

import pandas as pd
import pytest

from kitsolve.config import TASK_FORMS, TASK_KINDS
from kitsolve.metrics import find_metric
from kitsolve.proposing.forms import Hints
from kitsolve.proposing.labels import find_form
from kitsolve.proposing.proposal import Guess
from kitsolve.proposing.scoring import FORMS, USUAL_METRICS


@pytest.mark.parametrize(("task", "kind"), USUAL_METRICS)
def test_every_usual_metric_scores_its_task(task, kind):
    assert kind in TASK_KINDS[task]
    for name in USUAL_METRICS[task, kind]:
        assert find_metric(name).wants in TASK_FORMS[task]


def test_every_task_and_kind_but_a_ranking_has_a_usual_metric():
    pairs = {(task, kind) for task, kinds in TASK_KINDS.items() for kind in kinds if kind != "top_k"}
    assert pairs == set(USUAL_METRICS)
    assert {kind for kinds in TASK_KINDS.values() for kind in kinds} == set(FORMS)


@pytest.mark.parametrize(
    ("asked", "positive", "sure"), [("Abnormal", "abnormal", True), ("prediction", "normal", False)]
)
def test_the_positive_label_is_the_one_that_the_samples_column_names(asked, positive, sure):
    rows = pd.DataFrame({"label": ["normal", "abnormal"] * 4})
    sample = pd.DataFrame({"id": ["a", "b"], asked: ["0.5", "0.5"]})
    guess = find_form(rows, Guess("label", ""), sample, Hints()).train["positive"]
    assert (guess.value, guess.is_sure) == (positive, sure)
