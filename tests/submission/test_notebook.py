import ast
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from kitsolve.config import Submission
from kitsolve.inference.bundle import parse_bundle
from kitsolve.submission.bundle import find_bundle
from kitsolve.submission.notebook import build_notebook, dataset_metadata, kaggle_slug, kernel_metadata
from kitsolve.submission.standalone import inference_file, inference_parts

FACTS = Submission(kind="label", via="csv")
EXAMPLE = Path(__file__).parents[2] / "notebooks_export" / "digits" / "baseline" / "digits.ipynb"


@pytest.fixture
def bundle(exported):
    return find_bundle(exported, "shades")


def test_the_notebook_carries_inference_word_for_word(bundle):
    cells = [cell.source for cell in build_notebook(bundle).cells if "%%writefile" in cell.source]
    assert [cell.partition("\n")[0] for cell in cells] == [
        "%%writefile kitsolve_inference.py",
        *["%%writefile -a kitsolve_inference.py"] * (len(cells) - 1),
    ]
    assert [cell.partition("\n")[2] for cell in cells] == inference_parts()


def test_the_notebook_is_valid_reads_short_and_imports_no_kitsolve(bundle):
    notebook = build_notebook(bundle)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "%%writefile" not in cell.source:
            assert len(cell.source.splitlines()) <= 10
            imports = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Import)]
            assert not [alias for node in imports for alias in node.names if alias.name == "kitsolve"]


def test_the_run_card_says_what_was_trained_and_how_good_it_is(bundle):
    card = build_notebook(bundle).cells[0].source
    cv = bundle.card["cv"]
    for expected in (bundle.card["title"], f"{cv['pooled']:.5f}", "timm/test_resnet", "hflip", "torch", "first"):
        assert expected in card


def test_the_preview_of_the_submission_is_the_last_cell(bundle):
    assert build_notebook(bundle).cells[-1].source == "submission.head(10)"


def test_the_same_bundle_gives_the_same_bytes(bundle):
    assert nbformat.writes(build_notebook(bundle)) == nbformat.writes(build_notebook(bundle))


def test_the_kernel_is_private_offline_and_takes_competition_and_weights(bundle):
    metadata = kernel_metadata(bundle, "shades.ipynb", facts=FACTS)
    assert metadata["is_private"] is True
    assert metadata["enable_internet"] is False
    assert metadata["competition_sources"] == ["shades"]
    assert metadata["dataset_sources"] == [dataset_metadata(bundle)["id"]]


@pytest.mark.parametrize("competition", ["digits", "siim-isic-melanoma-classification", "x" * 80])
def test_names_on_kaggle_are_short_and_agree_with_their_title(bundle, competition):
    named = replace(bundle, competition=competition)
    slug = kaggle_slug(named)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{4,48}[a-z0-9]", slug)
    title = kernel_metadata(named, "x.ipynb", facts=FACTS)["title"]
    assert re.sub(r"[^a-z0-9]+", "-", title.lower()) == slug


def test_every_bundle_has_a_name_of_its_own(bundle):
    names = {kaggle_slug(replace(bundle, name=name)) for name in ("a", "b")}
    assert len(names) == 2


def test_an_export_writes_notebook_and_metadata(exported, bundle):
    folder = exported.notebook("shades", bundle.name)
    assert {path.name for path in folder.iterdir()} == {"shades.ipynb", "kernel-metadata.json"}
    assert json.loads((folder / "kernel-metadata.json").read_text())["code_file"] == "shades.ipynb"


def test_the_committed_example_is_what_todays_code_writes():
    text = EXAMPLE.read_text(encoding="utf-8")
    bundle = parse_bundle(json.loads(text)["metadata"]["kitsolve"])
    code = hashlib.sha256(inference_file().encode()).hexdigest()
    assert bundle.files == {"kitsolve_inference.py": code}, "run python tests/submission/test_notebook.py"
    assert text == nbformat.writes(build_notebook(bundle)) + "\n", (
        "inference or the notebook changed: run python tests/submission/test_notebook.py"
    )
    metadata = json.loads(EXAMPLE.with_name("kernel-metadata.json").read_text(encoding="utf-8"))
    assert metadata == kernel_metadata(bundle, "digits.ipynb", facts=Submission(kind="label", via="local"))


def rewrite_example():
    """Bring the committed example in step with the code, which its bundle carries as well."""
    bundle = parse_bundle(json.loads(EXAMPLE.read_text(encoding="utf-8"))["metadata"]["kitsolve"])
    code = hashlib.sha256(inference_file().encode()).hexdigest()
    bundle = replace(bundle, files={"kitsolve_inference.py": code})
    EXAMPLE.write_text(nbformat.writes(build_notebook(bundle)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    rewrite_example()
