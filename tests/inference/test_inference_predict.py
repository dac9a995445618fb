import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kitsolve.inference.bundle import Decoder, SubmissionRules, read_bundle
from kitsolve.inference.predict import _submit, find_input, main
from kitsolve.submission.standalone import inference_file


@pytest.mark.parametrize("place", ["slug", "competitions/slug", "datasets/owner/slug", "slug/deeper/still"])
def test_an_input_is_found_however_kaggle_mounts_it(tmp_path, place):
    for other in ("other", "competitions/another"):
        (tmp_path / other).mkdir(parents=True)
        (tmp_path / other / "marker.csv").touch()
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "marker.csv").touch()
    assert find_input(tmp_path, "slug", "marker.csv") == tmp_path / place


def test_an_input_that_is_not_there_lists_what_is(tmp_path):
    (tmp_path / "something").mkdir()
    with pytest.raises(ValueError, match="something"):
        find_input(tmp_path, "slug", "marker.csv")


def test_a_bundle_of_another_format_is_refused(tmp_path):
    (tmp_path / "bundle.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        read_bundle(tmp_path)


def test_the_file_predicts_alone_from_a_folder_that_holds_nothing_else(trained, tmp_path):
    from kitsolve.submission.bundle import export_bundle

    bundle = export_bundle(trained, "shades", [])
    alone = tmp_path / "kitsolve_inference.py"
    alone.write_text(inference_file())
    places = [
        "--bundle",
        trained.bundle("shades", bundle.name),
        "--input",
        trained.raw("shades"),
        "--output",
        tmp_path / "s.csv",
    ]
    subprocess.run([sys.executable, alone, *map(str, places)], check=True, cwd=tmp_path)
    assert list(pd.read_csv(tmp_path / "s.csv").columns) == ["image_id", "shade"]


def ask_hook(folder, body, decoder, outputs, names=()):
    """The submission of a prepare.py with this body of `submission`, written and read again."""
    (folder / "prepare.py").write_text(f"def submission(sample, outputs, class_names):\n    {body}\n")
    sample = pd.DataFrame({"id": [f"t{row}" for row in range(len(outputs))], "y": "0"})
    rules = SubmissionRules("prepare:submission", "sample.csv", tuple(names))
    bundle = SimpleNamespace(decoder=decoder, submission=rules)
    return _submit([np.array(outputs, dtype=np.float32)], sample, bundle, folder, folder / "submission.csv")


def test_the_hook_of_a_regression_is_handed_values_in_the_targets_unit(tmp_path):
    decoder = Decoder("regression", scale=(500.0, 100.0), bounds=(0.0, 590.0))
    written = ask_hook(tmp_path, "return sample.assign(y=outputs[:, 0])", decoder, [[0.0], [-1.5], [1.0]])
    assert written.y.astype(float).tolist() == [500, 350, 590]


def test_the_hook_of_an_ordinal_task_is_handed_a_probability_for_each_class(tmp_path):
    body = "return sample.assign(y=[class_names[best] for best in outputs.argmax(axis=1)])"
    written = ask_hook(tmp_path, body, Decoder("ordinal"), [[0.9, 0.8], [0.1, 0.0]], ["low", "mid", "high"])
    assert written.y.tolist() == ["high", "low"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("return None", "returned a NoneType, not the sample's table"),
        ("return outputs", "returned a ndarray"),
        ("raise KeyError('boom')", r"raised KeyError: 'boom', given predictions \(2, 1\)"),
        ("raise SystemExit(0)", "raised SystemExit: 0"),
        ("return sample.assign(y=[1.0, float('nan')])", "left 1 cells without a value, first: row 3, column 'y'"),
        ("return sample[:-1]", "lacks 1 of 2 ids"),
        ("return sample.rename(columns={'y': 'x'})", "has the columns"),
    ],
)
def test_a_wrong_hook_ends_in_one_sentence(tmp_path, body, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        ask_hook(tmp_path, body, Decoder("regression"), [[0.0], [1.0]])
    assert re.search(r"\n", str(caught.value)) is None


def test_what_a_hook_prints_does_not_reach_stdout(tmp_path, capsys):
    ask_hook(tmp_path, "print('hello'); return sample", Decoder("regression"), [[0.0]])
    assert capsys.readouterr().out == ""


def test_the_command_line_ends_in_one_sentence_where_a_file_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["kitsolve_inference.py", "--bundle", str(tmp_path), "--input", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert str(caught.value).startswith("error: ")
    assert str(tmp_path) in str(caught.value)
