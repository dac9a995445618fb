import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.inference.bundle import (
    Decoder,
)
from kitsolve.inference.decode import decode


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_the_classes_of_an_ordinal_task_have_probabilities_that_sum_to_one(cumulative):
    probs = decode(np.array([cumulative], dtype=np.float32), Decoder("ordinal"), "probs")
    assert probs.shape == (1, 5)
    assert (probs >= 0).all()
    assert probs.sum() == pytest.approx(1)


def test_an_ordinal_class_is_the_number_of_steps_that_were_taken():
    outputs = np.array([[0.9, 0.8, 0.1], [0.1, 0.0, 0.0], [1.0, 1.0, 0.9]])
    assert decode(outputs, Decoder("ordinal"), "labels").tolist() == [2, 0, 3]
    assert decode(outputs, Decoder("ordinal", thresholds=(0.05, 0.05, 2.95)), "labels").tolist() == [2, 2, 2]


def test_a_value_stays_within_its_bounds():
    decoder = Decoder("regression", scale=(1, 99), bounds=(1, 100))
    assert decode(np.array([[0.0], [0.5], [1.2]]), decoder, "values").tolist() == [1, 50.5, 100]


def test_probabilities_are_clipped_and_still_sum_to_one():
    outputs = np.array([[1.0, 0.0], [0.5, 0.5]])
    probs = decode(outputs, Decoder("binary", clip=0.005), "probs")
    np.testing.assert_allclose(probs, [[0.995, 0.005], [0.5, 0.5]])


@given(st.integers(1, 8), st.integers(1, 12))
def test_a_ranking_is_sorted_and_names_no_class_twice(top_k, classes):
    outputs = np.random.default_rng(top_k * 100 + classes).dirichlet(np.ones(classes), 5)
    ranks = decode(outputs, Decoder("retrieval", top_k=top_k), "ranking")
    assert ranks.shape == (5, min(top_k, classes))
    for row, probs in zip(ranks, outputs, strict=True):
        assert len(set(row)) == len(row)
        assert list(probs[row]) == sorted(probs, reverse=True)[: len(row)]
