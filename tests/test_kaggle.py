"""The official client, unpatched, against a Kaggle on this machine."""

import json
import os
import traceback

import pytest
from fake_kaggle import TOKEN, error

from kitsolve import kaggle, transport
from kitsolve.errors import KitsolveError
from kitsolve.remote import Account


def test_the_account_names_the_user_and_never_the_token(fake):
    account = kaggle.connect().account
    assert account == Account("tester", "access token")
    assert TOKEN not in repr(account)


def test_a_legacy_key_is_found_in_kaggle_json(fake, monkeypatch, tmp_path):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    write_key(tmp_path, "good-key")
    connected = kaggle.connect()
    assert connected.account == Account("tester", "key of kaggle.json")
    assert connected.competition_bytes("shades") == (3 << 20) + 14


def write_key(tmp_path, key):
    path = tmp_path / "home" / ".kaggle" / "kaggle.json"
    path.write_text(json.dumps({"username": "tester", "key": key}))
    path.chmod(0o600)


def test_no_credentials_say_what_to_do_and_print_nothing(fake, monkeypatch, capfd):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(KitsolveError, match="no Kaggle credentials") as caught:
        kaggle.connect()
    assert "https://www.kaggle.com/settings" in caught.value.hint
    assert len(caught.value.hint.splitlines()) == 3
    assert capfd.readouterr().out == ""


def test_a_dead_token_that_hides_a_good_key_is_named(fake, monkeypatch, tmp_path):
    write_key(tmp_path, "good-key")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_expired")
    with pytest.raises(KitsolveError, match="KAGGLE_API_TOKEN is not valid any more, and hides the good key") as caught:
        kaggle.connect()
    assert "KGAT_expired" not in str(caught.value) + caught.value.hint


def test_a_wrong_key_is_a_401_with_its_repair(fake, monkeypatch, tmp_path):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    write_key(tmp_path, "wrong-key")
    with pytest.raises(KitsolveError, match=r"refuses the key of kaggle.json \(401\)") as caught:
        kaggle.connect().competition_bytes("shades")
    assert "wrong-key" not in str(caught.value) + caught.value.hint
    assert len(fake.calls("ListDataFiles")) == 1


def test_sizes_are_summed_over_all_pages(fake):
    assert kaggle.connect().competition_bytes("shades") == (3 << 20) + 14
    assert [body.get("pageToken", "") for body in fake.calls("ListDataFiles")] == ["", "2"]


REFUSALS = [
    (403, "Permission 'competitions.get' was denied", "refuses shades: Permission", "join the competition"),
    (403, "You must accept this competition's rules before you'll be able to download files.", "rules of shades",
     "https://www.kaggle.com/c/shades/rules"),
    (404, "Not found", "does not know", "https://www.kaggle.com/c/shades"),
    (400, "Odd request", "Kaggle refuses: Odd request", "https://www.kaggle.com/c/shades"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "words", "problem", "hint"), REFUSALS)
def test_a_refusal_is_translated_and_not_repeated(fake, status, words, problem, hint):
    fake.faults["ListDataFiles"].append((status, error(status, words, "X")))
    with pytest.raises(KitsolveError, match=problem) as caught:
        kaggle.connect().competition_bytes("shades")
    assert hint in caught.value.hint
    assert len(fake.calls("ListDataFiles")) == 1


def test_the_clients_own_shape_of_a_refusal_is_read_as_well(fake):
    fake.faults["ListDataFiles"].append((403, {"code": 403, "message": "You must accept the rules"}))
    with pytest.raises(KitsolveError, match="the rules of shades are not accepted"):
        kaggle.connect().competition_bytes("shades")


@pytest.mark.parametrize(
    "fault", [(500, error(500, "broken", "X")), (503, "<html>busy</html>"), (429, error(429, "slow", "X")), None,
     (200, "<html>maintenance</html>")],
    ids=["500", "503", "429", "lost answer", "html"],
)  # fmt: skip
def test_a_fault_that_passes_is_waited_for(fake, fault):
    fake.faults["ListDataFiles"].extend([fault, fault])
    assert kaggle.connect().competition_bytes("shades") == (3 << 20) + 14


def test_a_fault_that_stays_ends_after_some_tries(fake):
    fake.faults["ListDataFiles"].extend([(500, error(500, "broken", "X"))] * 9)
    with pytest.raises(KitsolveError, match="a fault of its own: broken"):
        kaggle.connect().competition_bytes("shades")
    assert len(fake.calls("ListDataFiles")) == transport.TRIES


def test_kaggle_says_how_long_to_wait(fake, monkeypatch):
    waited = []
    monkeypatch.setattr(transport, "wait", lambda seconds, reason: waited.append((seconds, reason)))
    fake.faults["ListDataFiles"].append((429, error(429, "Too many requests", "X"), {"Retry-After": "7"}))
    kaggle.connect().competition_bytes("shades")
    assert waited == [(7.0, "Kaggle wants fewer requests: Too many requests; trying again")]


def test_html_that_stays_instead_of_data_is_an_error(fake):
    fake.faults["ListDataFiles"].extend([(200, "<html>maintenance</html>")] * 9)
    with pytest.raises(KitsolveError, match="something else than data"):
        kaggle.connect().competition_bytes("shades")


def test_without_a_network_it_says_so(fake, monkeypatch):
    connected = kaggle.connect()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(KitsolveError, match="cannot be reached"):
        connected.competition_bytes("shades")


def test_every_request_has_a_time_limit(fake, monkeypatch):
    import requests

    seen = []
    send = requests.adapters.HTTPAdapter.send

    def spy(adapter, request, **settings):
        seen.append(settings["timeout"])
        return send(adapter, request, **settings)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", spy)
    kaggle.connect().competition_bytes("shades")
    assert seen
    assert set(seen) == {transport.TIMEOUT}


def test_a_download_is_whole_and_says_nothing_on_stdout(fake, tmp_path, capfd):
    path = kaggle.connect().download("shades", tmp_path / "place")
    assert path.read_bytes() == fake.archive
    assert capfd.readouterr().out == ""


def test_the_loud_mode_of_the_client_stays_off(fake, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("VERBOSE", "1")
    kaggle.connect().download("shades", tmp_path / "place")
    said = capfd.readouterr()
    assert TOKEN not in said.out + said.err
    assert os.environ["VERBOSE"] == "1"


def test_a_download_that_breaks_off_goes_on(fake, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    fake.cut_after.append((1 << 20) + 100)
    assert kaggle.connect().download("shades", tmp_path / "place").read_bytes() == fake.archive
    assert fake.calls("storage") == [None, f"bytes={1 << 20}-"]


def test_an_error_page_among_the_bytes_is_thrown_away(fake, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    fake.cut_after.append((1 << 20) + 100)
    fake.after_cut = [(403, b"<Error>expired signature</Error>")] * 2
    assert kaggle.connect().download("shades", tmp_path / "place").read_bytes() == fake.archive
    assert not fake.after_cut


def test_a_refused_download_shows_no_signed_address(fake, tmp_path):
    fake.faults["storage"].append((403, b"<Error>expired signature</Error>"))
    with pytest.raises(KitsolveError) as caught:
        kaggle.connect().download("shades", tmp_path / "place")
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert "secret-signature" not in shown
