from dataclasses import replace

import pytest

from kitsolve.submission.ledger import COLUMNS, Entry, add_entry, read_ledger

ENTRY = Entry(
    time="2026-07-01T10:00:00+00:00", runs="first, second", recipe="strong", cv=0.91, sha256="ab12", kind="csv",
    dataset="", kernel="", ref="17", message='words, "quoted", ünïcode', public_score=None, private_score=None,
    status="pending",
)  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "competitions" / "shades" / "submissions.csv"


def test_what_is_written_is_read_again(path):
    add_entry(path, ENTRY)
    assert read_ledger(path) == [ENTRY]
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_lines_are_only_added_and_the_last_state_counts_under_the_first_time(path):
    add_entry(path, ENTRY)
    before = path.read_text()
    scored = replace(ENTRY, time="2026-07-01T10:05:00+00:00", public_score=0.875, status="complete")
    add_entry(path, scored)
    add_entry(path, replace(ENTRY, ref="18"))
    assert path.read_text().startswith(before)
    first, second = read_ledger(path)
    assert (first.ref, first.public_score, first.time) == ("17", 0.875, ENTRY.time)
    assert second.ref == "18"


def test_the_same_state_is_written_once(path):
    add_entry(path, ENTRY)
    add_entry(path, replace(ENTRY, time="later"))
    assert len(path.read_text().splitlines()) == 2


def test_a_line_that_was_cut_off_is_ignored_and_does_not_spoil_the_next(path):
    add_entry(path, ENTRY)
    with path.open("a") as file:
        file.write("2026-07-01T11:00:00+00:00,second,stro")
    assert read_ledger(path) == [ENTRY]
    add_entry(path, replace(ENTRY, ref="18"))
    assert [entry.ref for entry in read_ledger(path)] == ["17", "18"]


def test_without_a_file_there_is_no_submission(path):
    assert read_ledger(path) == []
