import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_shades
from lookalikes import LOOKALIKES
from made_up import fetch_lookalike, write_run

from kitsolve.data.fetch import fetch
from kitsolve.data.splits import rewrite_folds
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import find_run
from kitsolve.reporting.mistakes import find_mistakes
from kitsolve.reporting.outcome import read_outcome
from kitsolve.reporting.report import write_report
from kitsolve.reporting.suspects import find_suspects
from kitsolve.workspace import Workspace, read_csv

CPU = torch.device("cpu")
ALL = ["score", "curves", "errors", "calibration", "mistakes", "suspects", "duplicates", "runs"]
TASKS = {
    "dogs-vs-cats-redux-kernels-edition": "binary",
    "plant-seedlings-classification": "multiclass",
    "ranzcr-clip-catheter-line-classification": "multilabel",
    "aptos2019-blindness-detection": "ordinal",
    "petfinder-pawpularity-score": "regression",
    "whale-categorization-playground": "retrieval",
    "seti-breakthrough-listen": "binary",
}
MANY = "plant-seedlings-classification"


@pytest.fixture(scope="module")
def lookalike(tmp_path_factory):
    """Slug -> a workspace with two made-up runs of its look-alike, made when it is first asked for."""
    made = {}

    def make(slug):
        if slug not in made:
            made[slug] = fetch_lookalike(tmp_path_factory.mktemp(slug), slug)
            write_run(made[slug], slug)
            write_run(made[slug], slug, name="other", seed=1)
        return made[slug]

    return make


def check_page(page):
    """What holds for every page: sections and links agree, texts are texts, nothing comes from elsewhere."""
    assert re.findall(r'<section id="(\w+)"', page) == re.findall(r'<a href="#(\w+)"', page)
    assert not re.findall(r'(?:src|href|action|data)="(?!data:image/jpeg|#)', page)
    assert not re.findall(r"<(?:script|link|iframe|object)|url\(|@import|>nan<|\bNone\b(?!\.)", page)
    assert len(page) < 3_000_000


# --------------------------------------------------------------------------------------------- the whole step


def test_a_trained_run_becomes_a_page(trained, tmp_path):
    shutil.copytree(trained.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    report = write_report(workspace, find_run(workspace, "shades"), device=CPU)
    assert report.path == workspace.root / "workspace" / "reports" / "shades" / "first.html"
    assert report.sections == ALL[:-1]
    page = report.path.read_text()
    check_page(page)
    assert "<h1>Shades of grey</h1>" in page
    assert "run first" in page


@pytest.mark.parametrize("slug", TASKS)
def test_every_task_has_its_page(slug, lookalike):
    workspace = lookalike(slug)
    run = find_run(workspace, slug, "made-up")
    assert run.competition.task == TASKS[slug]
    report = write_report(workspace, run, device=CPU)
    left_out = {"calibration", "suspects"} if TASKS[slug] == "regression" else set()
    assert report.sections == [name for name in ALL if name not in left_out]
    assert report.path.with_name("made-up-suspects.csv").exists() == ("suspects" in report.sections)
    page = report.path.read_text()
    check_page(page)
    assert page.count("<img") >= 2 * page.count("where the model looked") >= 6


def test_the_same_run_gives_the_same_bytes(lookalike):
    workspace = lookalike(MANY)
    run = find_run(workspace, MANY, "made-up")
    pages = [write_report(workspace, run, device=CPU).path.read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]


def test_a_run_with_a_fold_to_come_is_shown_as_far_as_it_is(lookalike):
    workspace = lookalike(MANY)
    run = write_run(workspace, MANY, name="begun", done=[0, 3])
    page = write_report(workspace, run, device=CPU).path.read_text()
    check_page(page)
    rows = read_csv(workspace.tables(MANY) / "folds.csv").fold.isin(["0", "3"]).sum()
    assert f"{60 - rows} of 60 rows are not predicted yet" in page
    assert not run.finished


def test_without_a_finished_fold_the_hint_is_to_train(lookalike):
    workspace = lookalike(MANY)
    with pytest.raises(KitsolveError, match="no finished fold"):
        write_report(workspace, write_run_begun(workspace), device=CPU)


def write_run_begun(workspace):
    """A run of which nothing is trained yet."""
    from kitsolve.evaluation.runs import Wanted, open_run, record_run

    run = open_run(workspace, Wanted(MANY, run_name="empty"))
    record_run(workspace, run)
    return run


def test_names_from_strangers_are_texts(tmp_path):
    evil = "<script>alert(1)</script>"
    raw = write_shades(tmp_path)
    table = pd.read_csv(raw / "train.csv", dtype=str)
    table["shade"] = table["shade"].replace("dark", evil)
    table.to_csv(raw / "train.csv", index=False)
    facts = tmp_path / "competitions" / "shades" / "competition.toml"
    facts.write_text(facts.read_text().replace("Shades of grey", evil))
    workspace = Workspace(tmp_path)
    fetch(workspace, "shades", source=raw)
    run = write_run(workspace, "shades", skill=0.3)
    page = write_report(workspace, run, device=CPU).path.read_text()
    check_page(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; predicted as" in page


# --------------------------------------------------------------------------------------------- what is found


def test_suspects_are_counted_and_written_beside_the_page(lookalike):
    workspace = lookalike(MANY)
    report = write_report(workspace, find_run(workspace, MANY, "made-up"), device=CPU)
    suspects = pd.read_csv(report.path.with_name("made-up-suspects.csv"))
    assert len(suspects) == report.suspects > 0
    assert list(suspects) == ["image_id", "fold", "label", "suggested", "prob_label", "prob_suggested", "margin"]
    assert (np.diff(suspects.margin) <= 0).all()
    assert (suspects.label != suspects.suggested).all()


def test_sparse_outputs_give_what_dense_ones_give(lookalike, monkeypatch, tmp_path):
    workspace = lookalike(MANY)
    dense = read_outcome(workspace, find_run(workspace, MANY, "made-up"))
    shutil.copytree(workspace.root, tmp_path / "root")
    monkeypatch.setattr("kitsolve.evaluation.oof.WIDE", 3)
    monkeypatch.setattr("kitsolve.evaluation.oof.SMALLEST", 0.0)
    workspace = Workspace(tmp_path / "root")
    run = write_run(workspace, MANY, name="sparse")
    sparse = read_outcome(workspace, run)
    pd.testing.assert_frame_equal(find_suspects(sparse), find_suspects(dense), rtol=1e-5)
    assert find_mistakes(sparse) == find_mistakes(dense)
    page = write_report(workspace, run, device=CPU).path.read_text()
    check_page(page)
    assert '<td class="n">–</td>' in page  # the other run's outputs are dense: no correlation here


def test_runs_of_other_folds_are_not_ranked_with_this_one(lookalike, tmp_path):
    shutil.copytree(lookalike(MANY).root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    rewrite_folds(workspace, MANY, {"seed": 7})
    one, other = (write_run(workspace, MANY, name=name, seed=seed) for name, seed in (("third", 1), ("fourth", 2)))
    page = write_report(workspace, one, device=CPU).path.read_text()
    check_page(page)
    ranked, _, apart = page[page.index("<h2>Other runs") :].partition("Runs of other folds, labels or metrics")
    assert "made-up" not in ranked
    assert other.name in ranked
    assert "made-up" in apart
    assert " rows lie in another fold, first id " in apart


def test_many_classes_are_shown_as_their_most_frequent_mistakes(lookalike, monkeypatch):
    monkeypatch.setattr("kitsolve.reporting.confusion.MOST_CLASSES", 11)
    workspace = lookalike(MANY)
    page = write_report(workspace, find_run(workspace, MANY, "made-up"), device=CPU).path.read_text()
    assert "Confused most" in page
    assert "Found least often" in page
    assert "labelled and predicted classes" not in page


def test_mistakes_are_the_surest_first_and_none_is_right(lookalike):
    outcome = read_outcome(lookalike(MANY), find_run(lookalike(MANY), MANY, "made-up"))
    mistakes = find_mistakes(outcome)
    rows = [mistake.row for mistake in mistakes]
    sure = [outcome.outputs[mistake.row, mistake.output] for mistake in mistakes]
    assert len(set(rows)) == 12
    assert (outcome.predicted[rows] != outcome.targets.values[rows]).all()
    assert sure == sorted(sure, reverse=True)


def test_the_largest_residuals_come_first(lookalike):
    slug = "petfinder-pawpularity-score"
    outcome = read_outcome(lookalike(slug), find_run(lookalike(slug), slug, "made-up"))
    residuals = np.abs(outcome.predicted - outcome.targets.values)
    shown = [residuals[mistake.row] for mistake in find_mistakes(outcome)]
    assert shown == sorted(residuals.tolist(), reverse=True)[:12]


def test_of_label_sets_each_row_is_shown_for_its_surest_mistake(lookalike):
    slug = "ranzcr-clip-catheter-line-classification"
    outcome = read_outcome(lookalike(slug), find_run(lookalike(slug), slug, "made-up"))
    for mistake in find_mistakes(outcome):
        has, prob = outcome.targets.values[mistake.row, mistake.output], outcome.outputs[mistake.row, mistake.output]
        assert mistake.said.startswith("not ") == (mistake.sign == -1) == bool(has)
        assert mistake.sure == f"probability {1 - prob if has else prob:.3f}"


def test_a_run_is_alike_to_its_twin_and_marked_among_the_others(lookalike):
    workspace = lookalike(MANY)
    write_run(workspace, MANY, name="twin")
    page = write_report(workspace, find_run(workspace, MANY, "made-up"), device=CPU).path.read_text()
    lines = re.findall(r"<tr[^>]*><td>(made-up|twin|other)</td>.*?</tr>", page)
    assert set(lines) == {"made-up", "twin", "other"}
    assert re.search(r'<tr class="marked"><td>made-up</td>', page)
    assert re.search(r'<tr><td>twin</td>.*?<td class="n">1.000</td></tr>', page)


# --------------------------------------------------------------------------------------------- what is missing


def test_a_state_dict_that_is_gone_is_named(lookalike):
    workspace = lookalike(MANY)
    run = write_run(workspace, MANY, name="robbed")
    for fold in range(5):
        (run.fold(fold) / "best.safetensors").unlink()
    with pytest.raises(KitsolveError, match=r"fold_\d/best.safetensors is missing") as caught:
        write_report(workspace, run, device=CPU)
    assert "--run robbed" in caught.value.hint
    assert not (workspace.reports(MANY) / "robbed.html").exists()


@pytest.mark.parametrize("name", ["history.csv", "best.safetensors", "oof.csv"])
def test_what_was_changed_after_the_training_is_not_shown(trained, tmp_path, name):
    shutil.copytree(trained.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    run = find_run(workspace, "shades")
    for fold in (0, 1):  # the heat maps are of the folds that were wrong
        swapped = (run.fold(fold) / name).read_bytes()
        (run.fold(fold) / name).write_bytes(swapped.replace(b"0", b"1"))
    with pytest.raises(KitsolveError, match=rf"fold_\d/{name} was changed or damaged after the training") as caught:
        write_report(workspace, run, device=CPU)
    assert "--run first --fold" in caught.value.hint
    assert not (workspace.reports("shades") / "first.html").exists()


def test_other_folds_than_those_of_the_run_are_refused(tmp_path):
    workspace = fetch_lookalike(tmp_path, MANY)
    run = write_run(workspace, MANY)
    path = workspace.tables(MANY) / "folds.csv"
    path.write_text(path.read_text().replace(",0\n", ",9\n").replace(",1\n", ",0\n").replace(",9\n", ",1\n"))
    with pytest.raises(KitsolveError, match="rows lie in another fold of folds.csv"):
        write_report(workspace, run, device=CPU)


# --------------------------------------------------------------------------------------------- in a browser


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
def test_a_browser_shows_everything_without_a_network(lookalike, tmp_path):
    slug = "aptos2019-blindness-detection"
    workspace = lookalike(slug)
    report = write_report(workspace, find_run(workspace, slug, "made-up"), device=CPU)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr"]
    done = subprocess.run(
        ["chromium", *options, "--dump-dom", report.path.as_uri()], capture_output=True, text=True, check=True
    )
    assert re.findall(r'<section id="(\w+)"', done.stdout) == report.sections == ALL
    assert done.stdout.count('<img src="data:image/jpeg;base64,') == report.path.read_text().count("<img") > 8
    assert done.stdout.count("<svg") == report.path.read_text().count("<svg")
    assert "CONSOLE" not in done.stderr  # nor does it want what the page's policy forbids


def test_all_tasks_are_covered():
    assert set(TASKS) <= set(LOOKALIKES)
    assert set(TASKS.values()) == {"binary", "multiclass", "multilabel", "ordinal", "regression", "retrieval"}
