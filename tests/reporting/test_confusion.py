import re

import numpy as np
import pytest

from kitsolve.reporting.confusion import MOST_CLASSES, count_pairs, draw_matrix, list_pairs

TRUE = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 2, 1, 1, 0])


def test_counts_have_the_true_class_by_row():
    assert count_pairs(TRUE, PREDICTED, 3).tolist() == [[1, 2, 1], [0, 2, 0], [1, 0, 0]]


def test_the_pairs_that_are_confused_most_come_first():
    pairs = list_pairs(TRUE, PREDICTED)
    assert pairs[["true", "predicted", "rows"]].to_numpy().tolist() == [[0, 1, 2], [2, 0, 1], [0, 2, 1]]
    assert pairs.share.tolist() == [0.5, 1.0, 0.25]


def test_without_mistakes_there_are_no_pairs():
    assert not len(list_pairs(TRUE, TRUE))


def test_every_count_stands_in_its_cell_the_darker_the_larger_its_share():
    picture = draw_matrix(count_pairs(TRUE, PREDICTED, 3), ["a", "b", "c"])
    assert re.findall(r"<title>(.*?)</title>", picture) == [
        "a predicted as a: 1 (25.0% of a)",
        "a predicted as b: 2 (50.0% of a)",
        "a predicted as c: 1 (25.0% of a)",
        "b predicted as b: 2 (100.0% of b)",
        "c predicted as a: 1 (100.0% of c)",
    ]
    opacities = [float(text) for text in re.findall(r'fill-opacity="([\d.]+)"', picture)]
    assert opacities[0] == opacities[2] < opacities[1] < opacities[3] == opacities[4] == 1


def test_recall_and_precision_stand_at_the_edges():
    picture = draw_matrix(count_pairs(TRUE, PREDICTED, 3), ["a", "b", "c"])
    assert re.findall(r">(\d+%|–)<", picture) == ["25%", "50%", "100%", "50%", "0%", "0%"]


@pytest.mark.parametrize("classes", [2, 10, MOST_CLASSES])
def test_a_matrix_is_never_wider_than_the_page(classes):
    picture = draw_matrix(np.full((classes, classes), 12345), ["a name that is much too long to be shown"] * classes)
    assert int(re.search(r'viewBox="0 0 (\d+)', picture)[1]) <= 1052
