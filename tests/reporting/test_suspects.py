import numpy as np
import pytest
from scipy.sparse import csr_array

from kitsolve.reporting.suspects import doubt_classes, doubt_sets


def sure(values, *, classes=3, top=0.8):
    """(rows, classes): `top` for the class of each row."""
    return np.where(np.eye(classes)[values] > 0, top, (1 - top) / (classes - 1))


def test_a_label_that_was_changed_is_found_and_what_it_was_is_suggested():
    true = np.arange(60) % 3
    given = true.copy()
    given[7] = 2
    found = doubt_classes(sure(true), given)
    assert (found.rows.tolist(), found.labels.tolist()) == ([7], [1])
    assert (found.given[0], found.suggested[0]) == pytest.approx((0.1, 0.8))


def test_labels_that_are_predicted_are_not_in_doubt():
    values = np.arange(30) % 3
    assert not len(doubt_classes(sure(values), values).rows)


def test_a_class_is_suggested_only_where_it_is_as_probable_as_where_it_is_given():
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    values = np.array([0, 0, 1, 1])
    assert not len(doubt_classes(probs, values).rows)  # 0.6 is more than 0.4, but less than the mean of 0.9
    probs[2] = [0.95, 0.05]
    assert doubt_classes(probs, values).rows.tolist() == [2]


def test_a_class_without_rows_is_never_suggested():
    assert not len(doubt_classes(np.tile([0.1, 0.1, 0.8], (4, 1)), np.array([0, 1, 0, 1])).rows)


def test_a_label_is_in_doubt_as_the_two_classes_of_having_and_lacking_it_would_be():
    rng = np.random.default_rng(0)
    probs, values = rng.random((200, 1)), (rng.random((200, 1)) < 0.4).astype(np.uint8)
    sets = doubt_sets(probs, values)
    classes = doubt_classes(np.hstack([1 - probs, probs]), values[:, 0].astype(np.int64))
    assert sets.rows.tolist() == classes.rows.tolist() != []
    np.testing.assert_allclose(sets.given, classes.given)
    np.testing.assert_allclose(sets.suggested, classes.suggested)


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_that_all_rows_have_or_lack_is_not_in_doubt(value):
    probs = np.random.default_rng(0).random((50, 2))
    assert not len(doubt_sets(probs, np.full((50, 2), value, dtype=np.uint8)).rows)


def test_sparse_outputs_are_doubted_as_dense_ones(monkeypatch):
    monkeypatch.setattr("kitsolve.evaluation.oof.PART", 60)
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.full(6, 0.3), size=200).astype(np.float32)
    values = np.where(rng.random(200) < 0.8, probs.argmax(axis=1), rng.integers(0, 6, 200))
    for doubt, labels in ((doubt_classes, values), (doubt_sets, np.eye(6, dtype=np.uint8)[values])):
        dense, sparse = doubt(probs, labels), doubt(csr_array(probs), labels)
        assert len(dense.rows) > 5
        for one, other in zip(vars(dense).values(), vars(sparse).values(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)
