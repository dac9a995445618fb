"""The weights of a code competition become a private Kaggle dataset, whole and ready."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.kaggle import Kaggle
from kitsolve.submission.parcel import weight_files
from kitsolve.submission.progress import Logbook
from kitsolve.transport import poll

PATIENCE_S = 3600.0


def upload_weights(kaggle: Kaggle, folder: Path, dataset: str, log: Logbook) -> None:
    """Create the dataset or its next version from a bundle's folder, unless that is done; wait until it is ready.

    Raises:
        KitsolveError: Kaggle refuses, is not ready in time, or lacks a file even after a second upload.
    """
    if log.progress.dataset_version is not None:
        return
    files = {path.name: path.stat().st_size for path in weight_files(folder)}
    for _ in range(2):
        version = _upload_version(kaggle, folder, dataset, log)
        remote = kaggle.dataset_files(dataset)
        wrong = [name for name, size in files.items() if remote.get(name) != size]
        if not wrong:
            log.note(dataset_version=version)
            return
        log.note(dataset_before=version)
    raise KitsolveError(
        f"dataset {dataset} lacks {len(wrong)} of {len(files)} files after two uploads, first: {wrong[0]} "
        f"({remote.get(wrong[0], 'no')} of {files[wrong[0]]} bytes).",
        hint="run the same command again; `kitsolve doctor` shows whether the connection to Kaggle works.",
    )


def _upload_version(kaggle: Kaggle, folder: Path, dataset: str, log: Logbook) -> int:
    """The number of the version that holds our files, when it is ready; looks first whether it has been sent."""
    if log.progress.dataset_before is None:
        log.note(dataset_before=kaggle.dataset_version(dataset))
    before = log.progress.dataset_before
    assert before is not None
    if not _has_newer(kaggle, dataset, before):
        tqdm.write(f"uploading {folder.name} as private dataset {dataset}, version {before + 1}", file=sys.stderr)
        kaggle.upload_dataset(
            folder,
            log.path.with_suffix(""),
            create=before == 0,
            find=lambda: _has_newer(kaggle, dataset, before) or None,
        )
    look = partial(_settled_status, kaggle, dataset, before)
    status = poll(look, title=f"Kaggle prepares dataset {dataset}", patience_s=PATIENCE_S)
    if status != "ready":
        what = "could not be prepared by Kaggle" if status else f"is not ready after {PATIENCE_S / 60:.0f} min"
        raise KitsolveError(
            f"dataset {dataset} {what}.", hint=f"see https://www.kaggle.com/datasets/{dataset}, then run this again."
        )
    return kaggle.dataset_version(dataset)


def _has_newer(kaggle: Kaggle, dataset: str, before: int) -> bool:
    return kaggle.dataset_version(dataset) > before


def _settled_status(kaggle: Kaggle, dataset: str, before: int) -> str | None:
    """Ready or failed; None on the way there, and while Kaggle still speaks of the version before ours."""
    status = kaggle.dataset_status(dataset)
    if status == "ready":
        return status if _has_newer(kaggle, dataset, before) else None
    return status if status in ("failed", "deleted") else None
