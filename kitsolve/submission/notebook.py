"""`kitsolve export`, second half: a bundle becomes a Kaggle notebook that needs nothing but its weights."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kitsolve.config import Submission, read_competition
from kitsolve.inference.bundle import Bundle
from kitsolve.submission.standalone import inference_parts
from kitsolve.workspace import Workspace, to_json, write_json, write_text

OWNER = "OWNER"
"""Stands for the Kaggle user name until the notebook is pushed."""

SETTINGS = """\
# Nothing here needs the internet: the weights are an attached dataset, the code stands in the next cells.
import os
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
END = time.monotonic() + 0.9 * 3600 * {hours:g}  # of the {hours:g} h that the competition allows
KAGGLE = Path(os.environ.get("KITSOLVE_KAGGLE", "/kaggle"))  # a rehearsal at home sets another place
COMPETITION = "{competition}"
WEIGHTS = "{weights}"  # the dataset to attach"""

FIND = """\
import kitsolve_inference as kitsolve

bundle_dir = kitsolve.find_input(KAGGLE / "input", WEIGHTS, "bundle.json")
input_dir = kitsolve.find_input(KAGGLE / "input", COMPETITION, "{sample}")
# bundle.json in its turn holds the sha256 of every other file.
kitsolve.check_file(bundle_dir / "bundle.json", "{sha256}")
print(f"weights  {{bundle_dir}}\\ndata     {{input_dir}}")"""

PREDICT = """\
# Reads the ids and images that are there now: at the rerun those of the hidden test set.
# A submission of the mean prediction is there at once; the real one takes its place at the end.
output = KAGGLE / "working" / "submission.csv"
submission = kitsolve.predict_bundle(bundle_dir, input_dir, output, lenient=True, time_limit_s=END - time.monotonic())
print(f"{len(submission):,} rows, checked against the sample submission")"""

PREVIEW = """\
submission.head(10)"""


def build_notebook(bundle: Bundle, *, hours: float = 9.0) -> NotebookNode:
    """The notebook of a bundle: run card, settings, kitsolve.inference word for word, prediction, preview.

    Args:
        hours: that Kaggle lets it run.
    """
    described = hashlib.sha256(to_json(asdict(bundle)).encode()).hexdigest()
    sources = [
        SETTINGS.format(competition=bundle.competition, weights=kaggle_slug(bundle), hours=hours),
        *_write_code(),
        FIND.format(sample=bundle.submission.sample, sha256=described),
        PREDICT,
        PREVIEW,
    ]
    cells = [new_markdown_cell(_run_card(bundle), id="card")]
    cells += [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources, start=1)]
    return new_notebook(
        cells=cells,
        metadata={
            # Without a kernelspec Kaggle's runner stops with "No kernel name found in notebook".
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "kitsolve": asdict(bundle),
        },
    )


def _write_code() -> list[str]:
    """Cells that write kitsolve_inference.py, a module in each."""
    parts = inference_parts()
    return [f"%%writefile {'-a ' if number else ''}kitsolve_inference.py\n{part}" for number, part in enumerate(parts)]


def _run_card(bundle: Bundle) -> str:
    card, cv = bundle.card, bundle.card["cv"]
    folds = ", ".join(f"{score:.5f}" for score in cv["folds"])
    runs = "\n".join(
        f"| {run['backbone']} | {run['image_size']} px | {run['tta']} | {run['recipe']} | `{run['run']}` "
        f"| {run['weight']:.3g} |"
        for run in card["runs"]
    )
    versions = ", ".join(f"{package} {version}" for package, version in sorted(card["versions"].items()))
    return f"""# {card["title"]}: kitsolve submission

**CV {cv["metric"]} {cv["pooled"]:.5f}** over all out-of-fold predictions;
folds {folds} (mean {cv["mean"]:.5f}, std {cv["std"]:.5f}).
The ensemble has {len(bundle.models)} models; its runs are mixed by {card["blend"]}.
The code below is the code that gave the CV score.

| backbone | image size | TTA | recipe | run | weight |
|---|---|---|---|---|---|
{runs}

Trained with {versions}. Competition: `{bundle.competition}`, bundle `{bundle.name}`."""


def kaggle_slug(bundle: Bundle) -> str:
    """The name of dataset and notebook on Kaggle: at most 50 letters, digits and dashes, new for each bundle."""
    digest = hashlib.sha256(f"{bundle.competition}/{bundle.name}".encode()).hexdigest()[:8]
    return f"kitsolve-{bundle.competition[:30].rstrip('-')}-{digest}"


def write_notebook(workspace: Workspace, bundle: Bundle, *, owner: str = OWNER) -> Path:
    """Write SLUG.ipynb and kernel-metadata.json, and dataset-metadata.json beside the weights.

    Args:
        owner: the Kaggle user to whom notebook and weights will belong.

    Returns:
        The notebook's path.
    """
    folder = workspace.notebook(bundle.competition, bundle.name)
    path = folder / f"{bundle.competition}.ipynb"
    facts = read_competition(workspace, bundle.competition).submission
    text = nbformat.writes(build_notebook(bundle, hours=facts.hours)) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)  # else it keeps its time, and a rehearsal of it its worth
    write_json(folder / "kernel-metadata.json", kernel_metadata(bundle, path.name, facts=facts, owner=owner))
    weights = workspace.bundle(bundle.competition, bundle.name)
    write_json(weights / "dataset-metadata.json", dataset_metadata(bundle, owner=owner))
    return path


def kernel_metadata(bundle: Bundle, code_file: str, *, facts: Submission, owner: str = OWNER) -> dict[str, Any]:
    """kernel-metadata.json: private, without internet (Kaggle's default is with), on the competition's machine."""
    slug = kaggle_slug(bundle)
    return {
        "id": f"{owner}/{slug}",
        "title": slug.replace("-", " "),  # Kaggle makes the slug from the title: they must agree
        "code_file": code_file,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "machine_shape": facts.machine_shape,
        "dataset_sources": [f"{owner}/{slug}"],
        "competition_sources": [] if facts.via == "local" else [bundle.competition],
        "kernel_sources": [],
        "model_sources": [],
    }


def dataset_metadata(bundle: Bundle, *, owner: str = OWNER) -> dict[str, Any]:
    """dataset-metadata.json of the weights."""
    slug = kaggle_slug(bundle)
    return {"id": f"{owner}/{slug}", "title": slug.replace("-", " "), "licenses": [{"name": "CC0-1.0"}]}
