"""`kitsolve status`: where a competition stands, on this disk and at Kaggle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from kitsolve.config import read_competition
from kitsolve.errors import KitsolveError
from kitsolve.kaggle import Kaggle, connect
from kitsolve.remote import Allowance, Quota
from kitsolve.submission.ledger import Entry, add_entry, now, read_ledger
from kitsolve.workspace import Workspace


@dataclass(frozen=True)
class Status:
    """The ledger, oldest first, and what Kaggle says; `problem` and `hint` where Kaggle could not be asked."""

    submissions: list[Entry]
    deadline: datetime | None = None
    allowance: Allowance | None = None
    quota: Quota | None = None
    problem: str | None = None
    hint: str | None = None


def find_status(workspace: Workspace, slug: str) -> Status:
    """Refresh the ledger's pending submissions, and ask for deadline, allowance and GPU quota."""
    ledger = workspace.ledger(slug)
    if read_competition(workspace, slug).submission.via == "local":
        return Status(read_ledger(ledger))
    try:
        kaggle = connect()
        _refresh(workspace, kaggle, slug)
        deadline, allowance, quota = kaggle.terms(slug).deadline, kaggle.allowance(slug), kaggle.quota()
    except KitsolveError as error:
        return Status(read_ledger(ledger), problem=error.problem, hint=error.hint)
    return Status(read_ledger(ledger), deadline, allowance, quota)


def _refresh(workspace: Workspace, kaggle: Kaggle, slug: str) -> None:
    """Add what became of the ledger's submissions; a private score comes with the competition's end."""
    known = {entry.ref: entry for entry in read_ledger(workspace.ledger(slug))}
    if not known:
        return
    for found in kaggle.submissions(slug):
        if entry := known.get(str(found.ref)):
            news = replace(
                entry,
                time=now(),
                status=found.status,
                public_score=found.public_score,
                private_score=found.private_score,
            )
            add_entry(workspace.ledger(slug), news)
