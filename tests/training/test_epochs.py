import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.metrics import find_metric
from kitsolve.training.epochs import is_best, rank_epoch

ACCURACY, LOG_LOSS = find_metric("accuracy"), find_metric("log_loss")


def lines(*pairs):
    return [{"score": score, "val_loss": loss} for score, loss in pairs]


def flags(metric, history):
    return [is_best(metric, line, history[:epoch]) for epoch, line in enumerate(history)]


def test_between_equal_scores_the_lower_validation_loss_decides():
    history = lines((0.5, 0.9), (1.0, 0.7), (1.0, 0.5), (1.0, 0.6), (1.0, 0.5), (0.9, 0.1))
    assert flags(ACCURACY, history) == [True, True, True, False, False, False]


def test_a_metric_that_should_fall_decides_the_same_way():
    history = lines((0.5, 0.9), (0.4, 0.9), (0.4, 0.8), (0.5, 0.1))
    assert flags(LOG_LOSS, history) == [True, True, True, False]


@pytest.mark.parametrize("metric", [ACCURACY, LOG_LOSS])
def test_what_is_no_number_is_the_best_only_while_there_is_nothing_else(metric):
    nan = math.nan
    assert flags(metric, lines((nan, nan), (nan, nan), (0.2, nan), (0.2, 0.3), (0.2, nan))) == [
        True, False, True, True, False,
    ]  # fmt: skip


NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12), st.sampled_from([ACCURACY, LOG_LOSS]))
def test_the_last_best_epoch_is_the_first_of_those_that_no_other_beats(pairs, metric):
    history = lines(*pairs)
    best = max(epoch for epoch, flag in enumerate(flags(metric, history)) if flag)
    ranks = [rank_epoch(metric, line) for line in history]
    assert best == ranks.index(min(ranks))
    for line in history:
        assert not metric.is_better(line["score"], history[best]["score"])
        if line["score"] == history[best]["score"]:
            assert not line["val_loss"] < history[best]["val_loss"]
