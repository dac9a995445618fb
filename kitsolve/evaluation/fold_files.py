"""What a finished fold has left: fold.json, written last, holds the sha256 of the fold's other files."""

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
    """Write fold.json, which says that the fold is done, with the sha256 of the fold's other files."""
    files = {name: file_sha256(folder / name) for name in RECORDED if (folder / name).is_file()}
    write_sealed(folder / "fold.json", values | {"files": files})


def read_fold(run: Run, fold: int) -> dict[str, Any]:
    """The values of fold.json.

    Raises:
        KitsolveError: it is damaged.
    """
    return read_json(run.fold(fold) / "fold.json", hint=retrain_hint(run, fold))


def check_fold_file(run: Run, fold: int, name: str) -> Path:
    """The path of a file of a finished fold.

    Raises:
        KitsolveError: it is missing, or not the file that the training left.
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
        KitsolveError: they are missing, damaged, or hold what is no number.
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
