import math
import tracemalloc

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsolve.metrics import METRICS, find_metric

ROWS = 60
CASES = {
    "classes": ["accuracy", "log_loss", "roc_auc", "f1_micro", "f1_macro", "qwk", "map@3", "top_error@1"],
    "binary": ["log_loss", "roc_auc", "weighted_auc", "average_precision", "pf1"],
    "sets": ["accuracy", "log_loss", "mean_column_auc", "average_precision", "f1_micro", "f1_macro", "f1_sample"],
    "values": ["rmse", "mae"],
    "distributions": ["kl_divergence"],
}
every_case = pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in CASES for name in CASES[kind]])
pairs_of_classes = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40).map(np.array)
# The deadline would blame a busy machine.
law = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 999).map(np.random.default_rng)


def draw_targets(kind, rng):
    return {
        "classes": lambda: rng.permutation(np.arange(ROWS) % 4),
        "binary": lambda: rng.permutation(np.arange(ROWS) % 3 % 2),
        "sets": lambda: rng.integers(0, 2, (ROWS, 5)).astype(np.uint8),
        "values": lambda: rng.normal(50, 20, ROWS),
        "distributions": lambda: rng.dirichlet(np.ones(4), ROWS),
    }[kind]()


def say(kind, name, targets):
    """Predictions without a doubt, in the form that the metric wants."""
    wants = find_metric(name).wants
    if wants == "ranking":
        return (targets[:, None] + np.arange(3)) % 4
    if wants == "probs" and targets.ndim == 1:
        return np.eye(2 if kind == "binary" else 4)[targets]
    return targets.astype(float) if wants == "probs" else targets


def to_probs(positive):
    return np.stack([1 - np.asarray(positive), positive], axis=1)


def test_every_metric_is_among_the_cases():
    assert {name for names in CASES.values() for name in names} == {*METRICS, "map@3", "top_error@1"}


@every_case
def test_the_answer_itself_scores_one_or_costs_nothing(kind, name):
    targets, metric = draw_targets(kind, np.random.default_rng(0)), find_metric(name)
    score = metric.score(targets, say(kind, name, targets))
    assert score == pytest.approx(float(metric.greater_is_better), abs=1e-12)
    assert type(score) is float


@every_case
def test_the_answer_beats_a_guess_in_the_metrics_own_direction(kind, name):
    rng, metric = np.random.default_rng(1), find_metric(name)
    targets = draw_targets(kind, rng)
    right = metric.score(targets, say(kind, name, targets))
    guess = metric.score(targets, say(kind, name, draw_targets(kind, rng)))
    assert metric.is_better(right, guess)
    assert not metric.is_better(right, right)
    assert metric.is_better(guess, metric.worst)


@every_case
@law
@given(rng=seeds)
def test_the_order_of_the_rows_changes_no_score(kind, name, rng):
    targets, score = draw_targets(kind, rng), find_metric(name).score
    predictions = say(kind, name, draw_targets(kind, rng))
    if find_metric(name).wants == "probs":
        predictions = 0.5 * predictions + 0.5 / predictions.shape[1]
    order = rng.permutation(ROWS)
    assert score(targets[order], predictions[order]) == pytest.approx(score(targets, predictions))


@pytest.mark.parametrize("name", ["accuracy", "f1_micro", "f1_macro", "f1_sample"])
def test_label_sets_may_be_booleans(name):
    rng, score = np.random.default_rng(2), METRICS[name].score
    targets, labels = draw_targets("sets", rng), draw_targets("sets", rng)
    assert score(targets, labels.astype(bool)) == score(targets, labels)


@pytest.mark.parametrize("name", ["accuracy", "f1_macro", "qwk", "rmse", "mae"])
def test_a_column_in_place_of_a_row_is_not_broadcast(name):
    with pytest.raises(AssertionError, match=r"targets are \(3,\), predictions \(3, 1\)"):
        METRICS[name].score(np.array([0, 1, 2]), np.array([[0], [1], [2]]))


def test_accuracy_is_the_share_of_rows_whose_label_is_the_target():
    assert METRICS["accuracy"].score(np.array([0, 1, 1, 1]), np.array([0, 1, 0, 1])) == 0.75


def test_accuracy_of_label_sets_is_the_share_of_rows_that_are_right_in_all_labels():
    assert METRICS["accuracy"].score(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [1, 0]])) == 0.5


def test_log_loss_of_a_uniform_guess_is_the_log_of_the_number_of_classes():
    targets = np.array([0, 1, 2, 3])
    assert METRICS["log_loss"].score(targets, np.full((4, 4), 0.25)) == pytest.approx(math.log(4))


def test_log_loss_knows_classes_that_no_target_has():
    probs = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], dtype=np.float32)
    assert METRICS["log_loss"].score(np.array([0, 1]), probs) == pytest.approx(math.log(2))


def test_log_loss_divides_rows_of_classes_by_their_sum():
    probs = np.array([[0.2, 0.3, 0.1], [0.5, 0.5, 1.0]])
    assert METRICS["log_loss"].score(np.array([1, 2]), probs) == pytest.approx(math.log(2))


def test_one_sure_mistake_in_twenty_rows_costs_a_log_loss_of_1_80():
    targets = np.arange(20) % 2
    predicted = np.where(np.arange(20) == 7, 1 - targets, targets)
    for dtype in (np.float32, np.float64):
        score = METRICS["log_loss"].score(targets, np.eye(2, dtype=dtype)[predicted])
        assert score == pytest.approx(1.80, abs=0.005)


@law
@given(rng=seeds)
def test_log_loss_agrees_with_scikit_learn(rng):
    targets, probs = draw_targets("classes", rng), rng.dirichlet(np.full(4, 0.02), ROWS)
    assert METRICS["log_loss"].score(targets, probs) == pytest.approx(sklearn.metrics.log_loss(targets, probs))


def test_log_loss_of_label_sets_is_the_mean_of_the_columns_binary_log_losses():
    rng = np.random.default_rng(3)
    targets, probs = draw_targets("sets", rng), rng.random((ROWS, 5))
    columns = [METRICS["log_loss"].score(targets[:, k].astype(int), to_probs(probs[:, k])) for k in range(5)]
    assert METRICS["log_loss"].score(targets, probs) == pytest.approx(np.mean(columns))


def test_roc_auc_counts_the_pairs_in_the_right_order():
    positive = np.array([0.1, 0.4, 0.35, 0.8])  # 3 of the 4 pairs of a positive and a negative are in order
    assert METRICS["roc_auc"].score(np.array([0, 0, 1, 1]), to_probs(positive)) == 0.75


def test_roc_auc_of_three_classes_is_the_mean_of_one_against_the_rest():
    assert METRICS["roc_auc"].score(np.array([0, 1, 2]), np.eye(3)) == 1.0
    assert METRICS["roc_auc"].score(np.array([0, 1, 2]), np.full((3, 3), 1 / 3)) == 0.5


@law
@given(rng=seeds)
def test_roc_auc_agrees_with_scikit_learn(rng):
    targets, probs = draw_targets("classes", rng), rng.dirichlet(np.ones(4), ROWS)
    theirs = sklearn.metrics.roc_auc_score(targets, probs, multi_class="ovr")
    assert METRICS["roc_auc"].score(targets, probs) == pytest.approx(theirs)


@pytest.mark.parametrize("name", ["roc_auc", "weighted_auc"])
def test_a_roc_curve_names_the_class_without_rows(name):
    with pytest.raises(ValueError, match=f"{name} needs every class among the targets; class 0 has no row"):
        METRICS[name].score(np.array([1, 1]), np.eye(2))


def test_mean_column_auc_is_the_mean_over_the_columns():
    targets = np.array([[0, 1], [0, 0], [1, 1], [1, 0]])
    probs = np.array([[0.1, 0.9], [0.4, 0.2], [0.35, 0.8], [0.8, 0.1]])
    assert METRICS["mean_column_auc"].score(targets, probs) == (0.75 + 1) / 2


def test_mean_column_auc_leaves_out_a_label_that_all_rows_have_or_none():
    targets = np.array([[0, 1, 0], [0, 1, 0], [1, 1, 0], [1, 1, 0]])
    assert METRICS["mean_column_auc"].score(targets, np.array([[0.1], [0.4], [0.35], [0.8]]) * np.ones(3)) == 0.75
    with pytest.raises(ValueError, match="some rows have and others lack"):
        METRICS["mean_column_auc"].score(targets[:, 1:], np.full((4, 2), 0.5))


def weighted_auc_by_bands(targets, positive):
    """Each positive owns a band of the true positive rate, in which 1 - fpr is the share of negatives below it."""
    best_first = np.sort(positive[targets == 1])[::-1]
    edges = np.linspace(0, 1, len(best_first) + 1)
    heavy = np.diff(np.minimum(edges, 0.4))
    below = np.array([np.mean(positive[targets == 0] < score) for score in best_first])
    return ((np.diff(edges) + heavy) * below).sum() / (0.4 * 2 + 0.6 * 1)


@law
@given(rng=seeds, positives=st.integers(1, 12))
def test_weighted_auc_counts_the_true_positive_rate_below_0_4_twice(rng, positives):
    targets, positive = rng.permutation(np.arange(20) < positives).astype(int), rng.random(20)
    ours = METRICS["weighted_auc"].score(targets, to_probs(positive))
    assert ours == pytest.approx(weighted_auc_by_bands(targets, positive))


def test_weighted_auc_of_a_constant_guess_is_that_of_the_diagonal():
    # below 0.4: a triangle of 0.4² / 2 and a rectangle of 0.4 · 0.6; the whole: 1/2
    score = METRICS["weighted_auc"].score(np.array([0, 1, 0, 1, 1]), np.full((5, 2), 0.5))
    assert score == pytest.approx((0.5 + 0.08 + 0.24) / 1.4)


@law
@given(rng=seeds)
def test_average_precision_agrees_with_scikit_learn(rng):
    targets, probs = draw_targets("binary", rng), rng.dirichlet([1, 1], ROWS)
    theirs = sklearn.metrics.average_precision_score(targets, probs[:, 1])
    assert METRICS["average_precision"].score(targets, probs) == pytest.approx(theirs)


def test_average_precision_of_label_sets_leaves_out_labels_that_no_row_has():
    targets = np.array([[1, 0, 0], [0, 0, 1]])
    probs = np.array([[0.9, 0.5, 0.9], [0.1, 0.5, 0.1]])  # the positive of the last column is the second of two
    assert METRICS["average_precision"].score(targets, probs) == (1 + 1 / 2) / 2


@pytest.mark.parametrize("name", ["average_precision", "pf1"])
def test_a_metric_of_positives_needs_one(name):
    with pytest.raises(ValueError, match=f"{name} needs a positive among the targets; there is none"):
        METRICS[name].score(np.zeros(3, dtype=int), np.full((3, 2), 0.5))


def test_pf1_of_a_constant_guess_has_the_prevalence_as_precision_and_the_guess_as_recall():
    score = METRICS["pf1"].score(np.array([1, 0, 0, 0, 0]), to_probs(np.full(5, 0.3)))
    assert score == pytest.approx(2 * 0.2 * 0.3 / (0.2 + 0.3))


@law
@given(rng=seeds)
def test_pf1_of_sure_predictions_is_the_f1_of_their_labels(rng):
    targets, labels = draw_targets("binary", rng), rng.integers(0, 2, ROWS)
    theirs = sklearn.metrics.f1_score(targets, labels, zero_division=0)
    assert METRICS["pf1"].score(targets, np.eye(2)[labels]) == pytest.approx(theirs)


def test_pf1_of_probabilities_that_are_all_zero_is_zero():
    assert METRICS["pf1"].score(np.array([0, 1]), to_probs([0.0, 0.0])) == 0.0


@law
@given(pairs=pairs_of_classes)
def test_f1_micro_of_single_labels_is_the_accuracy(pairs):
    targets, labels = pairs.T
    assert METRICS["f1_micro"].score(targets, labels) == METRICS["accuracy"].score(targets, labels)


def test_f1_macro_is_the_mean_of_the_classes_f1():
    # class 0: precision 1, recall 1/2, F1 2/3; class 1: precision 1/2, recall 1, F1 2/3; class 2: F1 1
    score = METRICS["f1_macro"].score(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]))
    assert score == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


@law
@given(pairs=pairs_of_classes, gap=st.integers(1, 9))
def test_f1_macro_of_classes_that_nobody_has_or_predicts_agrees_with_scikit_learn(pairs, gap):
    targets, labels = pairs.T
    theirs = sklearn.metrics.f1_score(targets, labels, average="macro", zero_division=0)
    assert METRICS["f1_macro"].score(targets * gap, labels * gap) == pytest.approx(theirs)


@pytest.mark.parametrize(("name", "average"), [("f1_micro", "micro"), ("f1_macro", "macro"), ("f1_sample", "samples")])
@law
@given(rng=seeds)
def test_f1_of_label_sets_agrees_with_scikit_learn(name, average, rng):
    targets, labels = draw_targets("sets", rng), draw_targets("sets", rng)
    theirs = sklearn.metrics.f1_score(targets, labels, average=average, zero_division=1)
    assert METRICS[name].score(targets, labels) == pytest.approx(theirs)


def test_f1_macro_of_label_sets_leaves_out_labels_that_are_neither_true_nor_predicted():
    targets, labels = np.array([[1, 0, 0], [1, 0, 0]]), np.array([[1, 0, 0], [0, 1, 0]])
    assert METRICS["f1_macro"].score(targets, labels) == pytest.approx((2 / 3 + 0) / 2)


def test_f1_sample_is_the_mean_of_the_rows_f1_and_an_empty_row_that_is_left_empty_counts_one():
    targets, labels = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]]), np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert METRICS["f1_sample"].score(targets, labels) == pytest.approx((2 / 3 + 1 + 0) / 3)


@pytest.mark.parametrize("name", ["f1_micro", "f1_macro", "f1_sample"])
def test_no_label_is_the_right_answer_where_there_is_none(name):
    empty = np.zeros((4, 3), dtype=np.uint8)
    assert METRICS[name].score(empty, empty) == 1.0


@pytest.mark.parametrize("name", ["accuracy", "f1_micro", "f1_macro", "qwk"])
def test_fifteen_thousand_classes_need_no_table_of_rows_by_classes(name):
    targets, labels = np.random.default_rng(4).integers(0, 15_501, (2, 170_000))
    tracemalloc.start()
    METRICS[name].score(targets, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * targets.nbytes  # a table of bools would be 2.6 GB


def test_qwk_is_one_for_agreement_and_minus_one_for_opposites():
    assert METRICS["qwk"].score(np.array([0, 1, 2]), np.array([0, 1, 2])) == pytest.approx(1)
    assert METRICS["qwk"].score(np.array([0, 2]), np.array([2, 0])) == pytest.approx(-1)


def test_qwk_weighs_a_mistake_by_the_square_of_its_distance():
    # observed weighted disagreement 1/4 · 1, expected 1/16 · (sum over all pairs of squared distances)
    targets, labels = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 2])
    expected = np.mean([(a - b) ** 2 for a in targets for b in labels])
    assert METRICS["qwk"].score(targets, labels) == pytest.approx(1 - 0.25 / expected)


@law
@given(pairs=pairs_of_classes)
def test_qwk_agrees_with_scikit_learn_and_is_one_where_all_is_one_class(pairs):
    targets, labels = pairs.T
    if len(np.unique(pairs)) == 1:
        assert METRICS["qwk"].score(targets, labels) == 1.0
        return
    theirs = sklearn.metrics.cohen_kappa_score(targets, labels, labels=np.arange(6), weights="quadratic")
    assert METRICS["qwk"].score(targets, labels) == pytest.approx(theirs, abs=1e-12)


def test_rmse_and_mae_of_one_mistake_of_four_in_four_rows_are_two_and_one():
    targets, values = np.array([1, 2, 3, 4]), np.array([1.0, 2.0, 3.0, 8.0], dtype=np.float32)
    assert METRICS["rmse"].score(targets, values) == 2.0
    assert METRICS["mae"].score(targets, values) == 1.0


def test_rmse_of_the_mean_is_the_standard_deviation():
    targets = draw_targets("values", np.random.default_rng(5))
    assert METRICS["rmse"].score(targets, np.full(ROWS, targets.mean())) == pytest.approx(targets.std())


@pytest.mark.parametrize(
    ("targets", "probs", "score"),
    [
        ([[0, 1], [1, 0], [1, 0], [0, 1]], [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]], 0.216161),
        ([[0, 0.1, 0.9], [0.5, 0.5, 0], [0.5, 0.5, 0]], [[0, 0.1, 0.9], [0.5, 0.5, 0], [0.5, 0.5, 0]], 0),
        ([[0, 0.1, 0.9], [0.5, 0.5, 0], [0.5, 0.5, 0]], [[0.2, 0.1, 0.7], [0.3, 0.5, 0.2], [0.5, 0.5, 0]], 0.160531),
    ],
)
def test_kl_divergence_of_the_examples_that_kaggle_publishes(targets, probs, score):
    assert METRICS["kl_divergence"].score(np.array(targets), np.array(probs)) == pytest.approx(score, abs=1e-6)


def test_kl_divergence_from_sure_targets_is_the_log_loss():
    rng = np.random.default_rng(6)
    targets, probs = draw_targets("classes", rng), rng.dirichlet(np.ones(4), ROWS)
    assert METRICS["kl_divergence"].score(np.eye(4)[targets], probs) == pytest.approx(
        METRICS["log_loss"].score(targets, probs)
    )


def test_kl_divergence_clips_a_prediction_of_zero():
    score = METRICS["kl_divergence"].score(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert score == pytest.approx(15 * math.log(10))


def test_map_of_the_rankings_that_kaggle_calls_perfect_is_one():
    ranking = np.array([[0, 1, 2, 3, 4], [0, 0, 0, 0, 0], [0, 1, 0, 2, 0]])
    assert find_metric("map@5").score(np.array([0, 0, 0]), ranking) == 1.0


def test_map_gives_one_over_the_rank_of_the_first_occurrence_within_k():
    ranking = np.array([[7, 1, 2], [1, 7, 7], [1, 2, 7], [1, 2, 3]])
    assert find_metric("map@2").score(np.full(4, 7), ranking) == (1 + 1 / 2 + 0 + 0) / 4
    assert find_metric("map@3").score(np.full(4, 7), ranking) == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)


def test_top_error_is_the_share_of_rows_whose_label_is_not_among_the_first_k():
    ranking = np.array([[7, 1, 2], [1, 7, 7], [1, 2, 7], [1, 2, 3]])
    assert [find_metric(f"top_error@{k}").score(np.full(4, 7), ranking) for k in (1, 2, 3)] == [0.75, 0.5, 0.25]


@law
@given(rng=seeds)
def test_the_first_place_alone_is_the_accuracy(rng):
    targets, ranking = draw_targets("classes", rng), rng.integers(0, 4, (ROWS, 3))
    accuracy = METRICS["accuracy"].score(targets, ranking[:, 0])
    assert find_metric("map@1").score(targets, ranking) == pytest.approx(accuracy)
    assert find_metric("top_error@1").score(targets, ranking) == pytest.approx(1 - accuracy)


@pytest.mark.parametrize("name", ["weighted_auc", "average_precision", "pf1"])
def test_a_metric_of_two_classes_refuses_three(name):
    with pytest.raises(ValueError, match=f"{name} is a metric of two classes"):
        METRICS[name].score(np.array([0, 1, 2]), np.eye(3))


@pytest.mark.parametrize(("name", "instead"), [("mean_column_auc", "roc_auc"), ("f1_sample", "f1_macro")])
def test_a_metric_of_label_sets_refuses_single_labels_and_names_the_one_for_them(name, instead):
    with pytest.raises(ValueError, match=f"{name} is a metric of label sets; classes have .*{instead}"):
        METRICS[name].score(np.array([0, 1]), np.eye(2))


def test_a_metric_of_classes_refuses_label_sets():
    for name in ("roc_auc", "qwk"):
        with pytest.raises(ValueError, match=rf"{name} is a metric of .*classes.* label sets"):
            METRICS[name].score(np.eye(2, dtype=int), np.eye(2))


def test_a_metric_is_found_by_its_name():
    assert all(find_metric(name) is metric for name, metric in METRICS.items())
    assert (find_metric("map@20").wants, find_metric("map@20").greater_is_better) == ("ranking", True)
    assert (find_metric("top_error@3").wants, find_metric("top_error@3").greater_is_better) == ("ranking", False)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("acuracy", "accuracy"),
        ("map5", "map@5"),
        ("map@0", "map@5"),
        ("map@-1", "map@5"),
        ("top_error@k", "top_error@5"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(name, near):
    with pytest.raises(ValueError, match=rf"unknown metric '{name}'; known: .*{near}"):
        find_metric(name)
