import pandas as pd
import pytest

from kitsolve.proposing.separators import find_separator


def judge(cells, name="label", shown=(), wide=()):
    found = find_separator(pd.Series(cells), name, list(shown), list(wide))
    return found.mark if found.splits else "", found.is_sure


@pytest.mark.parametrize(
    ("cells", "name", "mark"),
    [
        (["1 2", "3", "2 3 4", "1"] * 3, "attribute_ids", " "),
        (["a|b", "a", "b", "b|c", "c|a|b"], "Finding Labels", "|"),
        (["rust", "scab", "rust scab", "scab rust mildew", "mildew"], "labels", " "),
        (["cat", "dog"], "label", ""),
        (["sugar beet", "fat hen", "black grass"], "species", ""),
        (["fat hen", "maize", "common wheat", "sugar beet", "loose silky bent"], "species", ""),
        (["quercus alba", "quercus rubra", "acer rubra"], "species", ""),
        (["12 30 5 7", "1 2 3 4"], "box", ""),
    ],
)
def test_sets_of_labels_are_told_from_names(cells, name, mark):
    assert judge(cells, name) == (mark, True)


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        (["light blue", "dark blue", "light green", "dark green", "blue", "green"], "colour"),
        (["healthy", "leaf rust", "leaf spot", "stem rust", "stem spot", "rust"], "disease"),
    ],
)
def test_names_that_look_like_sets_are_unsure(cells, name):
    assert judge(cells, name)[1] is False


@pytest.mark.parametrize(("cells", "name"), [(["1 2", "3 4 5 6"], "label"), (["1 2", "1 2 3"] * 9, "EncodedPixels")])
def test_numbers_that_may_draw_a_region_are_unsure(cells, name):
    assert judge(cells, name) == (" ", False)


def test_a_sample_with_a_set_that_no_row_has_settles_it():
    cells = ["clear primary", "haze primary", "cloudy", "clear primary road"]
    assert judge(cells, "weather", shown=["road haze clear"]) == (" ", True)


def test_a_column_for_each_word_or_for_each_cell_settles_it():
    cells = ["leaf rust", "rust", "leaf", "stem", "leaf stem rust"]
    assert judge(cells, wide=["leaf", "rust", "stem"]) == (" ", True)
    assert judge(cells, wide=cells) == ("", True)
