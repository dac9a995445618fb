"""Labels become targets, and predictions become the same words again."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.config import Competition
from kitsolve.data.targets import encode_targets, sorted_labels
from kitsolve.errors import KitsolveError
from kitsolve.inference.decode import decode
from kitsolve.inference.submission import make_submission

KINDS = {
    "binary": "label", "multiclass": "label", "multilabel": "label_list", "ordinal": "label", "regression": "value",
    "retrieval": "top_k",
}  # fmt: skip

METRICS = {"regression": "rmse", "retrieval": "map@5"}


def facts(task, *, kind=None, target="label", metric=None, **train):
    train = {"rows": {"csv": "t.csv"}, "id": "id", "target": target, "image": "{id}.png", **train}
    return Competition.model_validate(
        {
            "slug": "x",
            "title": "X",
            "task": task,
            "metric": metric or METRICS.get(task, "accuracy"),
            "train": train,
            "test": {"image": "{id}.png"},
            "submission": {"kind": kind or KINDS[task], "via": "csv", "sample": "sample.csv"},
        }
    )


def table(**columns):
    rows = pd.DataFrame({name: pd.Series(values, dtype=str) for name, values in columns.items()})
    return rows.assign(image_id=[f"r{row}" for row in range(len(rows))])


def encode(rows, competition, tmp_path, sample="id,label\nx,y\n"):
    (tmp_path / "sample.csv").write_text(sample)
    return encode_targets(rows, competition, tmp_path)


def test_classes_are_sorted_as_numbers_where_all_are_numbers():
    assert sorted_labels({"10", "9", "1"}) == ["1", "9", "10"]
    assert sorted_labels({"10", "9", "x"}) == ["10", "9", "x"]


def test_classes_take_the_order_of_the_samples_columns(tmp_path):
    competition = facts("multiclass", kind="class_probabilities")
    targets = encode(table(label=["dark", "grey"]), competition, tmp_path, "id,grey,dark\nx,0,0\n")
    assert (targets.names, targets.values.tolist()) == (("grey", "dark"), [1, 0])
    with pytest.raises(KitsolveError, match="differ, first: 'bright'"):
        encode(table(label=["dark", "bright"]), competition, tmp_path, "id,dark\nx,0\n")


def test_a_binary_task_has_two_classes_the_positive_one_last(tmp_path):
    assert encode(table(label=["1", "0", "1"]), facts("binary"), tmp_path).values.tolist() == [1, 0, 1]
    assert encode(table(label=["cat", "dog"]), facts("binary", positive="cat"), tmp_path).names == ("dog", "cat")
    with pytest.raises(KitsolveError, match="has 3"):
        encode(table(label=["0", "1", "2"]), facts("binary"), tmp_path)
    with pytest.raises(KitsolveError, match="'bird' is no label"):
        encode(table(label=["cat", "dog"]), facts("binary", positive="bird"), tmp_path)


def test_multi_hot_columns_and_label_lists_are_the_same_sets(tmp_path):
    columns = facts("multilabel", kind="label_list", target=["b - x", "a"])
    hot = encode(table(**{"b - x": ["1", "0", "1"], "a": ["0", "0", "1.0"]}), columns, tmp_path)
    assert (hot.names, hot.values.tolist()) == (("b - x", "a"), [[1, 0], [0, 0], [1, 1]])
    cells = facts("multilabel", target={"column": "label", "separator": "|"})
    split = encode(table(label=["b - x", "", "a|b - x"]), cells, tmp_path)
    assert (split.names, split.values.tolist()) == (("a", "b - x"), [[0, 1], [0, 0], [1, 1]])
    with pytest.raises(KitsolveError, match=r"id 'r1': \['0', '2'\] are not all 0 or 1"):
        encode(table(**{"b - x": ["1", "0"], "a": ["0", "2"]}), columns, tmp_path)


def test_one_hot_columns_are_classes(tmp_path):
    competition = facts("multiclass", target=["cat", "dog"])
    targets = encode(table(cat=["1", "0"], dog=["0", "1"]), competition, tmp_path)
    assert (targets.names, targets.values.tolist()) == (("cat", "dog"), [0, 1])
    with pytest.raises(KitsolveError, match="1 of 2 rows have not exactly one label, first: id 'r1'"):
        encode(table(cat=["1", "1"], dog=["0", "1"]), competition, tmp_path)


def test_votes_are_shares_of_the_classes(tmp_path):
    competition = facts("multiclass", kind="class_probabilities", target=["cat", "dog"], metric="kl_divergence")
    rows = table(cat=["3", "0"], dog=["1", "5"])
    targets = encode(rows, competition, tmp_path, "id,dog,cat\nx,0,0\n")
    assert targets.names == ("dog", "cat")
    assert targets.learned.tolist() == [[0.25, 0.75], [1, 0]]
    assert targets.values.tolist() == [1, 0]
    with pytest.raises(KitsolveError, match=r"id 'r1': \['0', '0'\] are no shares"):
        encode(table(cat=["3", "0"], dog=["1", "0"]), competition, tmp_path, "id,dog,cat\nx,0,0\n")


def test_an_ordinal_task_learns_to_be_greater_than_each_class(tmp_path):
    targets = encode(table(label=["2", "0", "10"]), facts("ordinal"), tmp_path)
    assert targets.names == ("0", "2", "10")
    assert targets.learned.tolist() == [[1, 0], [0, 0], [1, 1]]
    assert targets.output_names == ("2", "10")


def test_an_ordinal_task_of_words_needs_their_order(tmp_path):
    rows = table(label=["low", "high", "mid"])
    with pytest.raises(KitsolveError, match="needs the order of its labels: high, low, mid"):
        encode(rows, facts("ordinal"), tmp_path)
    assert encode(rows, facts("ordinal", order=["low", "mid", "high"]), tmp_path).values.tolist() == [0, 2, 1]
    with pytest.raises(KitsolveError, match="differ, first: 'mid'"):
        encode(rows, facts("ordinal", order=["low", "high"]), tmp_path)


def test_a_regression_learns_its_range_or_its_spread(tmp_path):
    rows = table(label=["1", "51", "100"])
    ranged = encode(rows, facts("regression", range=[1, 101]), tmp_path)
    assert ranged.learned[:, 0].tolist() == pytest.approx([0, 0.5, 0.99])
    assert (ranged.activation, ranged.bounds) == ("sigmoid", (1, 101))
    free = encode(rows, facts("regression"), tmp_path)
    assert (free.learned.mean(), free.learned.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    assert free.activation == "identity"
    with pytest.raises(
        KitsolveError, match="1 of 3 rows have no label that is a number from 1 to 99, first: id 'r2' with '100'"
    ):
        encode(rows, facts("regression", range=[1, 99]), tmp_path)


def test_the_unknown_label_of_a_retrieval_is_not_learned(tmp_path):
    targets = encode(table(label=["w2", "new", "w1"]), facts("retrieval", unknown="new"), tmp_path)
    assert targets.names == ("w1", "w2")
    assert (targets.values.tolist(), targets.known.tolist()) == ([1, 2, 0], [True, False, True])


LABELS = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).filter(
    lambda text: text.strip()
)


@given(st.lists(LABELS, min_size=1, max_size=12))
def test_any_label_comes_back_as_it_was(tmp_path_factory, labels):
    competition = facts("multiclass")
    targets = encode(table(label=labels), competition, tmp_path_factory.getbasetemp())
    outputs = np.eye(len(targets.names))[targets.values]
    sample = pd.DataFrame({"id": [str(row) for row in range(len(labels))], "label": ""})
    decoded = decode(outputs, targets.default_decoder(competition), "labels")
    assert make_submission(sample, decoded, targets.rules(competition)).label.tolist() == labels


@given(st.lists(st.sets(st.sampled_from(["0012", "1e5", "a-b", "é", '"q"', "x,y"])), min_size=1, max_size=9))
def test_any_set_of_labels_comes_back_as_it_was(tmp_path_factory, sets):
    competition = facts("multilabel", target={"column": "label", "separator": " "})
    rows = table(label=[" ".join(sorted(labels)) for labels in sets])
    targets = encode(rows, competition, tmp_path_factory.getbasetemp())
    decoded = decode(targets.values.astype(float), targets.default_decoder(competition), "labels")
    sample = pd.DataFrame({"id": [str(row) for row in range(len(sets))], "label": ""})
    cells = make_submission(sample, decoded, targets.rules(competition)).label
    assert [set(cell.split()) for cell in cells] == sets


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_any_value_comes_back_as_it_was(tmp_path_factory, values):
    competition = facts("regression")
    targets = encode(table(label=map(repr, values)), competition, tmp_path_factory.getbasetemp())
    decoded = decode(targets.learned, targets.default_decoder(competition), "values")
    spread = max(values) - min(values) + 1
    np.testing.assert_allclose(decoded, values, atol=1e-5 * spread)


@given(st.integers(-5, 5), st.sampled_from([1, 2, 0.5]), st.integers(2, 6))
def test_an_ordinal_task_that_is_submitted_as_value_gives_levels_in_the_labels_unit(tmp_path_factory, low, step, count):
    """A class index, 0 for the lowest, would be off by the lowest label and the step."""
    labels = [f"{low + step * place:g}" for place in range(count)]
    competition = facts("ordinal", kind="value", metric="qwk")
    targets = encode(table(label=labels), competition, tmp_path_factory.getbasetemp())
    values = decode(targets.learned, targets.default_decoder(competition), "values")
    assert values.tolist() == [float(label) for label in labels]


@pytest.mark.parametrize("labels", [["1", "2", "4"], ["low", "mid", "high"]])
def test_levels_that_are_no_numbers_at_equal_steps_have_no_value(tmp_path, labels):
    order = None if labels[0] == "1" else labels
    with pytest.raises(KitsolveError, match="are numbers at equal steps, not") as caught:
        encode(table(label=labels), facts("ordinal", kind="value", metric="qwk", order=order), tmp_path)
    assert 'submission.kind = "label"' in caught.value.hint


def test_one_hot_levels_are_ordered_by_their_numbers(tmp_path):
    rows = table(**{"3": ["0", "1", "0"], "1": ["1", "0", "0"], "2": ["0", "0", "1"]})
    assert encode(rows, facts("ordinal", target=["3", "1", "2"]), tmp_path).names == ("1", "2", "3")


@pytest.mark.parametrize(
    ("competition", "rows", "hint"),
    [
        (facts("multilabel", target=["a", "b"]), {"a": ["0", "1"], "b": ["1", "0.4"]}, "kl_divergence"),
        (facts("multilabel"), {"label": ["cat", "dog"]}, "separator"),
        (facts("multiclass", target=["a", "b"]), {"a": ["1", "1"], "b": ["0", "1"]}, "label_list"),
        (facts("binary"), {"label": ["x", "x"]}, "nothing to tell apart"),
        (facts("binary"), {"label": ["x", "y", "z"]}, 'task = "multiclass", whose submission.kind'),
    ],
)
def test_what_a_hint_advises_is_supported(tmp_path, competition, rows, hint):
    with pytest.raises(KitsolveError) as caught:
        encode(table(**rows), competition, tmp_path)
    assert hint in caught.value.hint
    assert 'set task = "regression"' not in caught.value.hint
