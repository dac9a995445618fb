"""A sample submission that wants several answers for a row is refused, by the names of the columns."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.config import Competition
from kitsolve.data.fetch import fetch
from kitsolve.data.outputs import ONE_COLUMN, check_outputs
from kitsolve.errors import KitsolveError

TASKS = {
    "label": ("multiclass", "accuracy"), "probability": ("binary", "roc_auc"), "value": ("regression", "rmse"),
    "label_list": ("multilabel", "f1_micro"), "top_k": ("retrieval", "map@5"),
    "class_probabilities": ("multiclass", "log_loss"),
}  # fmt: skip


def facts(kind):
    task, metric = TASKS[kind]
    return Competition.model_validate(
        {
            "slug": "x",
            "title": "X",
            "task": task,
            "metric": metric,
            "train": {"rows": {"csv": "t.csv"}, "id": "id", "target": "y", "image": "{id}.png"},
            "test": {"image": "{id}.png"},
            "submission": {"kind": kind, "via": "csv"},
        }
    )


def tables(sample, *, paths=None, **further):
    ids = sample.iloc[:, 0].tolist()
    test = pd.DataFrame({"image_id": ids, "path": paths or [f"{name}.png" for name in ids], **further})
    return pd.DataFrame({"image_id": ["a"], "path": ["a.png"], "y": ["1"], "z": ["2"]}), test


NAMES = st.lists(st.sampled_from(["y", "z", "w", "Usage", "site"]), min_size=1, max_size=4, unique=True)


@given(st.sampled_from(ONE_COLUMN), NAMES, st.integers(1, 5))
def test_columns_of_numbers_or_of_train_columns_are_answers_and_what_the_test_rows_know_is_not(kind, names, rows):
    cells = {"y": "0", "z": "cat", "w": "0.5", "Usage": "Public", "site": "7"}
    sample = pd.DataFrame({"id": [f"t{row}" for row in range(rows)], **{name: cells[name] for name in names}})
    train, test = tables(sample, site=["7"] * rows)
    numeric = kind in ("probability", "value") or names[0] in ("y", "w", "site")
    answers = [name for name in names[1:] if name in ("y", "z") or (name == "w" and numeric)]
    if not answers:
        check_outputs(sample, facts(kind), train, test)
        return
    with pytest.raises(KitsolveError, match=f"wants {1 + len(answers)} columns filled: ") as caught:
        check_outputs(sample, facts(kind), train, test)
    assert all(repr(name) in caught.value.problem for name in answers)


def test_one_column_a_class_is_no_further_answer():
    sample = pd.DataFrame({"id": ["t"], "cat": ["0.5"], "dog": ["0.5"]})
    check_outputs(sample, facts("class_probabilities"), *tables(sample))


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_line_for_each_row_and_output_is_refused(images, outputs):
    ids = [(f"t{image}", f"t{image}_{output}") for image in range(images) for output in range(outputs)]
    sample = pd.DataFrame({"id": [name for _, name in ids], "y": "0.0"})
    train, test = tables(sample, paths=[f"{image}.png" for image, _ in ids])
    if outputs == 1:
        check_outputs(sample, facts("value"), train, test)
        return
    with pytest.raises(KitsolveError, match=f"has {outputs} lines for each of the {images} test images, first 't0_0'"):
        check_outputs(sample, facts("value"), train, test)


def test_a_test_image_that_stands_twice_among_others_is_no_output():
    sample = pd.DataFrame({"id": ["a", "b", "c"], "y": "0.0"})
    check_outputs(sample, facts("value"), *tables(sample, paths=["1.png", "1.png", "2.png"]))


def test_fetch_refuses_a_sample_of_two_values(shades):
    raw = shades.root / "download"
    pd.read_csv(raw / "sample_submission.csv", dtype=str).assign(shade2="dark").to_csv(
        raw / "sample_submission.csv", index=False
    )
    with pytest.raises(KitsolveError, match="wants 2 columns filled: 'shade', 'shade2'; a label fills 'shade' alone"):
        fetch(shades, "shades", source=raw)
