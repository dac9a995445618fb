import io
import sys

import pytest
import requests

from kitsolve import transport
from kitsolve.errors import KitsolveError
from kitsolve.transport import Subject, call, poll, tamed

SUBJECT = Subject("shades", "https://www.kaggle.com/c/shades", "look there")


def raising(*errors):
    """A function that raises these errors, one at each call, and then gives "done"."""
    left = list(errors)

    def act():
        if left:
            raise left.pop(0)
        return "done"

    return act


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """Nothing sleeps; gives the seconds that would have been slept."""
    seconds = []
    monkeypatch.setattr(transport, "wait", lambda pause, reason: seconds.append(pause))
    return seconds


def test_a_lost_answer_is_asked_again_unless_it_is_found(waited):
    lost = requests.exceptions.ReadTimeout()
    assert call(raising(lost, lost), SUBJECT) == "done"
    assert call(raising(lost), SUBJECT, find=lambda: "found") == "found"
    assert call(raising(lost), SUBJECT, find=lambda: None) == "done"


def test_the_last_try_of_what_must_not_be_done_twice_is_looked_up_as_well():
    lost = requests.exceptions.ConnectionError()
    looks = iter([None] * (transport.TRIES - 1) + ["found"])
    assert call(raising(*[lost] * transport.TRIES), SUBJECT, find=lambda: next(looks)) == "found"
    with pytest.raises(KitsolveError, match="cannot be reached"):
        call(raising(*[lost] * transport.TRIES), SUBJECT, find=lambda: None)


def test_pauses_double_up_to_a_limit_with_jitter(waited):
    with pytest.raises(KitsolveError):
        call(raising(*[requests.exceptions.ConnectionError()] * 9), SUBJECT)
    assert len(waited) == transport.TRIES - 1
    for number, pause in enumerate(waited):
        assert transport.PAUSE * 2**number / 2 <= pause <= transport.PAUSE * 2**number


def test_an_unknown_complaint_of_the_client_is_an_error_at_once(waited):
    with pytest.raises(KitsolveError, match="the kaggle client refuses shades: No such thing"):
        call(raising(ValueError("No such thing")), SUBJECT)
    assert not waited


def test_a_full_disk_is_said_and_other_failures_of_the_disk_are_not_hidden():
    with pytest.raises(KitsolveError, match="the disk is full"):
        call(raising(OSError(28, "No space left on device")), SUBJECT)
    with pytest.raises(OSError, match="Input/output"):
        call(raising(OSError(5, "Input/output error")), SUBJECT)


def test_polling_looks_ever_more_rarely(waited):
    looks = iter([None, None, None, "there"])
    assert poll(lambda: next(looks), title="waiting", patience_s=1e9) == "there"
    assert waited == sorted(waited)
    assert waited[0] == transport.POLL
    assert waited[-1] > waited[0]


def test_polling_ends_with_its_patience():
    assert poll(lambda: None, title="waiting", patience_s=0) is None


def test_what_the_client_prints_goes_elsewhere_without_signed_queries():
    output, before = io.StringIO(), sys.stdout
    with tamed(output):
        print("error at https://storage/upload/x?upload_id=secret, try again")
        assert not sys.stdout.isatty()
    assert output.getvalue() == "error at https://storage/upload/x?… try again\n"
    assert sys.stdout is before
