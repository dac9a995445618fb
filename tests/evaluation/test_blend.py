"""Blending finds what runs know together, and does not take the luck of its own rows for skill."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from kitsolve.data.fetch import read_train_table
from kitsolve.errors import KitsolveError
from kitsolve.evaluation import blend as blend_module
from kitsolve.evaluation.blend import (
    Blend,
    Candidate,
    Pool,
    choose,
    climb,
    combine,
    correlate,
    find_blend,
    fit_quantiles,
    rate_blends,
    read_blend,
    write_blend,
)
from kitsolve.evaluation.decoding import Judge
from kitsolve.evaluation.oof import Oof, write_oof
from kitsolve.evaluation.runs import Wanted, open_run, record_run
from kitsolve.evaluation.score import score_blend
from kitsolve.inference.bundle import Decoder
from kitsolve.metrics import find_metric
from kitsolve.workspace import Workspace, write_json

NAMES = ("bright", "dark", "grey")


def guess(targets, *, skill, seed, classes=3):
    """Softmax outputs of a run: the logit of the true class is raised by `skill`, the noise is the run's own."""
    logits = np.random.default_rng(seed).normal(0, 1, (len(targets), classes)) + skill * np.eye(classes)[targets]
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def pool(skills, *, metric="accuracy", task="multiclass", rows=600, classes=3, folds=5, seed=0):
    """Runs a, b, c… of so much skill each."""
    targets = np.random.default_rng(1000 + seed).integers(0, classes, rows)
    return Pool(
        judge=Judge(metric, find_metric(metric), Decoder(task)),
        activation="softmax",
        runs=tuple("abcdefghijklmn"[: len(skills)]),
        targets=targets,
        folds=np.arange(rows) * folds // rows,
        outputs=[
            guess(targets, skill=skill, seed=100 * seed + run, classes=classes) for run, skill in enumerate(skills)
        ],
    )


def candidates_of(report):
    return {candidate.method: candidate for candidate in report.candidates}


def equal(*runs, method="mean", ranked=()):
    return Blend(runs, method, (1 / len(runs),) * len(runs), tuple(fit_quantiles(outputs) for outputs in ranked))


# ------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_run_of_noise_gets_next_to_no_weight(metric):
    weights = climb(pool([2, 2, 0], metric=metric), np.arange(600))
    assert weights[2] < 0.07
    assert min(weights[:2]) > 0.2


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "f1_macro", "kl_divergence"])
@pytest.mark.parametrize("classes", [2, 4])
def test_weights_are_not_negative_and_sum_to_one(metric, classes):
    known = pool([1, 0.5, 2], metric=metric, classes=classes)
    if metric == "kl_divergence":
        known = replace(known, targets=np.eye(classes)[known.targets])
    weights = climb(known, np.arange(600))
    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1)


def test_two_runs_that_know_different_classes_beat_both():
    known = pool([0, 0], metric="log_loss")
    one, other = (
        guess(known.targets * (known.targets == known_class), skill=2, seed=known_class) for known_class in (1, 2)
    )
    report = rate_blends(replace(known, outputs=[one, other]), method="weighted")
    assert report.gain > 0.02
    assert candidates_of(report)["weighted"].honest < min(report.singles.values())


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_order_of_the_runs_only_orders_the_weights(metric):
    known, order = pool([1, 2, 0, 1], metric=metric), [2, 0, 3, 1]
    known.outputs[3] = known.outputs[1]  # of two that are the same, too, it is always the same one
    turned = replace(known, runs=tuple(known.runs[run] for run in order), outputs=[known.outputs[run] for run in order])
    weights = climb(known, np.arange(600))
    assert climb(turned, np.arange(600)) == tuple(weights[run] for run in order)


def test_a_run_that_makes_an_equal_mean_worse_still_gets_the_share_that_helps():
    known = pool([0, 0], metric="log_loss", classes=2)
    of_true = np.where(np.arange(600) % 5 == 0, 0.05, 0.8), np.full(600, 0.3)
    outputs = [np.where(np.eye(2)[known.targets] == 1, own[:, None], 1 - own[:, None]) for own in of_true]
    weights = climb(replace(known, outputs=outputs), np.arange(600))
    # The root of the derivative of 0.2 ln(0.05 + 0.25 w) + 0.8 ln(0.8 - 0.5 w).
    assert weights[1] == pytest.approx(0.16, abs=0.01)


def test_climbing_is_no_worse_than_the_best_run_on_its_rows():
    for seed in range(5):
        report = rate_blends(pool([1, 1.2, 0.8], seed=seed), method="weighted")
        assert candidates_of(report)["weighted"].fitted >= max(report.singles.values())


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "f1_macro"])
@pytest.mark.parametrize("seed", range(8))
def test_weights_climbed_on_a_sample_are_no_worse_than_the_mean_on_all_rows(monkeypatch, metric, seed):
    monkeypatch.setattr(blend_module, "MOST_NUMBERS", 1)
    monkeypatch.setattr(blend_module, "FEWEST_ROWS", 20)
    known = pool([0.5, 0.6, 0.4], metric=metric, seed=seed)
    report = rate_blends(known, method="weighted")
    fitted = [candidates_of(report)[method].fitted for method in ("weighted", "mean")]
    assert fitted[0] == fitted[1] or known.judge.metric.is_better(*fitted)


def test_climbing_looks_at_labels_with_a_threshold_that_suits_them():
    rng = np.random.default_rng(0)
    targets = (rng.random((400, 6)) < 0.3).astype(np.uint8)
    faint = [np.clip(0.2 * targets * skill + rng.normal(0.1, 0.05, targets.shape), 0, 1) for skill in (0, 1, 1)]
    judge = Judge("f1_micro", find_metric("f1_micro"), Decoder("multilabel"))
    weights = climb(Pool(judge, "sigmoid", ("a", "b", "c"), targets, np.arange(400) % 5, faint), np.arange(400))
    assert weights[0] < 0.1
    assert min(weights[1:]) > 0.3


# ------------------------------------------------------------------------------------------------ honesty


def test_the_luck_of_ten_runs_of_noise_is_no_gain():
    reports = [rate_blends(pool([0] * 10, rows=300, seed=seed), method="weighted") for seed in range(8)]
    weighted, gains = [candidates_of(report)["weighted"] for report in reports], [report.gain for report in reports]
    assert np.mean([candidate.fitted for candidate in weighted]) > 1 / 3 + 0.05
    assert np.mean([candidate.honest for candidate in weighted]) < 1 / 3 + 0.02
    assert np.mean(gains) < 2 * np.std(gains, ddof=1) / np.sqrt(len(gains))


def test_what_is_not_fitted_scores_honestly_as_it_is():
    mean = rate_blends(pool([1, 2])).candidates[0]
    assert (mean.method, mean.weights, mean.noise) == ("mean", (0.5, 0.5), 0)
    assert mean.honest == mean.fitted


def test_a_fold_does_not_decide_on_itself():
    known = pool([0, 0], folds=2)
    wrong = (known.targets + 1) % 3
    one, other = (np.eye(3)[np.where(known.folds == fold, known.targets, wrong)] for fold in (0, 1))
    report = rate_blends(replace(known, outputs=[one, other]), method="weighted")
    assert report.singles == {"a": 0.5, "b": 0.5}
    # For each fold the others say: the run that is wrong here.
    assert candidates_of(report)["weighted"].honest == 0
    assert report.gain == 0


def test_the_order_of_the_rows_does_not_matter():
    known, order = pool([1, 1.5, 0]), np.random.default_rng(0).permutation(600)
    mixed_up = replace(
        known,
        targets=known.targets[order],
        folds=known.folds[order],
        outputs=[outputs[order] for outputs in known.outputs],
    )
    one, other = rate_blends(known), rate_blends(mixed_up)
    assert (one.singles, one.chosen, one.gain) == (other.singles, other.chosen, other.gain)
    assert [candidate.honest for candidate in one.candidates] == [candidate.honest for candidate in other.candidates]


def test_gain_is_positive_where_less_is_better():
    report = rate_blends(pool([1, 1], metric="log_loss"))
    best = min(report.singles.values())
    assert report.gain > 0
    assert candidates_of(report)[report.chosen.method].honest < best


def test_a_run_twice_gains_nothing():
    known = pool([2, 0])
    same = replace(known, outputs=[known.outputs[0], known.outputs[0]])
    report = rate_blends(same)
    assert report.gain == 0
    assert report.chosen.method == "mean"


# ------------------------------------------------------------------------------------------------ choice


def candidate(method, honest, noise=0.0):
    return Candidate(method, (0.5, 0.5), fitted=honest, honest=honest, noise=noise)


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("log_loss", -1)])
def test_the_mean_is_left_only_for_a_lead_beyond_its_noise(metric, sign):
    mean, lucky, sure = candidate("mean", 0), candidate("weighted", sign * 3, 4), candidate("rank", sign * 2, 1)
    assert choose([mean, lucky], find_metric(metric)) == mean
    assert choose([mean, lucky, sure], find_metric(metric)) == sure
    assert choose([mean, sure, replace(lucky, noise=2.5)], find_metric(metric)).method == "weighted"


def test_runs_that_are_alike_are_blended_by_their_mean():
    chosen = rate_blends(pool([1, 1, 1], rows=400), method="auto").chosen
    assert chosen == equal("a", "b", "c")


@pytest.mark.parametrize("method", ["mean", "weighted", "geometric", "rank"])
def test_a_method_asked_for_by_name_is_taken(method):
    report = rate_blends(pool([1, 0], metric="roc_auc", task="binary", classes=2), method=method)
    assert report.chosen.method == method
    assert report.candidates[0].method == "mean"


def test_what_was_chosen_is_kept_for_these_runs_in_any_order(tmp_path):
    workspace, runs = Workspace(tmp_path), [SimpleNamespace(name=name) for name in ("b", "c", "a")]
    outputs = np.random.default_rng(0).random((50, 2))
    ranked = (fit_quantiles(outputs), fit_quantiles(2 * outputs), fit_quantiles(3 * outputs))
    write_blend(workspace, "shades", Blend(("a", "b", "c"), "rank", (0.25, 0.0, 0.75), ranked))
    assert read_blend(workspace, "shades", runs) == Blend(("c", "a"), "rank", (0.75, 0.25), (ranked[2], ranked[0]))
    assert read_blend(workspace, "shades", runs[:2]) == equal("b", "c")


@pytest.mark.parametrize(
    ("settings", "methods"),
    [
        ({}, ["mean", "weighted", "geometric"]),
        ({"metric": "roc_auc"}, ["mean", "weighted", "geometric", "rank"]),
    ],
)
def test_every_method_that_suits_is_tried(settings, methods):
    assert [one.method for one in rate_blends(pool([1, 1], **settings)).candidates] == methods


@pytest.mark.parametrize(
    ("method", "problem", "repair"),
    [
        ("rank", "a rank blend is not for accuracy of 3 outputs", "mean"),
        ("weigthed", "no blend 'weigthed'", "weighted"),
    ],
)
def test_a_method_that_is_not_for_these_runs_names_those_that_are(method, problem, repair):
    with pytest.raises(KitsolveError, match=problem) as caught:
        rate_blends(pool([1, 1]), method=method)
    assert repair in caught.value.hint


# ------------------------------------------------------------------------------------------------ combining


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_geometric_mean_of_equal_outputs_is_the_output(activation):
    outputs = guess(np.array([0, 1, 2, 2]), skill=3, seed=0)
    mixed = combine([outputs] * 3, equal("a", "b", "c", method="geometric"), activation=activation)
    np.testing.assert_allclose(mixed, outputs, rtol=1e-5)


def test_the_geometric_mean_is_the_root_of_the_product():
    one, other = np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])
    root = np.sqrt(one * other)
    for activation in ("softmax", "sigmoid"):  # of two classes they are the same
        mixed = combine([one, other], equal("a", "b", method="geometric"), activation=activation)
        np.testing.assert_allclose(mixed, root / root.sum(), rtol=1e-6)


def test_the_geometric_mean_of_corn_is_that_of_other_ordinal_outputs():
    """The OOF is mixed as the task says, the bundle as its models say: both must give the same."""
    runs = [np.array([[0.9, 0.4]]), np.array([[0.6, 0.5]])]
    mixed = [combine(runs, equal("a", "b", method="geometric"), activation=name) for name in ("sigmoid", "corn")]
    np.testing.assert_array_equal(*mixed)


def test_a_run_that_is_sure_and_wrong_has_no_veto():
    sure, other = np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.5, 0.5]], dtype=np.float32)
    for activation in ("softmax", "sigmoid"):
        mixed = combine([sure, other], equal("a", "b", method="geometric"), activation=activation)
        assert 1e-4 < mixed[0, 1] < 1e-3


def test_a_weight_of_zero_is_as_if_the_run_were_not_there():
    one, other = np.full((2, 3), 0.25, dtype=np.float32), np.full((2, 3), np.nan, dtype=np.float32)
    assert (
        combine([one, other], Blend(("a", "b"), "weighted", (1.0, 0.0)), activation="sigmoid").tolist() == one.tolist()
    )


def test_a_rank_is_the_share_of_the_rows_below():
    outputs = np.random.default_rng(0).permutation(101)[:, None] / 100
    ranks = combine([outputs], equal("a", method="rank", ranked=[outputs]), activation="sigmoid")
    np.testing.assert_allclose(ranks, outputs, atol=0.006)


def test_rows_that_are_equal_have_the_rank_of_their_middle():
    outputs = np.repeat([[0.0], [1.0]], [800, 200], axis=0)
    blend = equal("a", method="rank", ranked=[outputs])
    ranks = combine([np.array([[-1], [0.0], [1.0], [2]])], blend, activation="sigmoid")
    np.testing.assert_allclose(ranks.ravel(), [0.4, 0.4, 0.9, 0.9], atol=0.001)


def test_ranks_do_not_change_with_the_scale_of_a_run():
    rng = np.random.default_rng(0)
    one, other = rng.random((500, 3)), rng.random((500, 3))
    plain, scaled = (
        combine(runs, equal("a", "b", method="rank", ranked=runs), activation="sigmoid")
        for runs in ([one, other], [np.exp(5 * one), other**3])
    )
    np.testing.assert_allclose(plain, scaled, atol=1e-6)


def test_ranks_of_the_two_classes_of_a_binary_task_sum_to_one():
    positive = np.random.default_rng(0).beta(0.3, 3, 4000)
    outputs = np.stack([1 - positive, positive], axis=1)
    ranks = combine([outputs], equal("a", method="rank", ranked=[outputs]), activation="softmax")
    np.testing.assert_allclose(ranks.sum(axis=1), 1, atol=0.002)


def test_ranks_help_a_run_whose_outputs_are_drowned_by_a_louder_one():
    known = pool([1, 1], metric="roc_auc", task="binary", classes=2, rows=2000)
    quiet = 0.5 + 0.001 * (known.outputs[1] - 0.5)
    tried = candidates_of(rate_blends(replace(known, outputs=[known.outputs[0], quiet])))
    assert tried["rank"].honest > tried["mean"].honest + 0.02


# ------------------------------------------------------------------------------------------------ sparse, correlation


def test_sparse_outputs_are_blended_as_dense_ones():
    known = pool([5, 4, 6], rows=300, classes=40)
    outputs = [np.where(outputs > 0.02, outputs, 0) for outputs in known.outputs]
    dense = rate_blends(replace(known, outputs=outputs), method="weighted")
    sparse = rate_blends(replace(known, outputs=[csr_array(outputs) for outputs in outputs]))
    assert dense.candidates == sparse.candidates
    assert (dense.singles, dense.gain) == (sparse.singles, sparse.gain)


@pytest.mark.parametrize("method", ["geometric", "rank"])
def test_sparse_outputs_have_no_logarithms_and_no_ranks(method):
    known = pool([1, 1], metric="roc_auc")
    with pytest.raises(KitsolveError, match=f"a {method} blend is not for"):
        rate_blends(replace(known, outputs=[csr_array(outputs) for outputs in known.outputs]), method=method)


def test_correlation_is_pearsons():
    rng = np.random.default_rng(0)
    one, other = rng.random((200, 2)), rng.random((200, 2))
    found = correlate([one, 3 + 2 * one, -one, other])
    np.testing.assert_allclose(found[0, :3], [1, 1, -1])
    assert found[0, 3] == pytest.approx(np.mean([np.corrcoef(one[:, c], other[:, c])[0, 1] for c in (0, 1)]))


def test_a_column_that_does_not_vary_says_nothing():
    one = np.random.default_rng(0).random((50, 2))
    flat = np.stack([np.full(50, 0.1), one[:, 1]], axis=1)
    np.testing.assert_allclose(correlate([one, flat]), 1)
    assert correlate([np.full((9, 1), 0.1)] * 2).tolist() == [[1, 1], [1, 1]]


def test_sparse_correlation_is_over_the_places_where_a_run_has_a_number():
    one, other = csr_array([[0.9, 0.0, 0, 0], [0.2, 0.7, 0, 0]]), csr_array([[0.5, 0.4, 0, 0], [0.0, 0.8, 0, 0]])
    expected = np.corrcoef([0.9, 0.0, 0.2, 0.7], [0.5, 0.4, 0.0, 0.8])
    np.testing.assert_allclose(correlate([one, other]), expected)


# ------------------------------------------------------------------------------------------------ runs on disk


def write_run(workspace, name, *, skill, folds=(0, 1)):
    """A run of `shades` with these folds, whose outputs are of so much skill."""
    run = open_run(workspace, Wanted("shades", run_name=name))
    record_run(workspace, run)
    train = read_train_table(workspace, "shades")
    for fold in folds:
        rows = train[train.fold == fold]
        outputs = guess(rows.shade.map(NAMES.index).to_numpy(), skill=skill, seed=sum(map(ord, name)) + fold)
        write_oof(run.fold(fold) / "oof.csv", Oof(pd.Index(rows.image_id), np.full(len(rows), fold), outputs), NAMES)
        write_json(run.fold(fold) / "fold.json", {"fold": fold})
    return run


def test_the_mean_scores_as_the_bundle_of_the_same_runs(fetched):
    runs = [write_run(fetched, "one", skill=1), write_run(fetched, "two", skill=2)]
    report = find_blend(fetched, runs, method="mean")
    assert report.chosen == equal("one", "two")
    assert (report.metric, report.rows, list(report.singles)) == ("accuracy", 36, ["one", "two"])
    assert report.candidates[0].honest == score_blend(fetched, runs, report.chosen)[0].pooled


def test_runs_that_share_one_fold_are_blended_on_parts_of_it(fetched):
    runs = [write_run(fetched, "one", skill=1), write_run(fetched, "two", skill=4, folds=(1,))]
    report = find_blend(fetched, runs)
    assert report.rows == 18
    assert report.chosen.runs == ("one", "two")
    assert np.isfinite([candidate.noise for candidate in report.candidates]).all()


def test_a_run_alone_is_no_blend(fetched):
    run = write_run(fetched, "one", skill=1)
    with pytest.raises(KitsolveError, match="needs two runs, not 1: one") as caught:
        find_blend(fetched, [run, run])
    assert "name another run" in caught.value.hint


def test_runs_without_a_common_fold_cannot_be_blended(fetched):
    runs = [write_run(fetched, "one", skill=1, folds=(0,)), write_run(fetched, "two", skill=1, folds=(1,))]
    with pytest.raises(KitsolveError, match="one, two have 0 out-of-fold rows in common") as caught:
        find_blend(fetched, runs)
    assert "kitsolve train shades --run two" in caught.value.hint
