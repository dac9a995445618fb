"""What facts alone cannot say, and layouts that the twelve do not have: each from raw files to a rehearsed notebook."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import write_image

from kitsolve.data.fetch import fetch
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.oof import WIDE
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.submission.bundle import export_bundle
from kitsolve.submission.notebook import write_notebook
from kitsolve.submission.rehearse import rehearse
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import Workspace, read_csv

RECIPE = 'backbone = "timm/test_resnet"\npretrained = false\nimage_size = 32\nepochs = 1\nbatch_size = 8\nlr = 1e-2\n'


def write_facts(root, slug, facts, prepare=None):
    folder = root / "competitions" / slug
    (folder / "recipes").mkdir(parents=True)
    (folder / "competition.toml").write_text(facts)
    (folder / "recipes" / "quick.toml").write_text(RECIPE)
    if prepare:
        (folder / "prepare.py").write_text(prepare)
    return Workspace(root)


def go(workspace, slug):
    """All steps; gives the CV and the submission."""
    fetch(workspace, slug, source=workspace.root / "download")
    run = open_run(workspace, Wanted(slug, "quick"))
    cv = train_folds(workspace, run, [], choose_machine("cpu", 0))
    bundle = export_bundle(workspace, slug, [run.name])
    write_notebook(workspace, bundle)
    rehearsal = rehearse(workspace, bundle)
    assert rehearsal.passed, rehearsal.checks
    return cv, read_csv(workspace.submission(slug, bundle.name))


ICE = """
title  = "Ice or ship"
task   = "binary"
metric = "log_loss"
image  = { channels = 2 }

[train]
rows     = { records = "train.json", arrays = ["band_1", "band_2"] }
id       = "id"
target   = "is_iceberg"
image    = "arrays/{id}.npy"
features = ["inc_angle"]

[test]
rows  = { records = "test.json", arrays = ["band_1", "band_2"] }
id    = "id"
image = "arrays/{id}.npy"

[folds]
count = 2

[submission]
kind = "probability"
via  = "notebook"
"""


def write_ice(raw):
    """Radar images as flat lists of numbers inside of JSON; an angle is not known everywhere."""
    raw.mkdir()
    rng = np.random.default_rng(0)

    def record(number, prefix):
        label = number % 2
        bands = {f"band_{band}": (rng.normal(-20 + 15 * label, 2, 400)).tolist() for band in (1, 2)}
        angle = "na" if number == 3 else 30 + number
        return {"id": f"{prefix}{number:02d}", **bands, "inc_angle": angle, "is_iceberg": label}

    test = [{key: value for key, value in record(n, "t").items() if key != "is_iceberg"} for n in range(6)]
    (raw / "train.json").write_text(json.dumps([record(number, "a") for number in range(24)]))
    (raw / "test.json").write_text(json.dumps(test))
    pd.DataFrame({"id": [row["id"] for row in test], "is_iceberg": 0.5}).to_csv(
        raw / "sample_submission.csv", index=False
    )


@pytest.mark.slow
def test_images_that_are_numbers_inside_of_json(tmp_path):
    workspace = write_facts(tmp_path, "ice", ICE.replace('features = ["inc_angle"]\n', ""))
    write_ice(tmp_path / "download")
    cv, submission = go(workspace, "ice")
    assert (workspace.raw("ice") / "arrays" / "a00.npy").is_file()
    assert cv.oof_rows == 24
    assert submission.iloc[:, 1].astype(float).between(0, 1).all()


SCORED = """
title  = "Scores"
task   = "multiclass"
metric = "prepare:metric"

[train]
rows   = { csv = "train.csv" }
id     = "image_id"
target = "shade"
image  = "train/{image_id}.png"

[test]
image  = "test/{image_id}.png"

[folds]
count  = 2

[submission]
kind   = "prepare:submission"
via    = "notebook"
"""
PREPARE = '''
import numpy as np

def metric(targets, probs):
    """Mean probability of the wrong classes; smaller is better."""
    return float(1 - probs[np.arange(len(targets)), targets].mean())

metric.greater_is_better = False

def submission(sample, outputs, class_names):
    """Best and second class with a slash between."""
    order = np.argsort(-outputs, axis=1)
    names = np.array(class_names)
    return sample.assign(shade=[f"{names[row[0]]}/{names[row[1]]}" for row in order])
'''


def write_shades(raw):
    shades = ["dark", "grey", "bright"]
    for number in range(24):
        write_image(raw / "train" / f"{number:02d}.png", shades[number % 3], seed=number)
    for number in range(6):
        write_image(raw / "test" / f"t{number}.png", shades[number % 3], seed=100 + number)
    rows = {"image_id": [f"{n:02d}" for n in range(24)], "shade": [shades[n % 3] for n in range(24)]}
    pd.DataFrame(rows).to_csv(raw / "train.csv", index=False)
    pd.DataFrame({"image_id": [f"t{n}" for n in range(6)], "shade": "?"}).to_csv(
        raw / "sample_submission.csv", index=False
    )


@pytest.mark.slow
def test_a_metric_and_a_submission_of_ones_own(tmp_path):
    workspace = write_facts(tmp_path, "scores", SCORED, PREPARE)
    write_shades(tmp_path / "download")
    cv, submission = go(workspace, "scores")
    assert 0 <= cv.pooled <= 1
    assert submission["shade"].str.fullmatch(r"(dark|grey|bright)/(dark|grey|bright)").all()


def test_a_function_that_prepare_lacks_is_named(tmp_path):
    workspace = write_facts(tmp_path, "scores", SCORED)
    write_shades(tmp_path / "download")
    with pytest.raises(KitsolveError, match=r"prepare\.py has no function metric"):
        fetch(workspace, "scores", source=tmp_path / "download")


def test_a_feature_that_the_test_rows_do_not_have_is_refused_as_a_leak(tmp_path):
    facts = SCORED.replace('target = "shade"', 'target = "shade"\nfeatures = ["diagnosis"]')
    workspace = write_facts(tmp_path, "scores", facts, PREPARE)
    write_shades(tmp_path / "download")
    train = tmp_path / "download" / "train.csv"
    pd.read_csv(train, dtype=str).assign(diagnosis="x").to_csv(train, index=False)
    with pytest.raises(KitsolveError, match="would know what it cannot know"):
        fetch(workspace, "scores", source=tmp_path / "download")


def test_near_duplicates_are_kept_in_one_fold_on_request(tmp_path):
    facts = SCORED.replace("count  = 2", 'count  = 2\nscheme = "stratified_group"\nduplicates = "group"')
    workspace = write_facts(tmp_path, "scores", facts, PREPARE)
    write_shades(tmp_path / "download")
    images = tmp_path / "download" / "train"
    for number in range(0, 12):  # every image of the first half has a twin in the second
        (images / f"{number + 12:02d}.png").write_bytes((images / f"{number:02d}.png").read_bytes())
    fetch(workspace, "scores", source=tmp_path / "download")
    folds = read_csv(workspace.tables("scores") / "folds.csv").fold.tolist()
    assert folds[:12] == folds[12:]
    assert len(set(folds)) == 2


@pytest.mark.slow
def test_more_classes_than_a_table_should_have_columns(tmp_path):
    facts = SCORED.replace("multiclass", "retrieval").replace("prepare:metric", "map@5")
    workspace = write_facts(tmp_path, "many", facts.replace("prepare:submission", "top_k"))
    raw, rows = tmp_path / "download", range(2 * (WIDE + 1))
    for number in rows:
        write_image(raw / "train" / f"{number}.png", "grey", seed=number)
    write_image(raw / "test" / "t.png", "grey", seed=0)
    labels = [f"w{number % (WIDE + 1)}" for number in rows]
    pd.DataFrame({"image_id": rows, "shade": labels}).to_csv(raw / "train.csv", index=False)
    (raw / "sample_submission.csv").write_text("image_id,shade\nt,w0\n")
    cv, submission = go(workspace, "many")
    assert cv.oof_rows == len(rows)
    (oof,) = workspace.runs("many").glob("*/oof.csv")
    assert list(read_csv(oof)) == ["image_id", "output", "prob"]
    assert len(submission["shade"][0].split()) == 5


@pytest.mark.slow
def test_labels_that_are_votes(tmp_path):
    facts = SCORED.replace("prepare:metric", "kl_divergence").replace("prepare:submission", "class_probabilities")
    workspace = write_facts(tmp_path, "votes", facts.replace('target = "shade"', 'target = ["dark", "grey", "bright"]'))
    raw, names = tmp_path / "download", ["dark", "grey", "bright"]
    write_shades(raw)
    shades = pd.read_csv(raw / "train.csv", dtype=str)
    votes = {name: [3 if shade == name else 1 for shade in shades["shade"]] for name in names}
    shades[["image_id"]].assign(**votes).to_csv(raw / "train.csv", index=False)
    sample = pd.read_csv(raw / "sample_submission.csv", dtype=str)[["image_id"]]
    sample.assign(**dict.fromkeys(names, 0)).to_csv(raw / "sample_submission.csv", index=False)
    cv, submission = go(workspace, "votes")
    assert 0 <= cv.pooled < 1
    np.testing.assert_allclose(submission[names].astype(float).sum(axis=1), 1, atol=1e-6)
