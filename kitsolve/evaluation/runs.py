"""`kitsolve runs`: the runs of a competition on disk, and how a command finds its run."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2

from kitsolve.config import Competition, Recipe
from kitsolve.errors import KitsolveError, nearest
from kitsolve.workspace import Workspace, read_json, write_json


@dataclass(frozen=True)
class Run:
    """One training of all folds: its folder, what it was made from, and the facts and choices it was made with."""

    folder: Path
    competition: Competition
    recipe: Recipe
    recipe_name: str
    tables_sha256: str
    started: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def finished(self) -> bool:
        """Whether every fold is done; score.json is written last."""
        return (self.folder / "score.json").is_file()

    def fold(self, fold: int) -> Path:
        """The folder of one fold."""
        return self.folder / f"fold_{fold}"

    def fold_is_done(self, fold: int) -> bool:
        """Whether the fold has its best state_dict and OOF; fold.json is written last."""
        return (self.fold(fold) / "fold.json").is_file()


def open_run(
    workspace: Workspace,
    competition: Competition,
    recipe: Recipe,
    recipe_name: str,
    *,
    name: str | None = None,
    reuse_finished: bool = False,
) -> Run:
    """The run to go on with, else a new one.

    That is run `name`, or the newest unfinished one of the same recipe, facts and tables (`reuse_finished`: finished
    ones too).

    Raises:
        KitsolveError: run `name` was made from other choices, facts or tables.
    """
    tables = _tables_sha256(workspace, competition.slug)
    wanted = (competition, recipe, tables)
    if name is not None and (workspace.runs(competition.slug) / name / "run.json").is_file():
        run = read_run(workspace.runs(competition.slug) / name)
        if (run.competition, run.recipe, run.tables_sha256) != wanted:
            raise KitsolveError(
                f"run {name} was started with another {_difference(run, wanted)}.",
                hint="give the same settings, or another name with --run.",
            )
        return run
    if name is None:
        for run in list_runs(workspace, competition.slug):
            if (run.competition, run.recipe, run.tables_sha256) == wanted and (reuse_finished or not run.finished):
                return run
    return _start_run(workspace, competition, recipe, recipe_name, tables, name)


def _difference(run: Run, wanted: tuple[Competition, Recipe, str]) -> str:
    """The first setting that differs, with both values."""
    for before, after in ((run.recipe, wanted[1]), (run.competition, wanted[0])):
        old, new = before.model_dump(), after.model_dump()
        for key, value in old.items():
            if value != new[key]:
                return f"{key}: {value!r}, not {new[key]!r}"
    return "train.csv or folds.csv"


def _start_run(
    workspace: Workspace, competition: Competition, recipe: Recipe, recipe_name: str, tables: str, name: str | None
) -> Run:
    now = datetime.now(UTC)
    folder = workspace.runs(competition.slug) / (name or f"{now:%Y%m%d-%H%M%S}-{recipe_name}")
    run = Run(folder, competition, recipe, recipe_name, tables, started=now.isoformat(timespec="seconds"))
    write_json(folder / "run.json", _run_values(run))
    return run


def _run_values(run: Run) -> dict[str, Any]:
    packages = ("kitsolve", "torch", "torchvision", "timm", "albumentations", "numpy", "pandas")
    return {
        "started": run.started,
        "recipe_name": run.recipe_name,
        "recipe": run.recipe.model_dump(mode="json"),
        "competition": run.competition.model_dump(mode="json"),
        "tables_sha256": run.tables_sha256,
        "versions": {package: version(package) for package in packages} | {"opencv": cv2.__version__},
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of the current folder's repository; None outside of one."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _tables_sha256(workspace: Workspace, slug: str) -> str:
    tables = workspace.tables(slug)
    content = b"".join((tables / name).read_bytes() for name in ("train.csv", "folds.csv"))
    return hashlib.sha256(content).hexdigest()


def read_run(folder: Path) -> Run:
    """The run of a folder."""
    values = read_json(folder / "run.json")
    return Run(
        folder,
        Competition.model_validate(values["competition"]),
        Recipe.model_validate(values["recipe"]),
        values["recipe_name"],
        values["tables_sha256"],
        values["started"],
    )


def list_runs(workspace: Workspace, slug: str) -> list[Run]:
    """All runs of a competition, the newest first."""
    runs = [read_run(path.parent) for path in workspace.runs(slug).glob("*/run.json")]
    return sorted(runs, key=lambda run: (run.started, run.name), reverse=True)


def find_run(workspace: Workspace, slug: str, name: str | None = None) -> Run:
    """Run `name`, or the newest finished one.

    Raises:
        KitsolveError: there is none.
    """
    runs = list_runs(workspace, slug)
    if name is None:
        finished = [run for run in runs if run.finished]
        if not finished:
            raise KitsolveError(f"{slug} has no finished run.", hint=f"run `kitsolve train {slug}` first.")
        return finished[0]
    for run in runs:
        if run.name == name:
            return run
    raise KitsolveError(
        f"{slug} has no run {name!r}.",
        hint=f"take one of: {nearest(name, [run.name for run in runs])}." if runs else f"run `kitsolve train {slug}` first.",
    )
