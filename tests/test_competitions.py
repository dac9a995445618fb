"""The twelve shipped competitions, from look-alikes of their raw files to a rehearsed submission."""

import shutil

import numpy as np
import pandas as pd
import pytest
from lookalikes import LOOKALIKES

from kitsolve.config import read_competition
from kitsolve.data.fetch import fetch, read_train_table
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.inference.testset import read_sample
from kitsolve.submission.bundle import export_bundle
from kitsolve.submission.notebook import write_notebook
from kitsolve.submission.rehearse import rehearse
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import Workspace, catalogue, read_csv, read_json

RECIPE = """
backbone   = "timm/test_resnet"
pretrained = false
image_size = 32
epochs     = 3
batch_size = 8
lr         = 1e-2
ema_decay  = 0.5
augment    = "light"
tta        = "hflip"
"""


def prepare(root, slug):
    """A workspace with the shipped facts, a recipe of seconds, and the raw look-alike; gives both."""
    shutil.copytree(catalogue() / slug, root / "competitions" / slug)
    recipes = root / "competitions" / slug / "recipes"
    recipes.mkdir(exist_ok=True)
    (recipes / "quick.toml").write_text(RECIPE)
    (root / "download").mkdir()
    LOOKALIKES[slug](root / "download")
    return Workspace(root), root / "download"


def labels_of(workspace, slug):
    """All labels of the train set, as text."""
    facts = read_competition(workspace, slug).train
    cells = read_csv(workspace.tables(slug) / "train.csv")[facts.targets].to_numpy().ravel()
    return {label for cell in cells for label in cell.split()} if "attribute" in facts.targets[0] else set(cells)


def probabilities(submission, sample, labels):
    values = submission.iloc[:, 1:].astype(float).to_numpy()
    assert ((values >= 0) & (values <= 1)).all()
    return values


def rows_of_probabilities(submission, sample, labels):
    assert np.abs(probabilities(submission, sample, labels).sum(axis=1) - 1).max() < 1e-6


def one_label(submission, sample, labels):
    assert set(submission.iloc[:, 1]) <= labels


def integers(submission, sample, labels):
    assert submission.iloc[:, 1].str.fullmatch(r"\d+").all()
    one_label(submission, sample, labels)


def five_whales(submission, sample, labels):
    ranks = submission.iloc[:, 1].str.split()
    assert (ranks.map(len) == 5).all()
    assert all(len(set(row)) == 5 and set(row) <= labels | {"new_whale"} for row in ranks)


def label_sets(submission, sample, labels):
    assert all(set(cell.split()) <= labels for cell in submission.iloc[:, 1])


def one_to_a_hundred(submission, sample, labels):
    assert submission.iloc[:, 1].astype(float).between(1, 100).all()


RULES = {
    "cassava-leaf-disease-classification": integers,
    "aptos2019-blindness-detection": integers,
    "dog-breed-identification": rows_of_probabilities,
    "dogs-vs-cats-redux-kernels-edition": probabilities,
    "plant-seedlings-classification": one_label,
    "ranzcr-clip-catheter-line-classification": probabilities,
    "siim-isic-melanoma-classification": probabilities,
    "petfinder-pawpularity-score": one_to_a_hundred,
    "whale-categorization-playground": five_whales,
    "imet-2020-fgvc7": label_sets,
    "herbarium-2022-fgvc9": integers,
    "seti-breakthrough-listen": probabilities,
}


@pytest.mark.slow
@pytest.mark.parametrize("slug", RULES)
def test_a_competition_goes_from_its_raw_files_to_a_rehearsed_submission(slug, tmp_path):
    workspace, download = prepare(tmp_path, slug)
    fetched = fetch(workspace, slug, source=download)
    run = open_run(workspace, Wanted(slug, "quick", ("epochs=1",)))
    cv = train_folds(workspace, run, [], choose_machine("cpu", 0))
    assert cv.oof_rows == fetched.train_rows
    assert np.isfinite([cv.pooled, cv.plain, *cv.folds]).all()
    bundle = export_bundle(workspace, slug, [run.name])
    write_notebook(workspace, bundle)
    rehearsal = rehearse(workspace, bundle)
    assert rehearsal.passed, rehearsal.checks
    sample = read_sample(download, bundle.submission)
    submission = pd.read_csv(workspace.submission(slug, bundle.name), dtype=str, keep_default_na=False)
    assert list(submission) == list(sample)
    assert submission.iloc[:, 0].equals(sample.iloc[:, 0])
    RULES[slug](submission, sample, labels_of(workspace, slug))


@pytest.mark.parametrize("slug", RULES)
def test_a_competitions_folds_are_alike_and_keep_groups_whole(slug, tmp_path):
    workspace, download = prepare(tmp_path, slug)
    fetch(workspace, slug, source=download)
    report = read_json(workspace.tables(slug) / "tables.json")["fold_report"]
    assert report["leaks"] == 0
    assert max(report["rows"]) - min(report["rows"]) <= max(3, sum(report["rows"]) // 6)
    group = read_competition(workspace, slug).train.group
    if group:
        assert (read_train_table(workspace, slug).groupby(group).fold.nunique() == 1).all()


def test_all_shipped_competitions_but_the_demo_are_covered():
    shipped = {path.parent.name for path in catalogue().glob("*/competition.toml")}
    assert shipped - {"digits"} == set(RULES) == set(LOOKALIKES)
