import json
import subprocess
import sys

import pandas as pd
import pytest

from kitsolve.inference.bundle import (
    read_bundle,
)
from kitsolve.inference.predict import find_input
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
