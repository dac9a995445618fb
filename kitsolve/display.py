"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kitsolve.proposing.proposal import describe_choices

if TYPE_CHECKING:
    from kitsolve.data.folds import FoldReport
    from kitsolve.doctor import Diagnosis
    from kitsolve.evaluation.blend import BlendReport
    from kitsolve.evaluation.score import CvScore
    from kitsolve.proposing.new import NewCompetition
    from kitsolve.submission.parcel import Submitted
    from kitsolve.submission.rehearse import Rehearsal
    from kitsolve.submission.status import Status


def describe_cv(cv: CvScore) -> str:
    """The CV score of all rows and of each fold."""
    folds = "  ".join(f"{value:.5f}" for value in cv.folds)
    rows = "all OOF rows" if cv.oof_rows == cv.train_rows else f"{cv.oof_rows} of {cv.train_rows} rows"
    lines = [f"CV          {cv.pooled:.5f} {cv.metric} ({rows})"]
    lines += [f"plain       {cv.plain:.5f} without fitted thresholds"] if cv.plain != cv.pooled else []
    lines += [f"folds       {folds}  mean {cv.mean:.5f}  std {cv.std:.5f}"]
    if cv.last_epochs is not None and cv.chosen_gain:
        gain = f"{abs(cv.chosen_gain):.5f} {'better' if cv.chosen_gain > 0 else 'worse'}"
        lines += [
            f"last epoch  {cv.last_epochs:.5f} (the CV is {gain}: its epochs are chosen on the rows that it scores)"
        ]
    return "\n".join(lines)


def describe_blend(report: BlendReport) -> str:
    """The runs with their correlations, the ways to mix them, and what was chosen."""
    singles = [
        {"run": run, report.metric: score, **{f"r{place + 1}": round(value, 4) for place, value in enumerate(row)}}
        for (run, score), row in zip(report.singles.items(), report.correlation, strict=True)
    ]
    candidates = [
        {"blend": one.method, "fitted": one.fitted, "honest": one.honest, "+-": one.noise} for one in report.candidates
    ]
    weights = ", ".join(
        f"{weight:.3g} {run}" for run, weight in zip(report.chosen.runs, report.chosen.weights, strict=True)
    )
    return "\n".join(
        [
            f"{align_rows(singles)}\n",
            f"{align_rows(candidates)}\n",
            f"chosen      {report.chosen.method}: {weights}",
            f"gain        {report.gain:+.5f} {report.metric} over the best run, on {report.rows:,} rows, honestly",
        ]
    )


def describe_rehearsal(done: Rehearsal) -> str:
    """The checks with their outcome, and what the notebook needed."""
    from kitsolve.inference.deadline import show_time  # lazy: it imports numpy
    from kitsolve.submission.kaggle_image import find_differences, read_kaggle_image

    lines = [f"{'passed' if passed else 'FAILED':11} {check}" for check, passed in done.checks.items()]
    lines += [f"seconds     {done.seconds}", f"memory      {done.peak_gb:.1f} GB at most"]
    lines += [f"pace        first predictions after {done.start_s:.1f} s, then {1 / done.image_s:,.1f} images a second"]
    lines += [f"full set    {done.full_images:,} images: about {show_time(done.full_s)} on this machine"]
    image = read_kaggle_image()
    others = [f"{name} {done.versions[name]} ({ours})" for name, ours in find_differences(done.versions, image).items()]
    if others:
        lines += [f"versions    unlike Kaggle's (of {image.date}): {', '.join(others)}; --python takes others"]
    return "\n".join(lines)


def align_rows(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as aligned columns under their names; an unknown value is a dash."""
    if not rows:
        return ""
    cells = [list(rows[0])] + [[show_value(value) for value in row.values()] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(align_cells(line, widths) for line in cells)


def align_cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells side by side, each at least as wide as said."""
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def show_value(value: object) -> str:
    """A value in a cell; what is not known is a dash."""
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def describe_new(made: NewCompetition) -> str:
    """Where the facts are, what was found, what wants a decision, and what is wrong."""
    path = made.folder / "competition.toml"
    if made.proposal is None:
        return f"facts       {path}, as kitsolve ships them"
    lines = [f"facts       {path}", *(f"{name:11} {found}" for name, found in made.proposal.found.items())]
    for fact in made.proposal.unsure:
        name = f"{fact.table}.{fact.key}".lstrip(".")
        lines.append(f"unsure      {name}: choose one of {describe_choices(fact.choices)}")
    lines += [f"WRONG       {problem}" for problem in made.proposal.problems]
    return "\n".join(lines)


def describe_folds(report: FoldReport) -> str:
    """A line a fold, and how alike they are."""
    rows = [
        {"fold": fold, "rows": size, **{label: shares[fold] for label, shares in report.shares.items()}}
        for fold, size in enumerate(report.rows)
    ]
    torn = f"groups (train.group) in more than one fold: {report.leaks}"
    return f"{align_rows(rows)}\nlargest gap {report.largest_gap:.4f}; {torn}"


def describe_submitted(done: Submitted) -> str:
    """The score beside the CV."""
    score = "pending; `kitsolve status` shows it later" if done.status == "pending" else show_value(done.public_score)
    lines = [f"submission  {done.ref}", f"score       {score}"]
    lines += [f"CV          {done.cv['pooled']:.5f} {done.cv['metric']}"] if done.cv else []
    return "\n".join(lines)


def describe_status(found: Status, slug: str) -> str:
    """The ledger as a table, then what Kaggle says."""
    shown = ("time", "runs", "cv", "public_score", "private_score", "status", "ref")
    rows = [{name: asdict(entry)[name] for name in shown} for entry in found.submissions]
    lines = [align_rows(rows) or f"no submissions yet: `kitsolve submit {slug}` makes one"]
    if found.allowance:
        lines.append(f"today       {found.allowance.left} submissions left, {found.allowance.used} used")
    if found.quota:
        lines.append(f"GPU         {found.quota.used_h:.1f} of {found.quota.total_h:.0f} h used this week")
    if found.deadline:
        lines.append(f"deadline    {found.deadline:%Y-%m-%d %H:%M} UTC, {time_left(found.deadline)}")
    if found.problem:
        lines.append(f"kaggle      {found.problem}\n  fix: {found.hint}")
    return "\n".join(lines)


def describe_diagnosis(found: Diagnosis) -> str:
    """What this machine has, and who is known at Kaggle."""
    versions = ", ".join(f"{package} {number}" for package, number in found.versions.items())
    lines = [
        f"python      {found.python}; {versions}",
        f"device      {found.device}, {found.precision}; {found.cores} CPU cores",
        f"disk        {found.free_gb} GB free in {found.folder}",
    ]
    if found.account:
        lines.append(f"kaggle      {found.account.username}, by {found.account.credential}: works")
    else:
        lines.append(f"kaggle      {found.problem}\n  fix: {found.hint}")
    return "\n".join(lines)


def time_left(deadline: datetime) -> str:
    """How long until then, in words."""
    hours = (deadline - datetime.now(UTC)).total_seconds() / 3600
    if hours < 0:
        return "over"
    return f"in {hours / 24:.0f} days" if hours >= 48 else f"in {hours:.0f} h"


def describe_values(values: dict[str, Any]) -> str:
    """A line for each value, nested ones indented below their name."""
    lines = []
    width = max([11, *(len(name) for name, value in values.items() if not isinstance(value, dict))])
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [name, *(f"  {line}" for line in describe_values(value).splitlines())]
        else:
            lines.append(f"{name:{width}} {show_value(value)}")
    return "\n".join(lines)
