"""Out-of-fold outputs survive the way through their file, also those of thousands of classes."""

import numpy as np
import pandas as pd
import pytest

from kitsolve.evaluation.oof import (
    MOST,
    SMALLEST,
    WIDE,
    Oof,
    align_oofs,
    compress,
    decode_rows,
    iter_dense,
    read_oof,
    write_oof,
)
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.inference.bundle import Blend, Decoder
from kitsolve.inference.combine import combine
from kitsolve.inference.decode import decode
from kitsolve.workspace import write_json

NAMES = tuple(f"class {number}, “odd”" for number in range(WIDE + 5))
TRAIN = pd.DataFrame({"image_id": ["007", "1e5", "b", "a"], "fold": [0, 1, 0, 1]})


def peaked(rows, classes, seed=0):
    """Probabilities as of a trained model: a few are large."""
    logits = np.random.default_rng(seed).normal(0, 3, (rows, classes))
    probs = np.exp(logits * 3)
    return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)


def write_folds(workspace, outputs, names, *, name="first", folds=(0, 1)):
    run = open_run(workspace, Wanted("shades", run_name=name))
    for fold in folds:
        rows = TRAIN.fold == fold
        part = outputs[rows.to_numpy()]
        kept = compress(part) if len(names) > WIDE else part
        write_oof(run.fold(fold) / "oof.csv", Oof(pd.Index(TRAIN.image_id[rows]), np.full(2, fold), kept), names)
        write_json(run.fold(fold) / "fold.json", {"fold": fold})
    return run


@pytest.mark.parametrize("classes", [3, WIDE + 5])
def test_every_digit_survives_and_rows_keep_their_ids(fetched, classes):
    outputs = peaked(4, classes)
    run = write_folds(fetched, outputs, NAMES[:classes])
    oof = read_oof(run, TRAIN, NAMES[:classes])
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
    assert kept[[1]].nnz == 0


@pytest.mark.parametrize(
    ("task", "form"), [("multiclass", "labels"), ("retrieval", "ranking"), ("multilabel", "labels")]
)
def test_sparse_outputs_are_decoded_as_dense_ones(task, form):
    outputs = peaked(9, WIDE + 5)
    decoder = Decoder(task, top_k=2)
    expected = decode(np.where(outputs >= SMALLEST, outputs, 0), decoder, form)
    np.testing.assert_array_equal(decode_rows(compress(outputs), decoder, form), expected)


@pytest.mark.parametrize("classes", [3, WIDE + 5])
def test_a_blend_is_the_mean_of_the_rows_that_all_runs_have(fetched, classes):
    names, one, other = NAMES[:classes], peaked(4, classes, seed=1), peaked(4, classes, seed=2)
    runs = [
        write_folds(fetched, one, names, name="one"),
        write_folds(fetched, other, names, name="other", folds=(1,)),
    ]
    ids, folds, outputs = align_oofs([read_oof(run, TRAIN, names) for run in runs])
    assert ids.tolist() == ["1e5", "a"]
    assert folds.tolist() == [1, 1]
    mean = combine(outputs, Blend(("one", "other"), "mean", (0.5, 0.5)), activation="softmax")
    dense = np.concatenate([part for _, part in iter_dense(mean)])
    np.testing.assert_allclose(dense, (one[[1, 3]] + other[[1, 3]]) / 2, atol=SMALLEST)
