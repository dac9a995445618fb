"""`kitsolve submit`: the checked submission goes where the competition wants it, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from kitsolve.config import read_competition
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Bundle
from kitsolve.kaggle import Kaggle, connect
from kitsolve.remote import Allowance, Submission, Terms
from kitsolve.submission.kernel import run_at_kaggle
from kitsolve.submission.ledger import add_entry, read_ledger
from kitsolve.submission.local import submit_locally
from kitsolve.submission.parcel import Parcel, Submitted, make_entry, pack
from kitsolve.submission.progress import Logbook, open_logbook
from kitsolve.submission.weights import upload_weights
from kitsolve.transport import poll
from kitsolve.workspace import Workspace, locked

SCORE_PATIENCE_S = {"csv": 3600.0, "notebook": 12 * 3600.0}


@dataclass(frozen=True)
class Wishes:
    """What the user wants: a file of their own, words for the submission, to wait for the score, to submit again."""

    file: Path | None = None
    message: str | None = None
    wait: bool = True
    force: bool = False


@dataclass(frozen=True)
class Plan:
    """All that is settled before the first byte leaves this machine."""

    kaggle: Kaggle
    terms: Terms
    allowance: Allowance
    parcel: Parcel
    log: Logbook
    message: str


def submit(workspace: Workspace, bundle: Bundle, wishes: Wishes, *, confirm: Callable[[Plan], None]) -> Submitted:
    """Predict where that is not done yet, check, upload, wait for the score, write the ledger.

    What an interrupted submit has done is not done again: it goes on where it stopped.

    Args:
        confirm: is shown what would be sent before anything is; raises where the user does not want that.

    Raises:
        KitsolveError: something that the competition would refuse or has refused.
    """
    slug = bundle.competition
    if read_competition(workspace, slug).submission.via == "local":
        return submit_locally(workspace, bundle)
    with locked(workspace.sending(slug), doing=f"submitting to {slug}"):
        plan = plan_submit(workspace, bundle, wishes)
        if not plan.log.resumed:
            confirm(plan)
            plan.log.note()
        ref = send(workspace, plan)
        done = Submitted(str(ref), "pending", None, None, plan.parcel.cv)
        _record(workspace, plan, done)
        if not wishes.wait:
            return done
        found = await_score(plan.kaggle, slug, ref, patience_s=SCORE_PATIENCE_S[plan.parcel.kind])
        if found is None:
            return done
        done = Submitted(str(ref), found.status, found.public_score, found.private_score, plan.parcel.cv)
        _record(workspace, plan, done)
    if found.status == "error":
        raise KitsolveError(
            f"Kaggle could not score submission {ref}: {found.error or 'it gives no reason'}.",
            hint=f"see https://www.kaggle.com/c/{slug}/submissions.",
        )
    return done


def plan_submit(workspace: Workspace, bundle: Bundle, wishes: Wishes) -> Plan:
    """Everything up to the first byte that would leave this machine; Kaggle is only asked.

    Raises:
        KitsolveError: see `submit`.
    """
    slug = bundle.competition
    via = read_competition(workspace, slug).submission.via
    if via == "local":
        raise KitsolveError(f"{slug} is scored on this disk: nothing would leave it.", "run it without --dry-run.")
    kaggle = connect()
    terms = kaggle.terms(slug)
    if terms.notebooks_only and via == "csv":
        raise KitsolveError(
            f"{slug} takes submissions from notebooks only.",
            hint='set via = "notebook" in [submission] of its competition.toml.',
        )
    parcel = pack(workspace, bundle, file=wishes.file, owner=kaggle.account.username)
    log = open_logbook(workspace.sending(slug), parcel.sha256, again=wishes.force)
    if not wishes.force:
        refuse_repetition(workspace, parcel, log)
    allowance = kaggle.allowance(slug)
    if not log.resumed:
        check_allowance(allowance, terms, slug, now=datetime.now(UTC))
    return Plan(kaggle, terms, allowance, parcel, log, _make_message(parcel, wishes.message, log.progress.tag))


def refuse_repetition(workspace: Workspace, parcel: Parcel, log: Logbook) -> None:
    """Raise KitsolveError for what was submitted before; a submission that has not ended is gone on with."""
    entries = [
        entry
        for entry in read_ledger(workspace.ledger(parcel.bundle.competition))
        if entry.sha256 == parcel.sha256 and entry.kind != "local"
    ]
    going_on = log.resumed and not any(
        entry.ref == str(log.progress.ref) and entry.status != "pending" for entry in entries
    )
    if entries and not going_on:
        last = entries[-1]
        score = "without a score" if last.public_score is None else f"public score {last.public_score:.5f}"
        raise KitsolveError(
            f"the same was submitted on {last.time[:10]} as submission {last.ref}, {last.status}, {score}.",
            hint="train another run; or spend a further submission on it with --force.",
        )


def check_allowance(allowance: Allowance, terms: Terms, slug: str, *, now: datetime) -> None:
    """Raise KitsolveError where no submission is left; says when there will be.

    Args:
        now: the time in UTC.
    """
    if allowance.left > 0:
        return
    if allowance.used == 0 and not terms.entered:
        raise KitsolveError(
            f"you have not joined {slug}.",
            hint=f"accept its rules at https://www.kaggle.com/c/{slug}/rules, then run the same command again.",
        )
    if allowance.by_total:
        raise KitsolveError(
            f"the team has used up all submissions that {slug} allows.", hint="choose the final ones on its page."
        )
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    hours, minutes = divmod(int((midnight - now).total_seconds() / 60), 60)
    raise KitsolveError(
        f"today's submissions to {slug} are used up ({allowance.used} sent).",
        hint=f"run the same command again after 00:00 UTC, in {hours} h {minutes} min.",
    )


def _make_message(parcel: Parcel, words: str | None, tag: str) -> str:
    cv = f" CV {parcel.cv['pooled']:.5f} {parcel.cv['metric']}" if parcel.cv else ""
    text = " ".join((words or f"{parcel.runs}{cv}").split())
    return f"{text} [kitsolve {tag}]"


def send(workspace: Workspace, plan: Plan) -> int:
    """Upload and submit what is not submitted yet; gives the submission's number."""
    kaggle, parcel, log, slug = plan.kaggle, plan.parcel, plan.log, plan.parcel.bundle.competition
    find = partial(find_submission, kaggle, slug, log.progress.tag)
    ref = log.progress.ref
    if ref is None and log.progress.sent:
        ref = find()
    if ref is None:
        spend = partial(kaggle.submit_file, slug, parcel.csv, plan.message, find=find)
        if parcel.kind == "notebook":
            weights = workspace.bundle(slug, parcel.bundle.name)
            upload_weights(kaggle, weights, parcel.metadata["dataset-metadata.json"]["id"], log)
            pushed = run_at_kaggle(workspace, kaggle, parcel, log)
            spend = partial(kaggle.submit_kernel, slug, pushed, plan.message, find=find)
        # Hours may have passed since it was planned, and a team mate may have submitted.
        check_allowance(kaggle.allowance(slug), plan.terms, slug, now=datetime.now(UTC))
        log.note(sent=True)
        ref = spend()
    log.note(ref=ref)
    return ref


def find_submission(kaggle: Kaggle, slug: str, tag: str) -> int | None:
    """The number of the submission whose message holds our tag; None where Kaggle has none."""
    return next((entry.ref for entry in kaggle.submissions(slug) if tag in entry.message), None)


def await_score(kaggle: Kaggle, slug: str, ref: int, *, patience_s: float) -> Submission | None:
    """The submission when Kaggle has scored it or given it up; None where it is still pending after `patience_s`."""

    def look() -> Submission | None:
        return next(
            (entry for entry in kaggle.submissions(slug) if entry.ref == ref and entry.status != "pending"), None
        )

    return poll(look, title=f"Kaggle scores submission {ref}", patience_s=patience_s)


def _record(workspace: Workspace, plan: Plan, done: Submitted) -> None:
    entry = make_entry(plan.parcel, done, message=plan.message, progress=plan.log.progress)
    add_entry(workspace.ledger(plan.parcel.bundle.competition), entry)


def describe_plan(plan: Plan) -> dict[str, Any]:
    """What would be sent, for people and as JSON: files with their sizes, Kaggle's metadata, what is left of today."""
    parcel, cv = plan.parcel, plan.parcel.cv
    return {
        "submission": f"{parcel.bundle.competition}, by {parcel.kind}",
        "message": plan.message,
        "cv": f"{cv['pooled']:.5f} {cv['metric']}" if cv else None,
        "sha256": parcel.sha256,
        "files": {str(path): f"{size:,} bytes" for path, size in parcel.files.items()},
        **parcel.metadata,
        "allowance": f"{plan.allowance.left} submissions left today, {plan.allowance.used} used",
        "account": plan.kaggle.account.username,
    }
