from datetime import UTC, datetime

import pytest

from kitsolve.remote import Allowance, Quota
from kitsolve.submission.ledger import Entry, add_entry
from kitsolve.submission.status import find_status


def entry(ref, **values):
    known = dict.fromkeys(("runs", "recipe", "sha256", "dataset", "kernel", "message"), "")
    scores = dict.fromkeys(("cv", "public_score", "private_score"))
    return Entry(**known | scores | {"time": "2026-07-01", "kind": "csv", "ref": ref, "status": "pending"} | values)


@pytest.fixture
def workspace(shades, fake):
    add_entry(shades.ledger("shades"), entry("1000"))
    add_entry(shades.ledger("shades"), entry("1001", status="complete", public_score=0.5))
    fake.submissions = [
        {"ref": 1001, "description": "", "status": "COMPLETE", "publicScore": "0.5", "privateScore": "0.4"},
        {"ref": 1000, "description": "", "status": "PENDING"},
        {"ref": 77, "description": "a team mate's", "status": "COMPLETE", "publicScore": "0.9"},
    ]
    fake.looks_until_scored = 10**6
    return shades


def test_kaggles_side_is_shown(workspace, fake):
    found = find_status(workspace, "shades")
    assert found.deadline == datetime(2030, 1, 2, 23, 59, tzinfo=UTC)
    assert found.allowance == Allowance(left=5, used=0, by_total=False)
    assert found.quota == Quota(2.0, 30.0, datetime(2030, 1, 5, tzinfo=UTC))


def test_pending_rows_and_private_scores_are_refreshed(workspace, fake):
    fake.submissions[1] |= {"status": "COMPLETE", "publicScore": "0.875"}
    first, second = find_status(workspace, "shades").submissions
    assert (first.status, first.public_score) == ("complete", 0.875)
    assert second.private_score == 0.4
    written = workspace.ledger("shades").read_text()
    assert find_status(workspace, "shades").submissions == [first, second]
    assert workspace.ledger("shades").read_text() == written, "without news nothing is written"


def test_without_kaggle_the_ledger_is_still_shown(workspace, fake, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    found = find_status(workspace, "shades")
    assert [row.ref for row in found.submissions] == ["1000", "1001"]
    assert "no Kaggle credentials" in found.problem


def test_a_local_competition_needs_no_kaggle(workspace, fake):
    facts = workspace.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace('via    = "csv"', 'via    = "local"'))
    assert find_status(workspace, "shades").problem is None
    assert not fake.log
