"""A CSV competition: what goes wrong here never spends a submission there, and nothing is spent twice."""

import shutil
import subprocess
from datetime import UTC, datetime

import pandas as pd
import pytest
from conftest import submit_and_kill
from fake_kaggle import error

from kitsolve.errors import KitsolveError
from kitsolve.remote import Allowance, Terms
from kitsolve.submission.bundle import find_bundle
from kitsolve.submission.ledger import read_ledger
from kitsolve.submission.submit import Wishes, check_allowance, describe_plan, plan_submit, submit
from kitsolve.workspace import Workspace, locked, write_csv


@pytest.fixture
def shop(exported, tmp_path, fake):
    """A workspace with a trained run of the CSV competition `shades`, and its Kaggle."""
    shutil.copytree(exported.root, tmp_path / "root")
    return Workspace(tmp_path / "root"), fake


def hand_in(workspace, **wishes):
    """Submit; the user always agrees."""
    return submit(workspace, find_bundle(workspace, "shades"), Wishes(**wishes), confirm=lambda plan: None)


def spent(fake):
    return len(fake.submissions)


def test_a_submission_is_uploaded_scored_and_written_into_the_ledger(shop):
    workspace, fake = shop
    done = hand_in(workspace)
    assert (done.ref, done.status, done.public_score) == ("1000", "complete", 0.875)
    (entry,) = read_ledger(workspace.ledger("shades"))
    path = workspace.submission("shades", "first")
    assert entry.sha256 == subprocess.check_output(["sha256sum", path], text=True).split()[0]
    assert (entry.runs, entry.recipe, entry.kind, entry.ref) == ("first", "baseline", "csv", "1000")
    assert (entry.public_score, entry.status) == (0.875, "complete")
    assert entry.cv == done.cv["pooled"]
    assert entry.message.startswith(f"first CV {entry.cv:.5f} accuracy [kitsolve ")
    assert spent(fake) == 1


def test_the_score_may_arrive_late(shop):
    workspace, fake = shop
    fake.looks_until_scored = 5
    assert hand_in(workspace).public_score == 0.875
    assert len(fake.calls("ListSubmissions")) == 6


def test_without_waiting_it_stays_pending_and_the_same_words_wait(shop):
    workspace, fake = shop
    assert hand_in(workspace, wait=False).status == "pending"
    assert hand_in(workspace).public_score == 0.875
    assert spent(fake) == 1
    assert [entry.status for entry in read_ledger(workspace.ledger("shades"))] == ["complete"]


def test_a_score_that_does_not_come_in_time_is_no_error(shop, monkeypatch):
    workspace, fake = shop
    fake.looks_until_scored = 10**6
    monkeypatch.setitem(__import__("kitsolve.submission.submit", fromlist=["x"]).SCORE_PATIENCE_S, "csv", 0.1)
    assert hand_in(workspace).status == "pending"


def test_kaggles_verdict_of_an_error_is_recorded_and_said(shop):
    workspace, fake = shop
    fake.scored = {"status": "ERROR", "errorDescription": "Evaluation metric raised"}
    with pytest.raises(KitsolveError, match="could not score submission 1000: Evaluation metric raised"):
        hand_in(workspace)
    assert read_ledger(workspace.ledger("shades"))[0].status == "error"


def test_the_same_file_is_refused_until_forced(shop):
    workspace, fake = shop
    hand_in(workspace)
    with pytest.raises(KitsolveError, match="the same was submitted on .* as submission 1000, complete") as caught:
        hand_in(workspace)
    assert "--force" in caught.value.hint
    assert spent(fake) == 1
    hand_in(workspace, force=True)
    assert spent(fake) == 2
    assert len(read_ledger(workspace.ledger("shades"))) == 2


def test_who_does_not_agree_sends_nothing_and_is_asked_again(shop):
    workspace, fake = shop

    def refuse(plan):
        raise KitsolveError("nothing was sent.", "x")

    for _ in range(2):
        with pytest.raises(KitsolveError, match="nothing was sent"):
            submit(workspace, find_bundle(workspace, "shades"), Wishes(), confirm=refuse)
    assert not fake.calls("StartSubmissionUpload")


def test_a_dry_run_shows_all_and_sends_nothing(shop):
    workspace, fake = shop
    shown = describe_plan(plan_submit(workspace, find_bundle(workspace, "shades"), Wishes(message="my words")))
    path = workspace.submission("shades", "first")
    assert shown["files"] == {str(path): f"{path.stat().st_size:,} bytes"}
    assert shown["allowance"] == "5 submissions left today, 0 used"
    assert shown["message"].startswith("my words [kitsolve ")
    asked = {call for call, _ in fake.log}
    assert asked == {"IntrospectToken", "GetCompetition", "GetSubmissionLimits"}


def test_a_file_of_ones_own_is_checked_and_has_no_cv(shop, tmp_path):
    workspace, fake = shop
    sample = pd.read_csv(workspace.raw("shades") / "sample_submission.csv")
    write_csv(tmp_path / "submission.csv", sample.assign(shade="grey"))
    done = hand_in(workspace, file=tmp_path / "submission.csv")
    assert done.cv is None
    assert fake.submissions[0]["description"].startswith("submission.csv [kitsolve ")
    write_csv(tmp_path / "submission.csv", sample.assign(shade="mauve"))
    with pytest.raises(KitsolveError, match="row 2, id 't000': 'mauve' is none of the classes"):
        hand_in(workspace, file=tmp_path / "submission.csv")
    (tmp_path / "mine.csv").write_text("")
    with pytest.raises(KitsolveError, match=r"mine\.csv is not named submission\.csv"):
        hand_in(workspace, file=tmp_path / "mine.csv")
    assert spent(fake) == 1


# What Kaggle answers


def test_a_lost_answer_is_looked_up_and_not_repeated(shop):
    workspace, fake = shop
    fake.after["CreateSubmission"].append(None)
    assert hand_in(workspace).ref == "1000"
    assert spent(fake) == len(fake.calls("CreateSubmission")) == 1


@pytest.mark.parametrize("answer", [(502, "<html>bad gateway</html>"), (200, "<html>oops</html>")])
def test_a_broken_answer_to_what_was_done_is_looked_up_as_well(shop, answer):
    workspace, fake = shop
    fake.after["CreateSubmission"].append(answer)
    assert hand_in(workspace).ref == "1000"
    assert spent(fake) == len(fake.calls("CreateSubmission")) == 1


def test_a_submission_that_never_arrived_is_sent_again(shop):
    workspace, fake = shop
    fake.faults["CreateSubmission"].extend([None, (500, error(500, "broken", "X")), (429, error(429, "slow", "X"))])
    assert hand_in(workspace).ref == "1000"
    assert (spent(fake), len(fake.calls("CreateSubmission"))) == (1, 4)


def test_a_lost_answer_without_a_network_is_found_by_the_next_submit(shop):
    workspace, fake = shop
    fake.after["CreateSubmission"].append(None)
    fake.faults["ListSubmissions"].extend([None] * 5)
    with pytest.raises(KitsolveError, match="cannot be reached"):
        hand_in(workspace)
    assert spent(fake) == 1
    assert hand_in(workspace).ref == "1000"
    assert spent(fake) == len(fake.calls("CreateSubmission")) == 1


def test_an_upload_that_storage_refuses_is_not_submitted(shop):
    workspace, fake = shop
    fake.faults["upload"].extend([(403, b"<Error>no</Error>")] * 9)
    with pytest.raises(KitsolveError, match=r"the upload of submission\.csv broke off"):
        hand_in(workspace)
    assert not fake.calls("CreateSubmission")


REFUSALS = [
    (400, "Submission not allowed:  This competition only accepts Submissions from Notebooks.", 'via = "notebook"'),
    (400, "Your team has used its daily Submission allowance (5) today, please try again tomorrow UTC (12 hours from "
     "now).", "after 00:00 UTC"),
    (400, 'Submission files must be named "submission.csv" for this Competition.', "--file"),
    (403, "You must accept this competition's rules before you can continue", "/c/shades/rules"),
    (403, "Permission 'competitions.participate' was denied", "spelling of the name"),
    (401, "Unauthenticated", "settings"),
    (404, "Not found", "/c/shades"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "words", "hint"), REFUSALS)
def test_a_refusal_is_said_with_its_repair_and_not_repeated(shop, status, words, hint):
    workspace, fake = shop
    fake.faults["CreateSubmission"].append((status, error(status, words, "FAILED_PRECONDITION")))
    with pytest.raises(KitsolveError) as caught:
        hand_in(workspace)
    assert hint in caught.value.hint
    assert len(fake.calls("CreateSubmission")) == 1
    assert hand_in(workspace).ref == "1000", "a refused submission can be sent later"


def test_a_competition_of_notebooks_is_known_before_anything_is_sent(shop):
    workspace, fake = shop
    fake.terms["isKernelsSubmissionsOnly"] = True
    with pytest.raises(KitsolveError, match="notebooks only") as caught:
        hand_in(workspace)
    assert 'via = "notebook"' in caught.value.hint
    assert not fake.calls("StartSubmissionUpload")


def test_an_allowance_that_is_used_up_is_known_before_anything_is_sent(shop):
    workspace, fake = shop
    fake.left = 0
    with pytest.raises(KitsolveError, match=r"used up \(5 sent\)"):
        hand_in(workspace)
    assert not fake.calls("StartSubmissionUpload")


NOON = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
TERMS = Terms("Shades", None, notebooks_only=False, entered=True)


def test_the_allowance_comes_back_at_midnight_utc():
    with pytest.raises(KitsolveError) as caught:
        check_allowance(Allowance(0, 5, by_total=False), TERMS, "shades", now=NOON)
    assert "in 11 h 30 min" in caught.value.hint


def test_a_total_allowance_and_a_stranger_are_told_apart():
    check_allowance(Allowance(1, 4, by_total=False), TERMS, "shades", now=NOON)
    with pytest.raises(KitsolveError, match="all submissions that shades allows"):
        check_allowance(Allowance(0, 2, by_total=True), TERMS, "shades", now=NOON)
    stranger = Terms("Shades", None, notebooks_only=False, entered=False)
    with pytest.raises(KitsolveError, match="not joined shades"):
        check_allowance(Allowance(0, 0, by_total=False), stranger, "shades", now=NOON)


# Killed and started again


STAGES = [("arrivals", call) for call in ("StartSubmissionUpload", "upload", "CreateSubmission", "ListSubmissions")]
STAGES += [("after", call) for call in ("StartSubmissionUpload", "CreateSubmission", "ListSubmissions")]


@pytest.mark.parametrize(("when", "call"), STAGES)
def test_a_submit_that_is_killed_anywhere_spends_one_submission(shop, call, when):
    workspace, fake = shop
    submit_and_kill(workspace, fake, call, when)
    assert hand_in(workspace).public_score == 0.875
    assert spent(fake) == 1
    assert [entry.status for entry in read_ledger(workspace.ledger("shades"))] == ["complete"]


def test_a_killed_submit_does_not_ask_again_what_was_agreed_to(shop):
    workspace, fake = shop
    submit_and_kill(workspace, fake, "upload", "arrivals")
    submit(workspace, find_bundle(workspace, "shades"), Wishes(), confirm=lambda plan: pytest.fail("asked again"))


def test_two_submits_at_once_are_refused(shop):
    workspace, fake = shop
    with (
        locked(workspace.sending("shades"), doing="submitting to shades"),
        pytest.raises(KitsolveError, match="another process is submitting to shades"),
    ):
        hand_in(workspace)
    assert spent(fake) == 0
