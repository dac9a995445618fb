"""Weights that a run of the competition has left, wherever their file is now.

They have learned the rows of all folds but their own. Where every fold of another run starts from them, as it does with
`pretrained`, its CV is of rows that the model knows: an accuracy of 1.0 where labels were drawn by lot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.fold_files import WEIGHTS
from kitsolve.evaluation.runs import Run
from kitsolve.inference.bundle import file_sha256
from kitsolve.workspace import Workspace, read_json

SUFFIXES = (".safetensors", ".pt")
"""Of the files in a fold's folder that hold weights."""


@dataclass(frozen=True)
class Origin:
    """The run that weights are of, and which fold of it, in words: "fold 1"."""

    run: str
    fold: str


def check_pretrained(workspace: Workspace, run: Run) -> None:
    """Refuse a run whose `pretrained` is what a run of the same competition has left.

    Raises:
        KitsolveError: names that run and its fold.
    """
    given, slug = run.recipe.pretrained, run.competition.slug
    origin = find_origin(workspace, slug, Path(given).expanduser()) if isinstance(given, str) else None
    if origin is not None:
        raise KitsolveError(
            f"run {run.name} starts every fold from pretrained = {given!r}, the weights of {origin.fold} of run "
            f"{origin.run}: they have learned rows that other folds validate, and the CV would be too good.",
            hint=f'leave pretrained out and set init_from = "{origin.run}" (`kitsolve train {slug} --set '
            f"init_from={origin.run}`): each fold then starts from the same fold of that run.",
        )


def find_origin(workspace: Workspace, slug: str, path: Path) -> Origin | None:
    """The run of the competition that a file of weights is of, told by its place, else by its content; None: of no run.

    A copy that another tool has saved anew is not known again, nor one of what is gone from runs and bundles.
    """
    if not path.is_file():
        return None  # who loads it says so
    runs, bundles = workspace.runs(slug), workspace.bundle(slug, "x").parent
    place = path.resolve()
    if place.is_relative_to(runs.resolve()):
        return Origin(place.relative_to(runs.resolve()).parts[0], _fold_in_words(place.parent.name))
    if place.is_relative_to(bundles.resolve()):
        return _member_origin(place.name)
    size, sha256 = path.stat().st_size, file_sha256(path)
    known = chain(_list_left(runs), _list_members(bundles))
    return next((origin for left, origin in known if _is_same(left, size, sha256)), None)


def _is_same(left: str | Path, size: int, sha256: str) -> bool:
    """Whether a file, or one of which the sha256 is known, has this content."""
    if isinstance(left, str):
        return left == sha256
    return left.stat().st_size == size and file_sha256(left) == sha256


def _list_left(runs: Path) -> Iterator[tuple[str | Path, Origin]]:
    """What all folds of all runs have left: the recorded sha256 of the weights, else their file, and checkpoints."""
    for folder in sorted(path for path in runs.glob("*/fold_*") if path.is_dir()):
        origin = Origin(folder.parent.name, _fold_in_words(folder.name))
        recorded = _read(folder / "fold.json").get("files", {}).get(WEIGHTS)
        if recorded:
            yield recorded, origin
        for path in sorted(folder.iterdir()):
            if path.suffix in SUFFIXES and not (recorded and path.name == WEIGHTS):
                yield path, origin


def _list_members(bundles: Path) -> Iterator[tuple[str | Path, Origin]]:
    """Members of all bundles: in float16 they are other files than the run's, and they may outlive it."""
    for path in sorted(bundles.glob("*/bundle.json")):
        for model in _read(path).get("models", []):
            yield str(model.get("sha256")), _member_origin(str(model.get("file")))


def _member_origin(file: str) -> Origin:
    """Of RUN-fold_K.safetensors."""
    run, _, fold = file.rpartition("-")
    return Origin(run, _fold_in_words(fold.partition(".")[0]))


def _fold_in_words(folder: str) -> str:
    return folder.replace("_", " ") if folder.startswith("fold_") else "a fold"


def _read(path: Path) -> dict[str, Any]:
    """The values of a file; none where it is missing or damaged: it may be of a run that nobody asks for."""
    try:
        return read_json(path)
    except KitsolveError:
        return {}
