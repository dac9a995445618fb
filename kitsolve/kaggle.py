"""The joint to Kaggle, and the only module that calls the official client.

The client prints to stdout, waits for ever, leaves with exit(1), and hides Kaggle's reason inside the response: here
all of that becomes values and KitsolveErrors. No message holds a credential or a signed address.
"""

from __future__ import annotations

import errno
import io
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from tqdm import tqdm

from kitsolve.errors import KitsolveError

if TYPE_CHECKING:
    from requests import Response

Answer = TypeVar("Answer")

TIMEOUT = 60.0
"""Seconds to wait for a connection, and between two packets of an answer."""
TRIES = 5
PAUSE = 2.0
"""Seconds before the second try; twice as long before each further one."""
LONGEST_PAUSE = 900.0
SETTINGS_PAGE = "https://www.kaggle.com/settings"


@dataclass(frozen=True)
class Account:
    """Who talks to Kaggle: the user name, and where the credential comes from."""

    username: str
    credential: str


class Kaggle:
    """Kaggle as one user sees it; every method asks the service anew."""

    def __init__(self, api: Any) -> None:  # noqa: ANN401  (the client has no types)
        self.api = api

    @property
    def account(self) -> Account:
        """The user and the kind of credential."""
        values = self.api.config_values
        return Account(values.get("username", ""), _credential(values["auth_method"]))

    def verify(self) -> None:
        """Ask something harmless: the client checks tokens when it connects, but no legacy key.

        Raises:
            KitsolveError: the credential does not work.
        """
        self._call("", self.api.competitions_list)

    def competition_bytes(self, slug: str) -> int:
        """The size of all files of a competition.

        Raises:
            KitsolveError: see `download`.
        """
        total: int = 0
        token = ""
        while True:
            page = self._call(slug, partial(self.api.competition_list_files, slug, page_token=token, page_size=200))
            total += sum(file.total_bytes for file in page.files)
            token = page.next_page_token
            if not token:
                return total

    def download(self, slug: str, folder: Path) -> Path:
        """All files of a competition as one archive below `folder`; goes on where an earlier call was cut.

        Returns:
            The archive; its size is right, its content is yet to be verified.

        Raises:
            KitsolveError: Kaggle refuses, cannot be reached, or the disk is full; says what to do.
        """
        folder.mkdir(parents=True, exist_ok=True)
        fetch = partial(self.api.competition_download_files, slug, path=str(folder), quiet=not sys.stderr.isatty())
        try:
            self._call(slug, fetch)
        except _WrongSizeError:
            # An error page of the storage may lie among the bytes: nothing of them can be trusted.
            discard_download(folder)
            try:
                self._call(slug, fetch)
            except _WrongSizeError as error:
                raise KitsolveError(
                    f"two downloads of {slug} had not the size that Kaggle named.", hint="try again later."
                ) from error
        return next(path for path in folder.iterdir() if path.suffix != ".kaggle-partial")

    def _call(self, slug: str, act: Callable[[], Answer]) -> Answer:
        """`act` again and again while Kaggle is busy or unreachable; only for what may be done twice."""
        from requests.exceptions import ChunkedEncodingError, ConnectionError, HTTPError, Timeout

        for attempt in range(1, TRIES + 1):
            try:
                with _tamed(sys.stderr):
                    return act()
            except HTTPError as error:
                answer = error.response
                busy = answer.status_code == 429 or answer.status_code >= 500
                if not busy or attempt == TRIES:
                    raise _translate(answer, slug, self.api) from None  # its text may hold a signed address
                _wait(_pause(attempt, answer.headers.get("Retry-After")), _reason(answer))
            except (ConnectionError, ChunkedEncodingError, Timeout) as error:
                if attempt == TRIES:
                    raise _unreachable(error) from None
                _wait(_pause(attempt), "Kaggle cannot be reached")
            except ValueError as error:
                if "does not match expected size" not in str(error):
                    raise KitsolveError("Kaggle answered with something else than data.", _LATER) from None
                raise _WrongSizeError from None
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise KitsolveError("the disk is full.", "free some space and run the same command again.") from None
        raise AssertionError("the last try returns or raises")


class _WrongSizeError(Exception):
    """The client's own check of a download's size failed."""


_LATER = "look at https://www.kaggle.com and run the same command again later."


def connect() -> Kaggle:
    """The client with the user's credentials.

    Raises:
        KitsolveError: there are none, or Kaggle refuses them.
    """
    # Importing the client already asks Kaggle, and prints the login help where it finds no credential.
    with _tamed(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            from kaggle.api.kaggle_api_extended import KaggleApi
        except ImportError as error:
            raise KitsolveError(f"the kaggle package cannot be used: {error}.", "pip install kaggle six.") from error
        from requests.exceptions import HTTPError, RequestException

        api = KaggleApi()
        try:
            api.authenticate()
        except SystemExit:
            raise _no_credentials() from None
        except HTTPError as error:
            raise _translate(error.response, "", api) from None
        except RequestException as error:
            raise _unreachable(error) from None
    hidden = hidden_credential(api)
    if hidden:
        raise KitsolveError(
            f"the access token in {hidden} is not valid any more, and hides the good key of kaggle.json.",
            hint=f"remove {hidden}, or put a new token from {SETTINGS_PAGE} there.",
        )
    return Kaggle(api)


def hidden_credential(api: Any) -> str | None:  # noqa: ANN401
    """The place of an access token that the client found invalid but still sends, so that the legacy key is hidden."""
    from kagglesdk.kaggle_env import get_access_token_from_env

    _, source = get_access_token_from_env()
    if source is None or api.config_values["auth_method"] == "ACCESS_TOKEN":
        return None
    return "~/.kaggle/access_token" if source == "access_token" else str(source)


def discard_download(folder: Path) -> None:
    """Remove an archive and the client's note of what it holds, so that the next download starts anew."""
    for path in folder.iterdir():
        path.unlink()


@contextmanager
def _tamed(output: TextIO) -> Iterator[None]:
    """Inside the block the client's words go to `output`, and every request has a time limit."""
    from requests import PreparedRequest, Session

    send = Session.send

    def send_in_time(session: Session, request: PreparedRequest, **settings: Any) -> Response:  # noqa: ANN401
        settings["timeout"] = settings.get("timeout") or TIMEOUT
        return send(session, request, **settings)

    # With these the client prints every request, its Authorization included.
    loud = {name: os.environ.pop(name) for name in ("VERBOSE", "VERBOSE_OUTPUT") if name in os.environ}
    Session.send = send_in_time
    try:
        with redirect_stdout(output):
            yield
    finally:
        Session.send = send
        os.environ.update(loud)


def _pause(attempt: int, retry_after: str | None = None) -> float:
    """Seconds before the next try: as Kaggle says, else twice as many each time, with jitter."""
    if retry_after and retry_after.isdigit():
        return min(float(retry_after), LONGEST_PAUSE)
    return min(PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)


def _wait(seconds: float, reason: str) -> None:
    steps = max(1, round(seconds))
    for _ in tqdm(range(steps), desc=f"{reason}; trying again", unit="s", leave=False, disable=None):
        time.sleep(seconds / steps)


def _reason(answer: Response) -> str:
    """Kaggle's own words: in the live service's shape, in the one that the client knows, or the status line."""
    try:
        body = answer.json()
        nested = body.get("error")
        return str(nested["message"] if isinstance(nested, dict) else body["message"])
    except (ValueError, KeyError, AttributeError):
        return f"HTTP {answer.status_code} {answer.reason}"


def _translate(answer: Response, slug: str, api: Any) -> KitsolveError:  # noqa: ANN401
    """What a refusal means and what to do."""
    status, reason = answer.status_code, _reason(answer)
    page = f"https://www.kaggle.com/c/{slug}"
    if status == 401:
        kind = _credential(api.config_values.get("auth_method", ""))
        return KitsolveError(
            f"Kaggle refuses the {kind} (401).", f"make a new one at {SETTINGS_PAGE}; `kitsolve doctor` checks it."
        )
    if status == 403 and "rules" in reason:
        return KitsolveError(
            f"the rules of {slug} are not accepted.", f"accept them at {page}/rules, then run the same command again."
        )
    if status == 403:
        return KitsolveError(
            f"Kaggle refuses {slug}: {reason}.",
            f"check the spelling of the name; join the competition and accept its rules at {page}/rules.",
        )
    if status == 404:
        return KitsolveError(f"Kaggle does not know what was asked of {slug}: {reason}.", f"compare with {page}.")
    if status == 429:
        return KitsolveError(f"Kaggle wants fewer requests: {reason}.", "run the same command again in some minutes.")
    if status >= 500:
        return KitsolveError(f"Kaggle has a fault of its own: {reason}.", _LATER)
    return KitsolveError(f"Kaggle refuses: {reason}.", f"compare with {page}.")


def _unreachable(error: Exception) -> KitsolveError:
    return KitsolveError(
        f"Kaggle cannot be reached ({type(error).__name__}).", "check the network, then run the same command again."
    )


def _no_credentials() -> KitsolveError:
    return KitsolveError(
        "there are no Kaggle credentials on this machine.",
        f"make a token at {SETTINGS_PAGE} (API, Generate New Token),\n"
        "       write it into ~/.kaggle/access_token or export KAGGLE_API_TOKEN=…,\n"
        "       then run `kitsolve doctor`; or take files from this disk: `kitsolve fetch SLUG --from DIR_OR_ZIP`.",
    )


def _credential(method: str) -> str:
    return {"ACCESS_TOKEN": "access token", "LEGACY_API_KEY": "key of kaggle.json", "OAUTH": "login"}.get(
        method, "credential"
    )
