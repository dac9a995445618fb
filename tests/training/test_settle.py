import math

import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Wanted, find_run, open_run
from kitsolve.recipe import Recipe
from kitsolve.settings import parse_duration
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.training.settle import Pace, find_batch_size, plan_epochs, read_settled

RECIPE = Recipe(backbone="timm/test_resnet", epochs=10, tta="hflip")
PACE = Pace(step_s=0.5, image_s=0.01)
"""An epoch of 100 steps and 100 validation images takes 51 s, the OOF of two views 2 s."""


def plan(left_s):
    return plan_epochs(RECIPE, PACE, left_s=left_s, steps_per_epoch=100, val_rows=100)


def test_with_time_enough_all_epochs_are_planned():
    assert plan(10_000) == 10


def test_as_many_whole_epochs_are_planned_as_fit():
    assert plan((4 * 51 + 2) / 0.9 + 0.1) == 4
    assert plan((4 * 51 + 2) / 0.9 - 0.1) == 3


def test_where_no_epoch_fits_a_part_of_one_is_planned():
    assert plan((21 + 2) / 0.9 + 0.01) == pytest.approx(0.4)
    assert plan(0) == pytest.approx(0.01), "a step at least: there must be a state_dict"


@pytest.mark.parametrize("left_s", [5, 50, 500, 5000])
def test_what_is_planned_fits(left_s):
    epochs = plan(left_s)
    cost = epochs * 100 * PACE.step_s + math.ceil(epochs) * 100 * PACE.image_s + 2 * 100 * PACE.image_s
    assert cost <= left_s


def test_the_largest_batch_that_fits_is_found_and_an_epoch_keeps_its_steps():
    assert find_batch_size(10**6, lambda size: size <= 100) == 64
    assert find_batch_size(10**6, lambda size: True) == 512
    assert find_batch_size(1000, lambda size: True) == 32
    assert find_batch_size(10, lambda size: True) == 8


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("2h30m", 9000), ("45s", 45), (None, math.inf)])
def test_a_time_is_read_as_people_write_it(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "1.5h", "soon"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(KitsolveError, match="is no time"):
        parse_duration(text)


def test_a_limit_far_too_small_still_ends_with_all_folds_and_the_same_plan(fetched):
    run = open_run(fetched, Wanted("shades", overrides=("epochs=500",), run_name="first"))
    cv = train_folds(fetched, run, [], choose_machine("cpu", 0), time_limit_s=1.0)
    assert cv.oof_rows == 36
    assert read_settled(run).epochs < 500
    assert find_run(fetched, "shades").name == "first"


def test_a_limit_that_is_long_enough_changes_nothing(fetched, trained):
    run = open_run(fetched, Wanted("shades", run_name="first"))
    train_folds(fetched, run, [0], choose_machine("cpu", 0), time_limit_s=3600)
    best = run.fold(0) / "best.safetensors"
    assert best.read_bytes() == (trained.runs("shades") / "first" / "fold_0" / "best.safetensors").read_bytes()


def test_what_was_settled_for_a_run_stays(fetched):
    machine = choose_machine("cpu", 0)
    run = open_run(fetched, Wanted("shades", overrides=("batch_size=auto", "cache=png"), run_name="first"))
    train_folds(fetched, run, [0], machine, time_limit_s=3600)
    settled = read_settled(run)
    assert (settled.batch_size, settled.cache) == (32, "png")
    train_folds(fetched, run, [1], machine)
    assert read_settled(run) == settled
