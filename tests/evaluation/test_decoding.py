"""Thresholds, cut points and clipping are fitted, never on a row's own fold, and never make the fitted rows worse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsolve.evaluation import decoding
from kitsolve.evaluation.decoding import Judge, decode_out_of_fold, fit_decoder
from kitsolve.inference.bundle import Decoder
from kitsolve.inference.decode import decode
from kitsolve.metrics import find_metric


def judge(task, metric):
    return Judge(metric, find_metric(metric), Decoder(task))


def noisy_sets(rows=400, labels=6, seed=0):
    """Targets and probabilities whose best threshold is about 0.2."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, labels)) < 0.3).astype(np.uint8)
    return targets, np.clip(0.2 + 0.1 * (2.0 * targets - 1) + rng.normal(0, 0.04, targets.shape), 0, 1)


def test_a_threshold_is_found_where_one_half_finds_nothing():
    targets, outputs = noisy_sets()
    rules = judge("multilabel", "f1_micro")
    assert rules.score(targets, outputs, rules.plain) == 0
    fitted = fit_decoder(rules, targets, outputs)
    assert 0.12 < fitted.thresholds[0] < 0.28
    assert rules.score(targets, outputs, fitted) > 0.95


def test_every_label_has_its_own_threshold_where_each_counts_alike():
    targets, outputs = noisy_sets()
    outputs[:, 0] *= 0.3
    fitted = fit_decoder(judge("multilabel", "f1_macro"), targets, outputs)
    assert len(fitted.thresholds) == 6
    assert fitted.thresholds[0] < min(fitted.thresholds[1:])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), offset=st.floats(0, 2.9), spread=st.floats(1e-3, 1.0))
def test_cut_points_find_the_classes_on_whatever_scale_the_outputs_are(seed, offset, spread):
    """A model that has learned little gives outputs that lie close together, on one side of every plain cut point."""
    classes = np.random.default_rng(seed).integers(0, 4, 120)
    grades = offset + spread * classes / 30
    outputs = np.repeat(grades[:, None] / 3, 3, axis=1).astype(np.float32)
    rules = judge("ordinal", "qwk")
    assert rules.score(classes, outputs, fit_decoder(rules, classes, outputs)) > 0.99


def test_cut_points_undo_a_bias():
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 5, 500)
    true = targets[:, None] > np.arange(4)
    outputs = np.clip(np.where(true, 0.6, 0.05) + rng.normal(0, 0.05, true.shape), 0, 1)
    rules = judge("ordinal", "qwk")
    plain, fitted = rules.plain, fit_decoder(rules, targets, outputs)
    assert list(fitted.thresholds) == sorted(fitted.thresholds)
    assert rules.score(targets, outputs, fitted) > rules.score(targets, outputs, plain) + 0.05


def test_clipping_saves_from_one_sure_mistake():
    targets = np.zeros(20, dtype=np.int64)
    outputs = np.tile([1.0, 0.0], (20, 1))
    outputs[0] = [0.0, 1.0]
    rules = judge("binary", "log_loss")
    fitted = fit_decoder(rules, targets, outputs)
    assert fitted.clip > 0.001
    assert rules.score(targets, outputs, fitted) < 0.3 < rules.score(targets, outputs, rules.plain)


def test_the_unknown_label_comes_before_classes_that_are_less_probable():
    outputs = np.array([[0.9, 0.06, 0.04], [0.4, 0.35, 0.25]])
    ranked = decode(outputs, Decoder("retrieval", thresholds=(0.5,), top_k=2), "ranking")
    assert ranked.tolist() == [[0, 3], [3, 0]]
    assert decode(outputs, Decoder("retrieval", top_k=2), "ranking").tolist() == [[0, 1], [0, 1]]


def test_a_place_for_the_unknown_label_is_found():
    rng = np.random.default_rng(2)
    targets = rng.integers(0, 4, 300)  # 3 is the unknown
    sure = np.eye(4)[targets][:, :3] * 0.6 + 0.1
    rules = judge("retrieval", "map@5")
    fitted = fit_decoder(rules, targets, sure + rng.normal(0, 0.01, sure.shape))
    assert 0.1 < fitted.thresholds[0] < 0.7


@pytest.mark.parametrize(
    ("task", "metric"),
    [("multilabel", "f1_micro"), ("multilabel", "f1_sample"), ("binary", "log_loss"), ("binary", "f1_macro")],
)
def test_a_fit_is_never_worse_on_its_own_rows(task, metric):
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 2, (60, 3) if task == "multilabel" else 60)
    positive = rng.random(targets.shape)
    outputs = positive if task == "multilabel" else np.stack([1 - positive, positive], axis=1)
    rules = judge(task, metric)
    plain = rules.score(targets, outputs, rules.plain)
    fitted = rules.score(targets, outputs, fit_decoder(rules, targets, outputs))
    assert fitted == plain or rules.metric.is_better(fitted, plain)


def test_a_row_is_decoded_by_what_the_other_folds_say():
    targets, outputs = noisy_sets()
    folds = np.arange(len(targets)) % 2
    outputs[folds == 1] *= 2  # fold 1 needs another threshold than fold 0
    rules = judge("multilabel", "f1_micro")
    decoded = decode_out_of_fold(rules, targets, outputs, folds)
    for fold in (0, 1):
        own = folds == fold
        other = fit_decoder(rules, targets[~own], outputs[~own])
        assert (decoded[own] == decode(outputs[own], other, "labels")).all()


def test_what_needs_no_fit_is_left_alone():
    rules = judge("multiclass", "accuracy")
    targets, outputs = np.array([0, 1, 2]), np.eye(3)
    assert fit_decoder(rules, targets, outputs) is rules.plain
    assert decode_out_of_fold(rules, targets, outputs, np.array([0, 0, 1])).tolist() == [0, 1, 2]


FITTED = [
    ("binary", "f1_macro"), ("binary", "f1_micro"), ("binary", "log_loss"), ("multiclass", "log_loss"),
    ("multilabel", "f1_macro"), ("multilabel", "f1_micro"), ("multilabel", "f1_sample"), ("ordinal", "qwk"),
    ("ordinal", "accuracy"), ("retrieval", "map@2"),
]  # fmt: skip


@st.composite
def predictions(draw):
    """A judge, targets and outputs; the targets often have a period, and the outputs are often good or constant."""
    task, metric = draw(st.sampled_from(FITTED))
    rows, period, seed = draw(st.integers(30, 300)), draw(st.integers(1, 9)), draw(st.integers(0, 10_000))
    rng, classes = np.random.default_rng(seed), 2 if task == "binary" else 3
    sharpness = draw(st.sampled_from([0.0, 0.5, 3.0]))
    targets = rng.integers(0, classes + (task == "retrieval"), period)[np.arange(rows) % period]
    if task == "multilabel":
        targets = rng.integers(0, 2, (period, 3), dtype=np.uint8)[np.arange(rows) % period]
        outputs = 1 / (1 + np.exp(-rng.normal(sharpness * (targets - 0.5), 1)))
    elif task == "ordinal":
        true = targets[:, None] > np.arange(classes - 1)
        outputs = 1 / (1 + np.exp(-rng.normal(sharpness * (true - 0.5), 1)))
    else:
        logits = rng.normal(size=(rows, classes)) + sharpness * (targets[:, None] == np.arange(classes))
        outputs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return judge(task, metric), targets, outputs.astype(np.float32)


@settings(max_examples=150)
@given(predictions(), st.integers(5, 400))
def test_what_is_fitted_to_a_sample_is_no_worse_than_the_plain_way_on_all_rows(made, most):
    rules, targets, outputs = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "MOST_ROWS", most)
        fitted = fit_decoder(rules, targets, outputs)
    scores = [rules.score(targets, outputs, decoder) for decoder in (fitted, rules.plain)]
    assert fitted == rules.plain or rules.metric.is_better(*scores)


def test_rows_that_come_in_pairs_are_not_fitted_to_one_of_the_two(monkeypatch):
    """An original and its forgery, one after the other: of every second row all are originals."""
    rng = np.random.default_rng(7)
    targets = np.arange(3000) % 2
    positive = 1 / (1 + np.exp(-rng.normal(np.where(targets, 1.2, -1.2))))
    outputs = np.column_stack([1 - positive, positive])
    rules = judge("binary", "f1_macro")
    monkeypatch.setattr(decoding, "MOST_ROWS", 1500)
    fitted = fit_decoder(rules, targets, outputs)
    monkeypatch.setattr(decoding, "MOST_ROWS", 3000)
    best = fit_decoder(rules, targets, outputs)
    assert rules.score(targets, outputs, fitted) > rules.score(targets, outputs, best) - 0.01
