import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.data.folds import make_folds
from kitsolve.errors import KitsolveError

TARGETS = np.array(["a"] * 30 + ["b"] * 20 + ["c"] * 10, dtype=object)


@given(count=st.integers(2, 6), seed=st.integers(0, 99), scheme=st.sampled_from(["stratified", "plain"]))
def test_every_row_is_validated_in_exactly_one_fold_and_folds_differ_by_few_rows(count, seed, scheme):
    folds = make_folds(TARGETS, scheme=scheme, count=count, seed=seed, shuffle=True)
    sizes = np.bincount(folds, minlength=count)
    assert sizes.sum() == len(TARGETS)
    assert sizes.max() - sizes.min() <= (3 if scheme == "stratified" else 1)


@given(count=st.integers(2, 6), seed=st.integers(0, 99), shuffle=st.booleans())
def test_stratified_folds_share_each_class_evenly(count, seed, shuffle):
    folds = make_folds(TARGETS, scheme="stratified", count=count, seed=seed, shuffle=shuffle)
    for name in "abc":
        sizes = np.bincount(folds[name == TARGETS], minlength=count)
        assert sizes.max() - sizes.min() <= 1


def test_the_same_seed_gives_the_same_folds_and_another_one_others():
    first, again, other = (
        make_folds(TARGETS, scheme="stratified", count=5, seed=seed, shuffle=True) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_unshuffled_plain_folds_are_blocks_of_consecutive_rows():
    folds = make_folds(TARGETS, scheme="plain", count=3, seed=0, shuffle=False)
    assert folds.tolist() == [0] * 20 + [1] * 20 + [2] * 20


def test_a_class_with_fewer_rows_than_folds_is_named_with_the_repair():
    with pytest.raises(KitsolveError, match="first: 'c' with 10") as caught:
        make_folds(TARGETS, scheme="stratified", count=11, seed=0, shuffle=True)
    assert "plain" in caught.value.hint


def test_fewer_rows_than_folds_is_an_error():
    with pytest.raises(KitsolveError, match="60 rows cannot make 61 folds"):
        make_folds(TARGETS, scheme="plain", count=61, seed=0, shuffle=True)
