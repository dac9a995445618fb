import math

import numpy as np
import pytest

from kitsolve.metrics import METRICS


def one_hot(classes, count):
    return np.eye(count)[classes]


def test_accuracy_is_the_share_of_rows_whose_largest_probability_is_the_target():
    probs = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1], [0.2, 0.8]])
    assert METRICS["accuracy"].score(np.array([0, 1, 1, 1]), probs) == 0.75


def test_log_loss_of_a_uniform_guess_is_the_log_of_the_number_of_classes():
    targets = np.array([0, 1, 2, 3])
    assert METRICS["log_loss"].score(targets, np.full((4, 4), 0.25)) == pytest.approx(math.log(4))


def test_log_loss_knows_classes_that_no_target_has():
    probs = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], dtype=np.float32)
    assert METRICS["log_loss"].score(np.array([0, 1]), probs) == pytest.approx(math.log(2))


def test_roc_auc_counts_the_pairs_in_the_right_order():
    positive = np.array([0.1, 0.4, 0.35, 0.8])  # 3 of the 4 pairs of a positive and a negative are in order
    probs = np.stack([1 - positive, positive], axis=1)
    assert METRICS["roc_auc"].score(np.array([0, 0, 1, 1]), probs) == 0.75


def test_roc_auc_of_three_classes_is_the_mean_of_one_against_the_rest():
    assert METRICS["roc_auc"].score(np.array([0, 1, 2]), one_hot([0, 1, 2], 3)) == 1.0
    assert METRICS["roc_auc"].score(np.array([0, 1, 2]), np.full((3, 3), 1 / 3)) == 0.5


def test_roc_auc_names_the_class_without_rows():
    with pytest.raises(ValueError, match="class 2 has no row"):
        METRICS["roc_auc"].score(np.array([0, 1]), one_hot([0, 1], 3))


def test_f1_macro_is_the_mean_of_the_classes_f1():
    # class 0: precision 1, recall 1/2, F1 2/3; class 1: precision 1/2, recall 1, F1 2/3; class 2: F1 1
    score = METRICS["f1_macro"].score(np.array([0, 0, 1, 2]), one_hot([0, 1, 1, 2], 3))
    assert score == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_qwk_is_one_for_agreement_and_minus_one_for_opposites():
    assert METRICS["qwk"].score(np.array([0, 1, 2]), one_hot([0, 1, 2], 3)) == pytest.approx(1)
    assert METRICS["qwk"].score(np.array([0, 2]), one_hot([2, 0], 3)) == pytest.approx(-1)


def test_qwk_weighs_a_mistake_by_the_square_of_its_distance():
    # observed weighted disagreement 1/4 · 1, expected 1/16 · (sum over all pairs of squared distances)
    targets, predicted = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 2])
    expected = np.mean([(a - b) ** 2 for a in targets for b in predicted])
    assert METRICS["qwk"].score(targets, one_hot(predicted, 4)) == pytest.approx(1 - 0.25 / expected)


@pytest.mark.parametrize("name", METRICS)
def test_a_perfect_prediction_beats_a_wrong_one_in_the_metrics_own_direction(name):
    targets, metric = np.array([0, 1, 2, 0, 1, 2]), METRICS[name]
    right = metric.score(targets, one_hot(targets, 3) * 0.7 + 0.1)
    wrong = metric.score(targets, one_hot((targets + 1) % 3, 3) * 0.7 + 0.1)
    assert metric.is_better(right, wrong)
    assert not metric.is_better(right, right)
    assert metric.is_better(wrong, metric.worst)
