import numpy as np
import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Wanted, list_runs, open_run
from kitsolve.training.job import choose_machine
from kitsolve.training.lr_range import find_lr, smooth_losses, suggest_lr


def test_the_suggestion_is_where_the_loss_falls_most_steeply():
    lrs = np.geomspace(1e-6, 1, 121)
    position = np.log10(lrs)
    losses = 2 - np.tanh(2 * (position + 3)) + np.exp(8 * (position + 0.8)).clip(max=9)
    assert suggest_lr(lrs, losses) == pytest.approx(1e-3, rel=0.2)


def test_smoothing_does_not_shift_a_step_to_higher_rates():
    losses = np.where(np.arange(60) < 30, 2.0, 1.0)
    assert np.gradient(smooth_losses(losses)).argmin() in (29, 30)


def test_smoothing_ends_where_the_loss_is_no_number():
    assert len(smooth_losses([1.0, 1.0, float("nan"), 1.0])) == 2


def test_a_loss_that_only_rises_is_an_error():
    with pytest.raises(KitsolveError, match="falls at no learning rate"):
        suggest_lr(np.geomspace(1e-6, 1, 20), np.arange(20.0))


def test_the_test_draws_a_picture_and_leaves_no_run(fetched):
    run = open_run(fetched, Wanted("shades"), force=True)
    found = find_lr(fetched, run, choose_machine("cpu", 0), steps=60)
    assert 1e-6 < found.suggested < 1
    assert found.picture.read_bytes().startswith(b"\x89PNG")
    assert len(found.lrs) == len(found.losses) <= 60
    assert list_runs(fetched, "shades") == []
