"""Out-of-fold outputs survive the way through their file, also those of thousands of classes."""

import numpy as np
import pandas as pd
import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.decoding import Judge
from kitsolve.evaluation.oof import (
    FEWEST,
    MOST,
    SMALLEST,
    WIDE,
    Oof,
    align_oofs,
    compress,
    decode_rows,
    iter_dense,
    read_oof,
    spread_rest,
    stack_outputs,
    write_oof,
)
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.inference.bundle import Blend, Decoder
from kitsolve.inference.combine import combine
from kitsolve.inference.decode import decode
from kitsolve.metrics import find_metric
from kitsolve.training.losses import loss_of_outputs
from kitsolve.workspace import write_json

NAMES = tuple(f"class {number}, “odd”" for number in range(WIDE + 5))
TRAIN = pd.DataFrame({"image_id": ["007", "1e5", "b", "a"], "fold": [0, 1, 0, 1]})


def peaked(rows, classes, seed=0):
    """Probabilities as of a trained model: a few are large."""
    logits = np.random.default_rng(seed).normal(0, 3, (rows, classes))
    probs = np.exp(logits * 3)
    return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def write_folds(workspace, outputs, names, *, name="first", folds=(0, 1), whole=False):
    run = open_run(workspace, Wanted("shades", run_name=name))
    for fold in folds:
        rows = TRAIN.fold == fold
        kept = stack_outputs(iter([outputs[rows.to_numpy()]]), whole=whole)
        write_oof(run.fold(fold) / "oof.csv", Oof(pd.Index(TRAIN.image_id[rows]), np.full(2, fold), kept), names)
        write_json(run.fold(fold) / "fold.json", {"fold": fold})
    return run


@pytest.mark.parametrize("classes", [3, WIDE + 5])
def test_every_digit_survives_and_rows_keep_their_ids(fetched, classes):
    outputs = peaked(4, classes)
    run = write_folds(fetched, outputs, NAMES[:classes])
    oof = read_oof(run, TRAIN, NAMES[:classes], whole=False)
    assert oof.image_ids.tolist() == ["007", "b", "1e5", "a"]
    assert oof.folds.tolist() == [0, 0, 1, 1]
    back = np.concatenate([part for _, part in iter_dense(oof.outputs)])
    expected = outputs[[0, 2, 1, 3]]
    np.testing.assert_array_equal(back[back > 0], expected[back > 0])
    assert expected[back == 0].max(initial=0) < (SMALLEST if classes > WIDE else 1e-30)


def test_of_thousands_of_outputs_a_row_keeps_the_largest():
    outputs = np.full((2, 2000), 0.4, dtype=np.float32)
    outputs[0, 7], outputs[1, :] = 0.9, 1e-4
    kept = compress(outputs)
    assert kept[[0]].nnz == MOST
    assert kept[0, 7] == np.float32(0.9)
    assert kept[[1]].nnz == FEWEST


@pytest.mark.parametrize(
    ("task", "form"), [("multiclass", "labels"), ("retrieval", "ranking"), ("multilabel", "labels")]
)
def test_sparse_outputs_are_decoded_as_dense_ones(task, form):
    outputs = peaked(9, WIDE + 5)
    decoder = Decoder(task, top_k=2)
    np.testing.assert_array_equal(decode_rows(compress(outputs), decoder, form), decode(outputs, decoder, form))


def test_the_best_of_a_row_are_kept_however_small_they_are():
    outputs = np.random.default_rng(0).dirichlet(np.full(9000, 50.0), size=6).astype(np.float32)
    assert outputs.max() < SMALLEST
    decoder = Decoder("retrieval", top_k=FEWEST)
    expected = decode(outputs, decoder, "ranking")
    np.testing.assert_array_equal(decode_rows(compress(outputs), decoder, "ranking"), expected)


def test_where_every_output_counts_all_are_kept(fetched):
    outputs = np.full((4, WIDE + 5), 1 / (WIDE + 5), dtype=np.float32)
    run = write_folds(fetched, outputs, NAMES, whole=True)
    oof = read_oof(run, TRAIN, NAMES, whole=True)
    np.testing.assert_array_equal(oof.outputs, outputs)
    labels = read_oof(run, TRAIN, NAMES, whole=False)
    assert labels.outputs.nnz == 4 * FEWEST


def test_what_was_not_kept_is_not_scored_as_0(fetched):
    run = write_folds(fetched, peaked(4, WIDE + 5), NAMES, whole=False)
    with pytest.raises(KitsolveError, match="run first keeps the largest of a row's outputs alone") as caught:
        read_oof(run, TRAIN, NAMES, whole=True)
    assert "`kitsolve train shades --run first --fold 0 --fold 1 --force`" in caught.value.hint


@pytest.mark.parametrize(
    ("task", "metric", "needs_all"),
    [
        ("multiclass", "log_loss", True),
        ("multilabel", "mean_column_auc", True),
        ("ordinal", "qwk", True),
        ("multiclass", "accuracy", False),
        ("multilabel", "f1_micro", False),
        ("retrieval", "map@5", False),
    ],
)
def test_probabilities_and_ordinal_classes_need_every_output(task, metric, needs_all):
    assert Judge(metric, find_metric(metric), Decoder(task)).needs_all is needs_all


def test_the_loss_of_a_model_that_has_learned_nothing_is_the_log_of_the_number_of_classes():
    classes = WIDE + 500
    (_, part), *_ = iter_dense(compress(np.full((3, classes), 1 / classes, dtype=np.float32)))
    loss = loss_of_outputs(spread_rest(part, "softmax"), np.array([0, 7, classes - 1]), activation="softmax")
    assert loss == pytest.approx(np.log(classes), rel=1e-5)


def test_the_rest_of_a_row_is_what_it_lacks_or_half_of_the_least_that_is_kept():
    part = np.array([[0.9, 0.05, 0, 0], [0.6, 0.4, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(spread_rest(part, "softmax"), [[0.9, 0.05, 0.025, 0.025], [0.6, 0.4, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(spread_rest(part, "sigmoid")[:, 2:], SMALLEST / 2)


@pytest.mark.parametrize("classes", [3, WIDE + 5])
def test_a_blend_is_the_mean_of_the_rows_that_all_runs_have(fetched, classes):
    names, one, other = NAMES[:classes], peaked(4, classes, seed=1), peaked(4, classes, seed=2)
    runs = [
        write_folds(fetched, one, names, name="one"),
        write_folds(fetched, other, names, name="other", folds=(1,)),
    ]
    ids, folds, outputs = align_oofs([read_oof(run, TRAIN, names, whole=False) for run in runs])
    assert ids.tolist() == ["1e5", "a"]
    assert folds.tolist() == [1, 1]
    mean = combine(outputs, Blend(("one", "other"), "mean", (0.5, 0.5)), activation="softmax")
    dense = np.concatenate([part for _, part in iter_dense(mean)])
    np.testing.assert_allclose(dense, (one[[1, 3]] + other[[1, 3]]) / 2, atol=SMALLEST)
