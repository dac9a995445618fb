import pandas as pd
import pytest

from kitsolve.data.copies import describe_copies

TEST = pd.DataFrame({"path": ["t/x.png", "t/y.png"]})


def train(labels, paths=("a.png", "b.png", "c.png")):
    return pd.DataFrame({"path": paths, "label": labels})


@pytest.mark.parametrize(
    ("contents", "labels", "said"),
    [
        ([1, 2, 3, 4, 5], ["cat", "dog", "cat"], []),
        ([1, 1, 3, 4, 5], ["cat", "cat", "cat"], []),  # copies of one label are told where folds part them
        (
            [1, 2, 1, 4, 5],
            ["cat", "dog", "dog"],
            ["2 train images are the same file as one with another label, first: a.png (cat) and c.png (dog)."],
        ),
        (
            [1, 2, 3, 3, 5],
            ["cat", "dog", "cat"],
            ["1 of 2 test images are the same file as a train image, first: t/x.png and c.png."],
        ),
    ],
)
def test_copies_that_should_not_be_are_told(contents, labels, said):
    assert describe_copies(contents, train(labels), TEST, ["label"]) == said


def test_rows_that_share_an_image_are_no_copies():
    rows = train(["cat", "dog", "eel"], paths=["a.png", "a.png", "b.png"])
    assert describe_copies([1, 1, 2, 4, 5], rows, TEST, ["label"]) == []
