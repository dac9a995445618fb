"""The ledger: every submission of a competition with its CV and score, in competitions/SLUG/submissions.csv.

Lines are only ever added: a score that arrives later is a further line of the same submission, and the last one counts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from kitsolve.workspace import append_line

STATUSES = ("pending", "complete", "error")


@dataclass(frozen=True)
class Entry:
    """One submission at one time (UTC, ISO 8601).

    `sha256` is that of the CSV file, or of bundle and notebook; `dataset` and `kernel` are OWNER/SLUG/VERSION.
    """

    time: str
    runs: str
    recipe: str
    cv: float | None
    sha256: str
    kind: str
    dataset: str
    kernel: str
    ref: str
    message: str
    public_score: float | None
    private_score: float | None
    status: str


COLUMNS = [field.name for field in fields(Entry)]
NUMBERS = ("cv", "public_score", "private_score")


def add_entry(path: Path, entry: Entry) -> None:
    """Add a line, unless the submission's last one already says the same."""
    if any(same_state(entry, known) for known in read_ledger(path) if known.ref == entry.ref):
        return
    values = ["" if value is None else value for value in asdict(entry).values()]
    append_line(path, _line(values), header=_line(COLUMNS))


def same_state(one: Entry, other: Entry) -> bool:
    """Whether both say the same of a submission's outcome."""
    return (one.status, one.public_score, one.private_score) == (other.status, other.public_score, other.private_score)


def read_ledger(path: Path) -> list[Entry]:
    """The last state of every submission under the time of its first line, the oldest first."""
    if not path.is_file():
        return []
    latest: dict[str, Entry] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for values in csv.DictReader(file):
            # A line that a power cut left unfinished has no known status.
            if None in values or values.get("status") not in STATUSES:
                continue
            known = latest.get(values["ref"])
            latest[values["ref"]] = _parse(values | ({"time": known.time} if known else {}))
    return list(latest.values())


def now() -> str:
    """The time as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _parse(values: dict[str, str]) -> Entry:
    numbers = {name: float(values[name]) if values[name] else None for name in NUMBERS}
    return Entry(**{**{name: values[name] for name in COLUMNS}, **numbers})  # type: ignore[arg-type]


def _line(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
