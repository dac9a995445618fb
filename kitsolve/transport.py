"""Calls that end: with a time limit, again while the service is busy, and with errors that say what to do.

`call` is for the client's functions, whose refusals hide Kaggle's reason inside the response. No message holds a
credential or a signed address.
"""

from __future__ import annotations

import errno
import io
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
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
POLL, LONGEST_POLL = 3.0, 60.0
"""Seconds between the first two looks at something that takes its time, and between the last two."""
SETTINGS_PAGE = "https://www.kaggle.com/settings"
_LATER = "look at https://www.kaggle.com and run the same command again later."


class RefusedError(KitsolveError):
    """Kaggle understood and said no; `status` is the HTTP status."""

    def __init__(self, status: int, problem: str, hint: str) -> None:
        super().__init__(problem, hint)
        self.status = status


class WrongSizeError(Exception):
    """The client's own check of a download's size failed."""


@dataclass(frozen=True)
class Subject:
    """What is asked about: its name, its page, what to do where access is denied, and the kind of credential shown."""

    name: str
    page: str
    access: str
    credential: str = "credential"


@dataclass(frozen=True)
class Failure:
    """A call that failed: what it means, whether to try again, and whether it may have been carried out all the same.

    `retry_after` is the number of seconds that Kaggle asks for.
    """

    error: KitsolveError
    again: bool = False
    perhaps_done: bool = False
    retry_after: str | None = None


def call(act: Callable[[], Answer], subject: Subject, *, find: Callable[[], Answer | None] | None = None) -> Answer:
    """`act`, again while Kaggle is busy or unreachable.

    Args:
        find: for what must not be done twice: looks whether an earlier try, whose answer was lost, was carried out,
            before the next one.

    Raises:
        KitsolveError: what went wrong and what to do.
        WrongSizeError: a download has another size than was announced.
    """
    attempt = 1
    while isinstance(outcome := _try(act, subject), Failure):
        looks = find is not None and outcome.perhaps_done
        if not outcome.again or (attempt == TRIES and not looks):
            raise outcome.error
        wait(_pause(attempt, outcome.retry_after), f"{outcome.error.problem.rstrip('.')}; trying again")
        if find is not None and looks and (found := find()) is not None:
            return found
        if attempt == TRIES:
            raise outcome.error
        attempt += 1
    return outcome


def _try(act: Callable[[], Answer], subject: Subject) -> Answer | Failure:
    """One call. Its failure is a value: raised outside of `except`, it drags no signed address along as its context."""
    from requests.exceptions import ChunkedEncodingError, ConnectionError, HTTPError, Timeout

    try:
        with tamed(sys.stderr):
            return act()
    except HTTPError as error:
        answer = error.response
        broken = answer.status_code >= 500
        busy = answer.status_code == 429 or broken
        retry_after = answer.headers.get("Retry-After")
        return Failure(translate(answer, subject), again=busy, perhaps_done=broken, retry_after=retry_after)
    except (ConnectionError, ChunkedEncodingError, Timeout) as error:
        return Failure(unreachable(error), again=True, perhaps_done=True)
    except json.JSONDecodeError:
        return Failure(KitsolveError("Kaggle answered with something else than data.", _LATER), True, True)
    except ValueError as error:
        if "does not match expected size" in str(error):
            raise WrongSizeError from None
        upload = re.fullmatch(r"Upload unsuccessful: (.*)", str(error))
        if upload:
            return Failure(KitsolveError(f"the upload of {upload[1]} broke off.", _LATER), again=True)
        return Failure(KitsolveError(f"the kaggle client refuses {subject.name}: {error}", f"see {subject.page}."))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return Failure(KitsolveError("the disk is full.", "free some space and run the same command again."))


def poll(look: Callable[[], Answer | None], *, title: str, patience_s: float) -> Answer | None:
    """Look ever more rarely until there is an answer; None after `patience_s` seconds."""
    started, pause = time.monotonic(), POLL
    while (answer := look()) is None:
        elapsed = time.monotonic() - started
        if elapsed >= patience_s:
            return None
        if pause == POLL:
            tqdm.write(f"{title} …", file=sys.stderr)
        wait(min(pause, patience_s - elapsed), f"{title}, {elapsed / 60:.0f} min")
        pause = min(pause * 1.5, max(POLL, LONGEST_POLL))
    return answer


def wait(seconds: float, reason: str) -> None:
    """Sleep, with a bar that says why."""
    steps = max(1, round(seconds))
    for _ in tqdm(range(steps), desc=reason, unit="s", leave=False, disable=None):
        time.sleep(seconds / steps)


def _pause(attempt: int, retry_after: str | None = None) -> float:
    """Seconds before the next try: as Kaggle says, else twice as many each time, with jitter."""
    if retry_after and retry_after.isdigit():
        return min(float(retry_after), LONGEST_PAUSE)
    return min(PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)


class _Discreet(io.TextIOBase):
    """Passes on what the client prints, without the queries of addresses: those of uploads are signed."""

    def __init__(self, output: TextIO) -> None:
        self.output = output

    def write(self, text: str) -> int:
        """Write all but the queries."""
        self.output.write(re.sub(r"\?[^\s'\"]+", "?…", text))
        return len(text)

    def flush(self) -> None:
        """Write out what the output holds back."""
        self.output.flush()


@contextmanager
def tamed(output: TextIO) -> Iterator[None]:
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
        with redirect_stdout(_Discreet(output)):
            yield
    finally:
        Session.send = send
        os.environ.update(loud)


def reason_of(answer: Response) -> str:
    """Kaggle's own words: in the live service's shape, in the one that the client knows, or the status line."""
    try:
        body = answer.json()
        nested = body.get("error")
        return str(nested["message"] if isinstance(nested, dict) else body["message"])
    except (ValueError, KeyError, AttributeError):
        return f"HTTP {answer.status_code} {answer.reason}"


def translate(answer: Response, subject: Subject) -> RefusedError:
    """What a refusal means and what to do."""
    status, reason = answer.status_code, reason_of(answer).rstrip(".")
    problem, hint = _explain(status, reason, subject)
    return RefusedError(status, problem, hint)


def _explain(status: int, reason: str, subject: Subject) -> tuple[str, str]:
    if status == 401:
        hint = f"make a new one at {SETTINGS_PAGE}; `kitsolve doctor` checks it."
        return f"Kaggle refuses the {subject.credential} (401).", hint
    if status == 403 and "rules" in reason:
        hint = f"accept them at {subject.page}/rules, then run the same command again."
        return f"the rules of {subject.name} are not accepted.", hint
    if status == 403:
        return f"Kaggle refuses {subject.name}: {reason}.", subject.access
    if status == 404:
        return f"Kaggle does not know what was asked of {subject.name}: {reason}.", f"compare with {subject.page}."
    if status == 429:
        return f"Kaggle wants fewer requests: {reason}.", "run the same command again in some minutes."
    if status >= 500:
        return f"Kaggle has a fault of its own: {reason}.", _LATER
    for words, hint in REFUSALS.items():
        if words.lower() in reason.lower():
            return f"Kaggle refuses: {reason}.", hint
    return f"Kaggle refuses: {reason}.", f"compare with {subject.page}."


REFUSALS = {
    "Submissions from Notebooks": 'set via = "notebook" in [submission] of its competition.toml, then run '
    "`kitsolve submit` again.",
    "Submission allowance": "run the same command again after 00:00 UTC.",
    "must be named": "give the file that name and submit it again with --file.",
    "cannot use internet": "the notebook was changed on Kaggle; run `kitsolve submit` with --force to push it anew.",
    "as a data source": "accept the competition's rules, then run `kitsolve submit` with --force to push it anew.",
    "cannot use P100": 'set machine_shape = "NvidiaTeslaT4" in [submission] of its competition.toml.',
}
"""Words of Kaggle's refusals (status 400) -> what to do."""


def unreachable(error: Exception) -> KitsolveError:
    """No answer at all."""
    return KitsolveError(
        f"Kaggle cannot be reached ({type(error).__name__}).", "check the network, then run the same command again."
    )
