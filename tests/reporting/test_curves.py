import math
import re
import shutil

import pandas as pd
import pytest
from made_up import fetch_lookalike, write_run

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import find_run
from kitsolve.reporting.curves import kept_epoch, read_histories, show_curves
from kitsolve.reporting.svg import Line, draw_lines
from kitsolve.workspace import Workspace


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with five folds and one of all rows."""
    workspace = fetch_lookalike(tmp_path_factory.mktemp("curves"), "cassava-leaf-disease-classification")
    run = write_run(workspace, "cassava-leaf-disease-classification")
    history = pd.read_csv(run.fold(0) / "history.csv").assign(val_loss=math.nan, score=math.nan, best=True)
    run.fold(-1).mkdir()
    history.to_csv(run.fold(-1) / "history.csv", index=False)
    return run


def test_every_fold_has_its_line_in_every_chart(run):
    assert list(read_histories(run)) == [*(f"fold {fold}" for fold in range(5)), "fold all"]
    body = show_curves(run).body
    charts = body.split('<svg viewBox="0 0')[1:]
    assert [chart.count("<polyline") for chart in charts] == [6] * 4
    assert [re.search(r'aria-label="(.*?) by epoch"', chart)[1] for chart in charts] == [
        "train loss",
        "validation loss",
        "validation accuracy",
        "learning rate",
    ]


def test_points_say_what_they_are_and_the_best_epoch_is_marked(run):
    body = show_curves(run).body
    assert len(re.findall(r"<title>fold 2, epoch 3: [\d.]+ \(best\)</title>", body)) == 3  # not in the learning rate's
    assert "<title>fold 2, epoch 4: " in body


def test_the_fold_of_all_rows_has_no_validation_to_show(run):
    titles = re.findall(r"<title>fold all, epoch \d: ", show_curves(run).body)
    assert len(titles) == 8  # train loss and learning rate of four epochs


def test_the_history_of_a_finished_fold_must_be_what_the_training_left_that_of_a_running_one_may_grow(
    trained, tmp_path
):
    shutil.copytree(trained.root, tmp_path / "root")
    run = find_run(Workspace(tmp_path / "root"), "shades")
    path = run.fold(0) / "history.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    with pytest.raises(KitsolveError, match="fold_0/history.csv was changed or damaged after the training"):
        read_histories(run)
    (run.fold(0) / "fold.json").unlink()
    assert len(read_histories(run)["fold 0"]) == 3


def test_the_epoch_that_was_kept_is_the_last_one_that_was_the_best():
    assert kept_epoch(pd.DataFrame({"best": [True, False, True, False]})) == 2
    assert kept_epoch(pd.DataFrame({"best": [False, False]})) is None


def test_a_run_that_has_not_begun_has_no_curves(run):
    from dataclasses import replace

    assert show_curves(replace(run, folder=run.folder / "fold_0")) is None


@pytest.mark.parametrize("y", [[0.5], [math.nan], [2.0, 2.0, 2.0], [0.0, 0.0]])
def test_odd_histories_are_drawn_too(y):
    picture = draw_lines([Line("fold 0", list(range(1, len(y) + 1)), y, 0)], names=("epoch", "loss"))
    assert "nan" not in picture
    assert picture.count("<circle") == sum(value == value for value in y)


def test_a_loss_of_the_first_epochs_may_run_out_of_the_picture():
    line = Line("fold 0", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [100.0, *([1.0] * 9)], 0)
    heights = [
        [int(place) for place in re.findall(r'cy="(-?\d+)"', draw_lines([line], names=("epoch", "loss"), early=early))]
        for early in (0.0, 0.2)
    ]
    assert min(heights[0]) > 0 > min(heights[1])
