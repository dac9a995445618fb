import json
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from fake_kaggle import zipped
from lookalikes import LOOKALIKES
from typer.testing import CliRunner

from kitsolve.cli import app
from kitsolve.submission.kaggle_image import read_kaggle_image
from kitsolve.workspace import Workspace, catalogue

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
KITSOLVE = [line for line in LINES if line.startswith("kitsolve ")]
ELSEWHERE = (
    "kitsolve board cassava-leaf-disease-classification",  # test_cli.py: prints its address and stops at Ctrl-C
    "kitsolve train my-competition --gpus 2",  # training/test_distributed.py
    "kitsolve train my-competition --ray",  # training/test_cluster.py
)

TINY = """
backbone = "timm/test_resnet"
pretrained = false
image_size = 32
epochs = 1
batch_size = 8
"""


def write_images(folder, names, *, size=24):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / name), pixels)


def download_cassava(folder):
    """The layout of the real download, with few and tiny images."""
    names = [f"{number}.jpg" for number in range(6103, 6143)]
    write_images(folder / "train_images", names)
    write_images(folder / "test_images", ["2216849948.jpg"])
    pd.DataFrame({"image_id": names, "label": [n % 5 for n in range(40)]}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"image_id": ["2216849948.jpg"], "label": [4]}).to_csv(folder / "sample_submission.csv", index=False)
    (folder / "label_num_to_disease_map.json").write_text("{}")


def give_tiny_recipes(root, slug):
    """Recipes that train in seconds: a root's own folder wins over the catalogue."""
    recipes = root / "competitions" / slug / "recipes"
    recipes.mkdir(exist_ok=True)
    for name in ("baseline", "quick"):
        (recipes / f"{name}.toml").write_text(TINY)


def call(root, line):
    words = [word.replace("~", str(root)) for word in shlex.split(line)[1:]]
    return CliRunner().invoke(app, ["--root", str(root), *words])


def test_the_readme_has_the_commands_that_the_tests_below_run():
    assert [line for line in LINES if line not in KITSOLVE] == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/kitsolve run digits",
        'python3 -m venv .venv-test && .venv-test/bin/pip install ".[test]" && .venv-test/bin/pytest',  # .ci/run
    ]
    assert set(ELSEWHERE) < set(KITSOLVE)
    others = [line.split()[1] for line in KITSOLVE if "cassava-leaf-disease-classification" not in line]
    assert others == [
        "doctor", "models", "new", "fetch", "show", "folds",
        "lr", "train", "train", "pseudo", "train", "report", "blend", "train", "train",
    ]  # fmt: skip


def test_the_readme_installs_the_versions_that_kaggle_has():
    names = {"cv2": "opencv-python-headless", "PIL": "pillow"}
    image = read_kaggle_image()
    for module, version in image.versions.items():
        if module != "python":
            assert re.search(rf"\b{names.get(module, module)}=={re.escape(version)}(\.\d+)?\s", README), module
    assert f"python{image.versions['python']} -m venv" in README


def forget_submissions(workspace, slug):
    """Each block of the README is a story of its own."""
    workspace.ledger(slug).unlink(missing_ok=True)
    shutil.rmtree(workspace.sending(slug), ignore_errors=True)


def run_notebook(fake, workspace, slug):
    """Kaggle's run of the notebook writes what was predicted here."""
    (path,) = workspace.submission(slug, "x").parents[1].glob("*/submission.csv")
    fake.kernel_files["submission.csv"] = path.read_bytes()


@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_says(tmp_path, fake):
    slug = "cassava-leaf-disease-classification"
    shutil.copytree(catalogue() / slug, tmp_path / "competitions" / slug)
    give_tiny_recipes(tmp_path, slug)
    folder = tmp_path / "Downloads" / "cassava"
    download_cassava(folder)
    members = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    LOOKALIKES["siim-isic-melanoma-classification"](tmp_path / "Downloads" / "mine")
    fake.archive, fake.files[slug] = zipped(members), [(name, len(value)) for name, value in members.items()]
    workspace = Workspace(tmp_path)
    for line in KITSOLVE:
        if f"fetch {slug} --from " in line:
            shutil.rmtree(workspace.raw(slug))
        if line.startswith("kitsolve submit"):
            line += " --yes"  # there is no terminal to ask at
            forget_submissions(workspace, slug)
            fake.arrivals["SaveKernel"].append(lambda: run_notebook(fake, workspace, slug))
        line = line.replace("--min-confidence 0.9", "--min-confidence 0.1")  # a model of one epoch is not sure
        if line not in ELSEWHERE:
            result = call(tmp_path, line)
            assert result.exit_code == 0, f"{line}: {result.output}"
        if line.startswith("kitsolve new my-competition"):
            give_tiny_recipes(tmp_path, "my-competition")
    assert len(fake.submissions) == 2


@pytest.mark.slow
def test_run_digits_goes_from_an_empty_folder_to_a_scored_submission(tmp_path):
    result = call(tmp_path, "kitsolve run digits --set epochs=4 --json")
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert done["cv"]["pooled"] >= 0.98
    assert abs(done["score"] - done["cv"]["pooled"]) <= 0.01
    assert done["rehearsal"]["passed"] is True


def test_files_that_the_readme_names_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"^kitsolve/\S+|^competitions/", README, re.MULTILINE)
    assert len(targets) >= 10
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("path", sorted(catalogue().glob("*/competition.toml")), ids=lambda path: path.parent.name)
def test_every_competition_of_the_catalogue_is_read_and_described(path):
    from kitsolve.config import read_competition

    assert read_competition(Workspace(ROOT / "nowhere"), path.parent.name).title
    assert (path.parent / "README.md").is_file()
