"""What Kaggle tells, as values: in the client's answers a missing number is an empty text, and times have no zone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Account:
    """Who talks to Kaggle: the user name, and where the credential comes from."""

    username: str
    credential: str


@dataclass(frozen=True)
class Terms:
    """What Kaggle says of a competition: times are UTC; `entered`: this user has joined and accepted the rules."""

    title: str
    deadline: datetime | None
    notebooks_only: bool
    entered: bool


@dataclass(frozen=True)
class Allowance:
    """How many submissions the team may still send today (UTC), how many it has sent, and which cap counts."""

    left: int
    used: int
    by_total: bool


@dataclass(frozen=True)
class Submission:
    """A submission as Kaggle lists it; `status` is pending, complete or error."""

    ref: int
    message: str
    status: str
    public_score: float | None
    private_score: float | None
    error: str


@dataclass(frozen=True)
class Quota:
    """GPU hours of this week, and when the next week begins (UTC)."""

    used_h: float
    total_h: float
    refresh: datetime | None


@dataclass(frozen=True)
class Pushed:
    """A notebook's version, and the data sources that Kaggle does not know: it runs without them."""

    kernel: str
    version: int
    invalid_sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class KernelRun:
    """The run of one version of a notebook; `status` as Kaggle's KernelWorkerStatus, in lower case."""

    status: str
    failure: str

    @property
    def ended(self) -> bool:
        """Whether the status stays as it is."""
        return self.status in ("complete", "error", "cancel_acknowledged")


def read_terms(answer: Any) -> Terms:  # noqa: ANN401  (here and below: an object of the client)
    """The conditions of a competition."""
    notebooks_only, entered = bool(answer.is_kernels_submissions_only), bool(answer.user_has_entered)
    return Terms(answer.title, _utc(answer.deadline), notebooks_only, entered)


def read_submission(entry: Any) -> Submission:  # noqa: ANN401
    """An entry of the list of submissions."""
    return Submission(
        ref=entry.ref,
        message=entry.description,
        status=entry.status.name.lower(),
        public_score=_score(entry.public_score),
        private_score=_score(entry.private_score),
        error=entry.error_description or "",
    )


def read_pushed(answer: Any, kernel: str) -> Pushed:  # noqa: ANN401
    """What became of a push of `kernel`; Kaggle may have named it otherwise."""
    kinds = ("dataset", "competition", "kernel", "model")
    invalid = [source for kind in kinds for source in getattr(answer, f"invalid_{kind}_sources") or []]
    named = "/".join(answer.ref.strip("/").split("/")[-2:])  # "/code/OWNER/SLUG", or without "/code"
    return Pushed(named or kernel, int(answer.version_number), tuple(invalid))


def read_quota(answer: Any) -> Quota | None:  # noqa: ANN401
    """The GPU's part of the quotas; None where Kaggle names none."""
    gpu = answer.gpu_quota
    if gpu is None or gpu.total_time_allowed is None:
        return None
    used_s = gpu.time_used.total_seconds() if gpu.time_used else 0.0
    return Quota(used_s / 3600, gpu.total_time_allowed.total_seconds() / 3600, _utc(answer.quota_refresh_time))


def read_log(text: str) -> str:
    """A notebook's log, which is a JSON array of pieces, as plain text."""
    try:
        return "".join(piece["data"] for piece in json.loads(text))
    except (ValueError, TypeError, KeyError):
        return text


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time else None


def _score(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
