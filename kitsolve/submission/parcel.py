"""What will be submitted, checked as far as this machine can: nothing has left it yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitsolve.config import read_competition
from kitsolve.errors import KitsolveError, translated
from kitsolve.inference.bundle import Bundle, file_sha256
from kitsolve.inference.submission import check_submission
from kitsolve.inference.testset import read_sample
from kitsolve.submission.ledger import Entry, now
from kitsolve.submission.notebook import write_notebook
from kitsolve.submission.predict import keep_or_predict
from kitsolve.submission.progress import Progress
from kitsolve.submission.rehearse import require_rehearsal
from kitsolve.workspace import Workspace, digest, read_csv, read_json


@dataclass(frozen=True)
class Submitted:
    """What came back: the submission's number, its state and scores (None while pending), and the CV beside them."""

    ref: str
    status: str
    public_score: float | None
    private_score: float | None
    cv: dict[str, Any] | None


@dataclass(frozen=True)
class Parcel:
    """A submission that has passed every check.

    `csv` is the submission.csv; `sha256` is its, or that of bundle and notebook; `files` maps what would be uploaded to
    bytes; `metadata` are Kaggle's own metadata files by name. `cv` is None where the file is not the bundle's own.
    """

    bundle: Bundle
    kind: str
    csv: Path
    sha256: str
    files: dict[Path, int]
    metadata: dict[str, dict[str, Any]]
    cv: dict[str, Any] | None

    @property
    def runs(self) -> str:
        """The runs' names."""
        return self.csv.name if self.cv is None else ", ".join(run["run"] for run in self.bundle.card["runs"])

    @property
    def recipes(self) -> str:
        """The recipes' names."""
        return "" if self.cv is None else ", ".join(run["recipe"] for run in self.bundle.card["runs"])


def pack(workspace: Workspace, bundle: Bundle, *, file: Path | None = None, owner: str) -> Parcel:
    """Predict where that is not done yet, check the submission, and for a code competition also the notebook.

    Args:
        file: a submission made elsewhere, for a competition that takes files.
        owner: the Kaggle user to whom notebook and weights will belong.

    Raises:
        KitsolveError: something that the competition would refuse, or a rehearsal that fails.
    """
    via = read_competition(workspace, bundle.competition).submission.via
    if via == "notebook":
        if file is not None:
            raise KitsolveError(
                f"{bundle.competition} takes a notebook, not a file.", hint="run `kitsolve submit` without --file."
            )
        return _pack_notebook(workspace, bundle, owner)
    path = file or keep_or_predict(workspace, bundle)
    check_file(workspace, bundle, path)
    cv = bundle.card["cv"] if file is None else None
    return Parcel(bundle, via, path, file_sha256(path), {path: path.stat().st_size}, {}, cv)


def _pack_notebook(workspace: Workspace, bundle: Bundle, owner: str) -> Parcel:
    slug = bundle.competition
    notebook = write_notebook(workspace, bundle, owner=owner)
    require_rehearsal(workspace, bundle)
    path = keep_or_predict(workspace, bundle)
    check_file(workspace, bundle, path)
    weights = workspace.bundle(slug, bundle.name)
    return Parcel(
        bundle,
        "notebook",
        path,
        digest(weights / "bundle.json", notebook),
        {file: file.stat().st_size for file in [*weight_files(weights), notebook]},
        {
            "dataset-metadata.json": read_json(weights / "dataset-metadata.json"),
            "kernel-metadata.json": read_json(notebook.parent / "kernel-metadata.json"),
        },
        bundle.card["cv"],
    )


def weight_files(folder: Path) -> list[Path]:
    """The files of a bundle that the dataset will hold."""
    return sorted(path for path in folder.iterdir() if path.name != "dataset-metadata.json")


def check_file(workspace: Workspace, bundle: Bundle, path: Path) -> None:
    """Refuse a submission file that the competition would refuse.

    Raises:
        KitsolveError: no such file, another name than submission.csv, or a row that cannot be; names the first.
    """
    if not path.is_file() or path.name != "submission.csv":
        problem = "is no file" if not path.is_file() else "is not named submission.csv, as some competitions want it"
        raise KitsolveError(f"{path} {problem}.", hint="name a file submission.csv with --file.")
    slug = bundle.competition
    with translated(f"correct that row, or let `kitsolve predict {slug}` write the file."):
        sample = read_sample(workspace.raw(slug), bundle.submission, spelt=True)
        check_submission(read_csv(path), sample, bundle.submission)


def make_entry(parcel: Parcel, done: Submitted, *, message: str, progress: Progress | None = None) -> Entry:
    """The ledger's line on a parcel that was submitted."""
    dataset, kernel = "", ""
    if progress is not None and parcel.kind == "notebook":
        dataset = f"{parcel.metadata['dataset-metadata.json']['id']}/{progress.dataset_version}"
        kernel = f"{progress.kernel}/{progress.kernel_version}"
    return Entry(
        time=now(),
        runs=parcel.runs,
        recipe=parcel.recipes,
        cv=parcel.cv["pooled"] if parcel.cv else None,
        sha256=parcel.sha256,
        kind=parcel.kind,
        dataset=dataset,
        kernel=kernel,
        ref=done.ref,
        message=message,
        public_score=done.public_score,
        private_score=done.private_score,
        status=done.status,
    )
