"""A sample of rows is drawn, not counted off, and has the classes of the whole."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.data.sampling import deal_rows, find_strata, sample_cells, sample_rows


@st.composite
def tables(draw):
    """Targets of every kind, often with a period, as tables of pairs and scenes have."""
    rows, period = draw(st.integers(1, 400)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    kind = draw(st.sampled_from(["classes", "sets", "shares", "numbers", "one"]))
    made = {
        "classes": lambda: rng.integers(0, 6, period)[np.arange(rows) % period],
        "sets": lambda: rng.integers(0, 2, (period, 4), dtype=np.uint8)[np.arange(rows) % period],
        "shares": lambda: rng.dirichlet(np.ones(3), rows).astype(np.float32),
        "numbers": lambda: rng.normal(size=rows).round(1),
        "one": lambda: np.zeros(rows, dtype=np.int64),
    }
    return made[kind]()


@given(tables(), st.integers(1, 500), st.integers(0, 9))
def test_a_sample_has_rows_once_each_in_order_and_is_the_same_for_the_same_seed(targets, most, seed):
    rows = sample_rows(targets, most, seed=seed)
    assert len(rows) == min(most, len(targets))
    assert (np.diff(rows) > 0).all()
    assert set(rows.tolist()) <= set(range(len(targets)))
    assert np.array_equal(rows, sample_rows(targets, most, seed=seed))


@given(tables(), st.integers(20, 300), st.integers(0, 9))
def test_every_class_has_its_share_of_a_sample(targets, most, seed):
    rows, strata = sample_rows(targets, most, seed=seed), find_strata(targets)
    whole, sample = (np.bincount(found, minlength=BANDS_AND_MORE) for found in (strata, strata[rows]))
    expected = whole * len(rows) / len(targets)
    assert (np.abs(sample - expected) <= 1 + (whole > 0).sum()).all(), "but for what rounding and one row each cost"
    assert ((sample > 0) == (whole > 0)).all()


BANDS_AND_MORE = 16


@pytest.mark.parametrize("period", range(2, 9))
def test_no_period_of_a_table_shows_in_a_sample(period):
    """The rows of one place in the period are in the sample as often as the others."""
    place = np.arange(6000) % period
    rows = sample_rows(np.zeros(6000, dtype=np.int64), 6000 // period, seed=0)
    counts = np.bincount(place[rows], minlength=period)
    assert counts.min() > 0.75 * counts.mean()


def test_of_more_classes_than_rows_some_are_drawn():
    rows = sample_rows(np.arange(100) // 2, 10, seed=0)
    assert len(set((rows // 2).tolist())) == 10


@given(tables(), st.integers(2, 6))
def test_dealt_parts_have_the_same_share_of_every_class(targets, parts):
    dealt, strata = deal_rows(targets, parts, seed=0), find_strata(targets)
    for stratum in np.unique(strata):
        counts = np.bincount(dealt[strata == stratum], minlength=parts)
        assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(dealt, minlength=parts)) <= 1


def test_a_set_counts_by_its_rarest_label_and_a_number_by_its_band():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=np.uint8)
    assert find_strata(sets).tolist() == [0, 1, 3, 0]
    assert find_strata(np.arange(20, dtype=float)).tolist() == [number // 2 for number in range(20)]
    assert find_strata(np.array([[0.2, 0.8], [0.6, 0.4]])).tolist() == [1, 0]


@given(st.integers(2, 12))
def test_drawn_cells_are_of_every_place_in_a_period(period):
    cells = pd.Series(np.arange(6000) % period)
    drawn, others = sample_cells(cells, 6000 // period), sample_cells(cells + 100, 6000 // period)
    assert len(drawn) == 6000 // period
    assert drawn.index.is_monotonic_increasing
    assert drawn.value_counts().reindex(range(period)).min() > 0.7 * len(drawn) / period
    assert (others - 100).equals(drawn)
