import numpy as np
import pandas as pd
import pytest

from kitsolve.data.features import describe_features, fit_features
from kitsolve.errors import KitsolveError
from kitsolve.inference.testset import encode_features

TRAIN = pd.DataFrame({"age": ["20", "40", "", "60"], "sex": ["f", "m", "f", ""], "site": ["a", "b", "c", "d"]})


def test_numbers_are_standardised_and_an_empty_cell_is_the_mean_and_known_to_be_empty():
    encoded = encode_features(TRAIN, fit_features(TRAIN, ["age"]))
    assert encoded[:, 1].tolist() == [1, 1, 0, 1]
    known = encoded[[0, 1, 3], 0]
    assert (known.mean(), known.std(), encoded[2, 0]) == (pytest.approx(0, abs=1e-6), pytest.approx(1), 0)


def test_words_are_one_hot_and_what_train_never_saw_is_nothing():
    features = fit_features(TRAIN, ["sex"])
    assert encode_features(TRAIN, features).tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]
    assert encode_features(pd.DataFrame({"sex": ["x"]}), features).tolist() == [[0, 0]]


def test_several_columns_stand_side_by_side_as_float32():
    encoded = encode_features(TRAIN, fit_features(TRAIN, ["age", "sex", "site"]))
    assert (encoded.shape, encoded.dtype) == ((4, 2 + 2 + 4), np.float32)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [("height", None, "no column 'height'"), ("note", ["", ""], "is empty"), ("id", map(str, "x" * 101), "")],
)
def test_a_column_that_cannot_be_a_feature_is_named(column, values, problem):
    rows = pd.DataFrame({"x": ["1", "2"]}) if values is None else None
    if column == "id":
        rows, problem = pd.DataFrame({"id": [f"n{row}" for row in range(101)]}), "101 different values"
    rows = pd.DataFrame({column: list(values)}) if rows is None else rows
    with pytest.raises(KitsolveError, match=problem):
        fit_features(rows, [column])


def test_what_the_test_rows_hold_and_the_model_cannot_take_is_told():
    test = pd.DataFrame(
        {"age": ["30", "30 years", "", " 31"], "sex": ["Male", "f", "", "Female"], "site": list("abcd")}
    )
    said = describe_features(fit_features(TRAIN, ["age", "sex", "site"]), TRAIN, test)
    assert said == [
        "age: 1 of 4 test rows have words where the train rows have numbers, first '30 years': the model "
        "takes them for empty cells.",
        "sex: 2 of 4 test rows have values that no train row has, first 'Male': the model takes them for empty cells.",
    ]
    assert encode_features(test, fit_features(TRAIN, ["age", "sex"]))[1].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("odd", ["inf", "1_000", "٣", "x"])
def test_words_beside_numbers_are_categories_without_a_word_on_separators(odd):
    rows = pd.DataFrame({"weight": ["1", "2", odd]})
    assert describe_features(fit_features(rows, ["weight"]), rows, rows) == []


def test_numbers_with_separators_of_thousands_are_told():
    rows = pd.DataFrame({"weight": ["1,079", "1,108", "990"]})
    (said,) = describe_features(fit_features(rows, ["weight"]), rows, rows)
    assert said.startswith("weight: numbers like '1,079' count as words, 3 different ones in 3 train rows")
