import numpy as np
import pandas as pd
import pytest

from kitsolve.config import Competition, read_competition
from kitsolve.data.fetch import fetch
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.inference.bundle import SubmissionRules
from kitsolve.submission.bundle import export_bundle
from kitsolve.submission.ledger import read_ledger
from kitsolve.submission.local import score_locally, submit_locally
from kitsolve.submission.predict import keep_or_predict
from kitsolve.submission.submit import Wishes, plan_submit
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import write_csv

IDS = ["a", "b", "c", "d"]
ANSWERS = pd.DataFrame({"image_id": IDS, "shade": ["dark", "grey", "dark", "grey"]})


def competition_with(workspace, **facts):
    return Competition.model_validate(read_competition(workspace, "shades").model_dump() | facts)


@pytest.fixture
def local(shades):
    """`shades` as a competition whose answers lie on this disk, trained for one epoch."""
    facts = shades.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace('via    = "csv"', 'via    = "local"'))
    fetch(shades, "shades", source=shades.root / "download")
    run = open_run(shades, Wanted("shades", overrides=("epochs=1",)))
    train_folds(shades, run, [], choose_machine("cpu", 0))
    return shades


def test_a_local_submission_is_scored_against_the_answers(local):
    sample = pd.read_csv(local.raw("shades") / "sample_submission.csv")
    write_csv(local.answers("shades"), sample.assign(shade=["bright", "dark", "grey"] * 2 + ["bright"]))
    bundle = export_bundle(local, "shades", [])
    done = submit_locally(local, bundle)
    predicted = pd.read_csv(local.submission("shades", bundle.name)).shade
    expected = (predicted == pd.read_csv(local.answers("shades")).shade).mean()
    assert done.public_score == expected
    assert done.cv == bundle.card["cv"]
    assert submit_locally(local, bundle) == done
    (entry,) = read_ledger(local.ledger("shades"))
    assert (entry.kind, entry.public_score, entry.cv) == ("local", expected, bundle.card["cv"]["pooled"])


def test_there_is_nothing_to_show_of_what_would_be_sent(local):
    with pytest.raises(KitsolveError, match="nothing would leave"):
        plan_submit(local, export_bundle(local, "shades", []), Wishes())


def test_without_answers_the_error_says_how_to_get_them(local):
    with pytest.raises(KitsolveError, match="answers") as caught:
        submit_locally(local, export_bundle(local, "shades", []))
    assert "kitsolve fetch shades --force" in caught.value.hint


def test_a_submission_that_was_changed_by_hand_is_not_scored_as_the_runs_own(local):
    bundle = export_bundle(local, "shades", [])
    path = keep_or_predict(local, bundle)
    write_csv(path, pd.DataFrame({"image_id": ["t000"], "shade": ["dark"]}))
    with pytest.raises(KitsolveError, match="was changed after `kitsolve predict` wrote it"):
        submit_locally(local, bundle)


def test_labels_probabilities_and_class_probabilities_are_scored_alike(shades):
    write_csv(shades.answers("shades"), ANSWERS)
    names = ("dark", "grey")
    forms = {
        "label": pd.DataFrame({"image_id": IDS, "shade": ["dark", "grey", "grey", "grey"]}),
        "probability": pd.DataFrame({"image_id": IDS, "shade": ["0.1", "0.9", "0.8", "0.7"]}),
        "class_probabilities": pd.DataFrame(
            {"image_id": IDS, "dark": ["0.9", "0.1", "0.2", "0.3"], "grey": ["0.1", "0.9", "0.8", "0.7"]}
        ),
    }
    for kind, submission in forms.items():
        rules = SubmissionRules(kind, "sample_submission.csv", names)
        assert score_locally(shades, competition_with(shades), submission, rules) == 0.75


def test_answers_are_matched_by_id_not_by_row(shades):
    write_csv(shades.answers("shades"), ANSWERS)
    shuffled = ANSWERS.sample(frac=1, random_state=np.random.default_rng(3))
    rules = SubmissionRules("label", "sample_submission.csv", ("dark", "grey"))
    assert score_locally(shades, competition_with(shades), shuffled, rules) == 1.0
