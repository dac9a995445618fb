import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsolve.data.agreement import Labels, measure_agreement, measure_smoothness


def draw_labels(rng, kind, rows):
    return {
        "classes": rng.integers(0, 4, rows),
        "values": rng.normal(size=rows) ** 3,
        "sets": rng.integers(0, 2, (rows, 5)),
    }[kind]


def agree_by_pairs(groups, values):
    """The mean over rows of the share of the others of their group that have their label."""
    rows = np.arange(len(groups))
    shares = [
        np.mean(values[(groups == groups[row]) & (rows != row)] == values[row])
        for row in rows
        if (groups == groups[row]).sum() > 1
    ]
    return np.mean(shares)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(10, 60), groups=st.integers(1, 9))
def test_the_agreement_is_that_of_comparing_each_pair(seed, rows, groups):
    rng = np.random.default_rng(seed)
    codes, values = rng.integers(0, groups, rows), rng.permutation(np.arange(rows) % 3)
    found = measure_agreement(codes, Labels.of(values))
    same = values[:, None] == values
    chance = (same.sum() - rows) / (rows * (rows - 1))
    assert found.within == pytest.approx(agree_by_pairs(codes, values))
    assert found.chance == pytest.approx(chance)
    assert found.excess == pytest.approx((found.within - chance) / (1 - chance))


@pytest.mark.parametrize("kind", ["classes", "values", "sets"])
def test_z_is_what_permutations_of_the_rows_give(kind):
    rng = np.random.default_rng(0)
    groups, values = rng.integers(0, 20, 60), draw_labels(rng, kind, 60)
    excesses = [measure_agreement(groups, Labels.of(rng.permutation(values))).excess for _ in range(600)]
    found = measure_agreement(groups, Labels.of(values))
    assert np.mean(excesses) == pytest.approx(0, abs=0.02)
    assert found.excess / found.z == pytest.approx(np.std(excesses), rel=0.15)


@pytest.mark.parametrize("kind", ["classes", "values", "sets"])
def test_rows_of_one_group_with_one_label_agree_fully(kind):
    rng = np.random.default_rng(0)
    groups = np.arange(60) // 3
    found = measure_agreement(groups, Labels.of(draw_labels(rng, kind, 20)[groups]))
    assert found.excess == pytest.approx(1)


def test_rows_without_a_group_and_groups_of_one_row_are_not_compared():
    found = measure_agreement(np.array([-1, -1, 0, 1, 1]), Labels.of(np.array([0, 1, 0, 1, 1])))
    assert (found.rows, found.groups, found.within) == (2, 1, 1.0)


@pytest.mark.parametrize("groups", [[0, 1, 2, 3], [-1, -1, -1, -1]])
def test_without_a_group_of_two_rows_there_is_no_agreement(groups):
    assert measure_agreement(np.array(groups), Labels.of(np.array([0, 1, 0, 1]))) is None


def test_where_all_rows_have_one_label_there_is_no_agreement():
    assert measure_agreement(np.array([0, 0, 1, 1]), Labels.of(np.array(["a"] * 4))) is None


def test_a_measurement_is_smooth_and_a_number_that_is_a_name_is_not():
    rng = np.random.default_rng(0)
    places = np.sort(rng.integers(0, 50, 2000))
    assert measure_smoothness(places, Labels.of(places // 10)) > 0.8
    assert abs(measure_smoothness(places, Labels.of(rng.permutation(50)[places] // 10))) < 0.3


def test_a_coarser_label_and_cells_that_hold_the_label_are_seen():
    words = pd.Series(["ant", "bee", "cat", "dog"] * 5)
    labels = Labels.of(words.to_numpy(), words)
    assert labels.is_coarser(np.array([0, 0, 1, 1] * 5))
    assert not labels.is_coarser(np.arange(20) // 2)
    assert labels.are_named_in(words + "_7")
    assert not labels.are_named_in(pd.Series([f"r{row}" for row in range(20)]))
