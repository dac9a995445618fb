import pytest

from kitsolve.config import Competition
from kitsolve.data.sample import describe_sample, order_classes, spell_classes
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import SubmissionRules

TASKS = {"label": "multiclass", "class_probabilities": "multiclass", "top_k": "retrieval", "probability": "binary"}


def facts(kind, **train):
    train = {"rows": {"csv": "t.csv"}, "id": "id", "target": "label", "image": "{id}.png", **train}
    values = {"slug": "x", "title": "X", "task": TASKS[kind], "train": train, "test": {"image": "{id}.png"}}
    values["metric"] = {"retrieval": "map@5", "binary": "roc_auc"}.get(TASKS[kind], "accuracy")
    return Competition.model_validate(values | {"submission": {"kind": kind, "via": "csv", "sample": "s.csv"}})


def write(tmp_path, text):
    (tmp_path / "s.csv").write_text(text)
    return tmp_path


def test_the_columns_of_the_sample_are_found_however_they_are_spelt(tmp_path):
    raw = write(tmp_path, "id, 2,1.0,cafe\u0301\nx,0,0,0\n")
    names = order_classes(("1", "2", "caf\u00e9"), raw, facts("class_probabilities"))
    assert names == ("2", "1", "caf\u00e9")
    rules = SubmissionRules("class_probabilities", "s.csv", names)
    assert spell_classes(rules, raw, facts("class_probabilities")).class_names == (" 2", "1.0", "cafe\u0301")
    with pytest.raises(KitsolveError, match="differ, first: '3'"):
        order_classes(("1", "2", "3", "caf\u00e9"), raw, facts("class_probabilities"))


def test_the_unknown_label_is_spelt_as_the_sample_spells_it_too(tmp_path):
    raw = write(tmp_path, "id,label\nx,nouve\u0301 w1\n")
    rules = spell_classes(SubmissionRules("top_k", "s.csv", ("w1",), unknown="nouv\u00e9"), raw, facts("top_k"))
    assert (rules.class_names, rules.unknown) == (("w1",), "nouve\u0301")


@pytest.mark.parametrize("label", ["0", "0.5", "", "cat", "?"])
def test_a_label_or_a_placeholder_in_the_sample_is_nothing_to_tell(tmp_path, label):
    assert describe_sample(("cat", "dog"), write(tmp_path, f"id,label\nx,{label}\ny,{label}\n"), facts("label")) == []


def test_labels_of_the_sample_that_are_no_classes_are_told(tmp_path):
    raw = write(tmp_path, "id,label\nx,Cat\ny,dog\n")
    assert describe_sample(("cat", "dog"), raw, facts("label")) == [
        "1 of the 2 labels that s.csv shows are no labels of train.csv, first 'Cat' (nearest: cat)."
    ]


def test_columns_of_the_sample_that_no_prediction_fills_are_told(tmp_path):
    raw = write(tmp_path, "id,age,site\nx,5,a\n")
    (notice,) = describe_sample(("0", "1"), raw, facts("probability"))
    assert notice == "s.csv has 3 columns: predictions go to 'age', and 'site' stay as they are."


def test_a_sample_without_a_column_for_values_is_refused(tmp_path):
    with pytest.raises(KitsolveError, match="has the column 'id' alone"):
        describe_sample(("0", "1"), write(tmp_path, "id\nx\n"), facts("label"))
