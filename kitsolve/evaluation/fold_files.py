"""What a finished fold has left: fold.json, written last, says whose fold it is and the sha256 of its other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kitsolve.errors import KitsolveError, translated
from kitsolve.evaluation.runs import Run, name_fold
from kitsolve.inference.bundle import file_sha256
from kitsolve.workspace import read_json, write_sealed

WEIGHTS, OOF, HISTORY = "best.safetensors", "oof.csv", "history.csv"
RECORDED = (WEIGHTS, OOF, "oof_last.csv", HISTORY)


def write_fold(folder: Path, values: dict[str, Any]) -> None:
    """Write fold.json, which says that the fold is done, with its run's start and the sha256 of the fold's files."""
    files = {name: file_sha256(folder / name) for name in RECORDED if (folder / name).is_file()}
    write_sealed(folder / "fold.json", values | {"run_started": _read_started(folder.parent), "files": files})


def _read_started(folder: Path) -> str:
    """When the run in a folder was started: a name that stays with it where it is copied or renamed.

    From the disk: of two processes that began a run at the same time, the second trains folds of the first's.
    """
    return str(read_json(folder / "run.json")["started"])


def read_fold(run: Run, fold: int) -> dict[str, Any]:
    """The values of fold.json; an older version has not said whose fold it is.

    Raises:
        KitsolveError: it is damaged, or of another run, which may have other choices, or of another fold.
    """
    folder, hint, name = run.fold(fold), retrain_hint(run, fold), name_fold(fold)
    values = read_json(folder / "fold.json", hint=hint)
    began = values.get("run_started")
    if began is not None and began != _read_started(run.folder):
        raise KitsolveError(f"{folder} is a fold of another run, which was started at {began}.", hint)
    if str(values.get("fold", name)) != name:
        raise KitsolveError(f"{folder} is fold {values['fold']}, not fold {name}.", hint)
    return values


def check_fold_file(run: Run, fold: int, name: str) -> Path:
    """The path of a file of a finished fold.

    Raises:
        KitsolveError: it is missing, or not the file that the training of this run left.
    """
    path = run.fold(fold) / name
    if not path.is_file():
        raise KitsolveError(f"{path} is missing.", retrain_hint(run, fold))
    recorded = read_fold(run, fold).get("files", {}).get(name)
    if recorded is not None and file_sha256(path) != recorded:
        raise KitsolveError(f"{path} was changed or damaged after the training.", retrain_hint(run, fold))
    return path


def check_weights(run: Run, fold: int) -> Path:
    """The path of a finished fold's weights; those that an older version has left no digest of are all finite.

    Raises:
        KitsolveError: they are missing, damaged, of another run, or hold what is no number.
    """
    path = check_fold_file(run, fold, WEIGHTS)
    if WEIGHTS not in read_fold(run, fold).get("files", {}):
        from kitsolve.inference.members import read_weights  # lazy: without torch otherwise

        with translated(retrain_hint(run, fold)):
            read_weights(path)
    return path


def retrain_hint(run: Run, fold: int) -> str:
    """The command that makes a fold's files anew."""
    slug = run.competition.slug
    return (
        f"bring it back from a copy, or train the fold anew: "
        f"`kitsolve train {slug} --run {run.name} --fold {name_fold(fold)} --force`."
    )
