import numpy as np
import pytest
from scipy.sparse import csr_array

from kitsolve.reporting.calibration import BINS, draw_reliability, rate_classes, rate_probs


@pytest.fixture
def rows():
    """(probs, classes) of 300 rows and 6 classes."""
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(6), size=300).astype(np.float32), rng.integers(0, 6, 300)


def test_certainty_that_comes_true_is_perfect():
    found = rate_classes(np.eye(3)[[0, 1, 2, 1]], np.array([0, 1, 2, 1]))
    assert (found.ece, found.brier) == (0, 0)
    assert found.counts.tolist() == [0] * (BINS - 1) + [4]


def test_the_brier_score_of_a_uniform_guess_is_one_minus_one_over_the_number_of_classes():
    assert rate_classes(np.full((8, 4), 0.25), np.arange(8) % 4).brier == pytest.approx(1 - 1 / 4)
    assert rate_probs(np.full((8, 4), 0.5), np.arange(32).reshape(8, 4) % 2).brier == pytest.approx(1 / 4)


def test_the_calibration_error_of_one_bin_is_the_gap_between_what_is_said_and_what_is_true():
    probs = np.tile([0.8, 0.2], (10, 1))
    found = rate_classes(probs, np.array([0] * 6 + [1] * 4))
    assert found.ece == pytest.approx(0.8 - 0.6)
    assert found.brier == pytest.approx(0.6 * 2 * 0.2**2 + 0.4 * 2 * 0.8**2)


def test_every_row_is_in_one_bin_and_every_label_too(rows):
    probs, truth = rows
    assert rate_classes(probs, truth).counts.sum() == 300
    assert rate_probs(probs, np.eye(6)[truth]).counts.sum() == 1800


def test_means_of_a_bin_lie_in_it(rows):
    found = rate_probs(rows[0], np.eye(6)[rows[1]])
    some = np.flatnonzero(found.counts)
    assert (np.floor(found.confidence[some] * BINS) == some).all()


def test_sparse_outputs_are_rated_as_dense_ones(rows, monkeypatch):
    monkeypatch.setattr("kitsolve.evaluation.oof.PART", 60)  # 10 rows a part
    probs, truth = rows
    for rate, labels in ((rate_classes, truth), (rate_probs, np.eye(6)[truth])):
        dense, sparse = rate(probs, labels), rate(csr_array(probs), labels)
        assert dense.counts.tolist() == sparse.counts.tolist()
        assert (sparse.ece, sparse.brier) == pytest.approx((dense.ece, dense.brier), rel=1e-5)


def test_certain_shares_are_rated_as_classes(rows):
    probs, truth = rows
    shares = np.eye(6, dtype=np.float32)[truth]
    assert rate_classes(probs, shares).brier == pytest.approx(rate_classes(probs, truth).brier, rel=1e-6)


def test_the_picture_names_every_count(rows):
    found = rate_classes(*rows)
    picture = draw_reliability(found)
    for count in found.counts[found.counts > 0]:
        assert f">{count}</text>" in picture
