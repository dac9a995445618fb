"""What a submit has done so far: written before and after every call that must not be made twice."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kitsolve.workspace import read_json, write_json


@dataclass(frozen=True)
class Progress:
    """The stages of one submission.

    `tag` is unique and part of the message: by it a submission whose answer was lost is found again. `..._before` is
    the newest remote version before ours was sent; `sent`: the submission may be on its way; `ref`: it has arrived.
    """

    tag: str
    dataset_before: int | None = None
    dataset_version: int | None = None
    kernel_before: int | None = None
    kernel: str | None = None
    kernel_version: int | None = None
    output_agrees: bool = False
    sent: bool = False
    ref: int | None = None


class Logbook:
    """A Progress and its file."""

    def __init__(self, path: Path, progress: Progress, *, resumed: bool) -> None:
        self.path, self.progress, self.resumed = path, progress, resumed

    def note(self, **changes: Any) -> None:  # noqa: ANN401
        """Change fields of the progress, on disk before anything else happens."""
        self.progress = replace(self.progress, **changes)
        write_json(self.path, asdict(self.progress))


def open_logbook(folder: Path, subject: str, *, again: bool = False) -> Logbook:
    """The progress of submitting `subject` (a sha256), or a new one.

    Args:
        again: submit once more, with a new run of the notebook but the weights that are there; not while an earlier
            submission may still be on its way.
    """
    path = folder / f"{subject[:16]}.json"
    new = Progress(tag=secrets.token_hex(4))
    if not path.is_file():
        return Logbook(path, new, resumed=False)
    progress = Progress(**read_json(path))
    if again and (progress.ref is not None or not progress.sent):
        new = replace(new, dataset_before=progress.dataset_before, dataset_version=progress.dataset_version)
        return Logbook(path, new, resumed=False)
    return Logbook(path, progress, resumed=True)
