from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kitsolve.inference.bundle import (
    Decoder,
    SubmissionRules,
)
from kitsolve.inference.decode import decode
from kitsolve.inference.submission import check_submission, make_submission

LABELS = SubmissionRules("label", "sample.csv", ("a", "b", "c"))


@pytest.fixture
def sample():
    return pd.DataFrame({"id": ["007", "1e5", "x"], "label": ["a", "a", "a"]})


def test_labels_are_written_in_their_own_words_and_ids_stay_names(sample, tmp_path):
    submission = make_submission(sample, np.array([2, 0, 1]), LABELS)
    assert submission.values.tolist() == [["007", "c"], ["1e5", "a"], ["x", "b"]]
    check_submission(submission, sample, LABELS)


def test_the_positive_class_is_the_last(sample):
    rules = SubmissionRules("probability", "sample.csv", ("0", "1"))
    probs = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    assert make_submission(sample, probs, rules).label.tolist() == pytest.approx([0.1, 0.5, 0.8])


def test_class_probabilities_sum_to_one_more_exactly_than_float32(tmp_path):
    sample = pd.DataFrame({"id": ["x"], "a": ["0"], "b": ["0"], "c": ["0"]})
    rules = replace(LABELS, kind="class_probabilities", whole_rows=True)
    probs = decode(np.array([[0.3, 0.3, 0.4001]], dtype=np.float32), Decoder("multiclass"), "probs")
    submission = make_submission(sample, probs, rules)
    assert submission[["a", "b", "c"]].sum(axis=1).item() == pytest.approx(1, abs=1e-12)
    check_submission(submission.astype(str), sample, rules)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.rename(columns={"label": "Label"}), "columns"),
        (lambda table: table.iloc[:2], "lacks 1 of 3 ids, first: 'x'"),
        (lambda table: pd.concat([table, table.tail(1)]), "'x' twice"),
        (lambda table: table.replace("007", "7"), "lacks 1 of 3 ids, first: '007'"),
        (lambda table: table.assign(label=["a", "d", "b"]), r"row 3, id '1e5': 'd' is none of the classes"),
        (lambda table: table.assign(label=["a", "", "b"]), r"row 3, id '1e5': '' is none"),
    ],
)
def test_a_submission_that_kaggle_would_refuse_is_refused_by_row(sample, change, problem):
    with pytest.raises(ValueError, match=problem):
        check_submission(change(sample.copy()), sample, LABELS)


@pytest.mark.parametrize("value", ["1.2", "-0.1", "", "nan", "inf", "high"])
def test_a_probability_outside_of_0_and_1_is_refused(sample, value):
    rules = SubmissionRules("probability", "sample.csv", ("0", "1"))
    with pytest.raises(ValueError, match="row 3, id '1e5'"):
        check_submission(sample.assign(label=["0.5", value, "0.5"]), sample, rules)


def test_rows_that_do_not_sum_to_one_are_refused():
    sample = pd.DataFrame({"id": ["x", "y"], "a": "0", "b": "0", "c": "0"})
    submission = sample.assign(a=["0.5", "0.5"], b=["0.5", "0.4999"])
    with pytest.raises(ValueError, match="row 3, id 'y': the probabilities sum to 0.9999"):
        check_submission(submission, sample, replace(LABELS, kind="class_probabilities", whole_rows=True))


SAMPLE = pd.DataFrame({"Id": ["007", "1e5"], "Predicted": ["", ""]})


LISTS = SubmissionRules("label_list", "s.csv", ("a", "b - c", "d"), separator="|")


RANKS = SubmissionRules("top_k", "s.csv", ("w1", "w2"), top_k=2, unknown="new")


VALUES = SubmissionRules("value", "s.csv", ("v",), bounds=(1, 100))


def test_label_lists_and_ranks_are_written_in_their_own_words():
    sets = np.array([[True, True, False], [False, False, False]])
    assert make_submission(SAMPLE, sets, LISTS).Predicted.tolist() == ["a|b - c", ""]
    assert make_submission(SAMPLE, np.array([[1, 2], [2, 0]]), RANKS).Predicted.tolist() == ["w2 new", "new w1"]


@pytest.mark.parametrize(
    ("rules", "cells", "problem"),
    [
        (LISTS, ["a|d", "a|x"], r"row 3, id '1e5': 'x' is none of the classes"),
        (LISTS, ["a|a", "d"], r"row 2, id '007': 'a\|a' names a class twice"),
        (RANKS, ["w1 w2", ""], r"row 3, id '1e5': there is no class"),
        (RANKS, ["w1 w2 new", "w1"], r"row 2, id '007': .* more than 2"),
        (VALUES, ["1", "100.5"], r"row 3, id '1e5': \['100.5'\] is not within 1 and 100"),
        (VALUES, ["", "3"], r"row 2, id '007': \[''\] is not within"),
        (SubmissionRules("value", "s.csv"), ["inf", "3"], r"row 2, id '007': \['inf'\] is not within"),
    ],
)
def test_what_kaggle_would_refuse_is_refused_by_row(rules, cells, problem):
    with pytest.raises(ValueError, match=problem):
        check_submission(SAMPLE.assign(Predicted=cells), SAMPLE, rules)


@pytest.mark.parametrize(
    ("rules", "cells"),
    [
        (LISTS, ["", "d|a"]),
        (RANKS, ["new w1", "w2"]),
        (VALUES, ["1", "99.99"]),
        (SubmissionRules("prepare:submission", "s.csv"), ["?", ""]),
    ],
)
def test_what_kaggle_takes_is_passed(rules, cells):
    check_submission(SAMPLE.assign(Predicted=cells), SAMPLE, rules)
