"""What the columns of a table may be."""

import pandas as pd
import pytest

from kitsolve.proposing.columns import choose_features


@pytest.mark.parametrize("mark", ["", "NA", "?", "nan", " N/A"])
def test_a_mark_of_a_missing_value_does_not_hide_a_feature(mark):
    train = pd.DataFrame(
        {"age": [f"{20 + 3 * row % 61}" for row in range(60)], "note": [f"n{row}" for row in range(60)]}
    )
    test = pd.DataFrame({"age": [mark, "31", "40"], "note": ["a", "b", "c"]})
    train.loc[[3, 7], "age"] = mark
    assert choose_features(train, test, set()).value == ["age"]
    assert choose_features(train, test, {"age"}) is None
