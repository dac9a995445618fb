"""`kitsolve runs`: the runs of a competition on disk, and how a command finds its run."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from tqdm import tqdm

from kitsolve.config import Competition, read_competition, read_fetched
from kitsolve.data.stored import require_fresh_tables
from kitsolve.errors import KitsolveError, nearest
from kitsolve.provenance import Sources, list_changes
from kitsolve.recipe import Recipe, change_recipe, read_recipe
from kitsolve.workspace import Workspace, digest, read_csv, read_json, write_bytes, write_sealed

if TYPE_CHECKING:
    import pandas as pd

ALL = -1
"""The fold that trains on all rows and validates none."""
BEGAN: dict[str, Any] = {"background": "ignore", "scale": "image"}
"""How images were read before it was a choice: transparency was dropped, and each one scaled by what it holds."""


@dataclass(frozen=True)
class Run:
    """One training of all folds: its folder, what it was made from, and the facts and choices it was made with.

    `classes`: in the order of the model's outputs; None before the training, and of a version that did not keep them.
    `made_from`: the sha256 of each table by name; None of an older version, which kept `tables_sha256` alone.
    `prepare_sha256`: of the prepare.py whose metric or augmentation it uses. `replaces`: what is in the folder gives
    way when the training really starts.
    """

    folder: Path
    competition: Competition
    recipe: Recipe
    tables_sha256: str
    recipe_name: str
    started: str
    classes: tuple[str, ...] | None = field(default=None, compare=False)
    made_from: Sources | None = field(default=None, compare=False)
    prepare_sha256: str | None = field(default=None, compare=False)
    replaces: bool = field(default=False, compare=False)

    @property
    def settings(self) -> tuple[Competition, Recipe, str]:
        """What must be equal for a run to go on."""
        return self.competition.for_training(), self.recipe, self.tables_sha256

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
        return self.folder / f"fold_{name_fold(fold)}"

    def lock(self, fold: int) -> Path:
        """The lock of one fold: two processes may train two folds of a run, but not the same one."""
        return self.folder.parent / ".locks" / f"{self.name}-fold_{name_fold(fold)}"

    def fold_is_done(self, fold: int) -> bool:
        """Whether the fold has its best state_dict and OOF; fold.json is written last."""
        return (self.fold(fold) / "fold.json").is_file()


def name_fold(fold: int) -> str:
    """The fold in names and words."""
    return "all" if fold == ALL else str(fold)


def parse_folds(names: Sequence[str] | None) -> list[int]:
    """The folds of their names; none: all that have validation rows.

    Raises:
        KitsolveError: neither a number nor "all".
    """
    odd = [name for name in names or () if name != "all" and not name.isdecimal()]
    if odd:
        raise KitsolveError(f"{odd[0]!r} is no fold.", hint="take a number from 0 on, or all.")
    return [ALL if name == "all" else int(name) for name in names or ()]


@dataclass(frozen=True)
class Wanted:
    """What a training is asked to be; `recipe_name` None: that of the named run, else the default recipe.

    `folds`: those to train; none: all.
    """

    slug: str
    recipe_name: str | None = None
    overrides: tuple[str, ...] = ()
    run_name: str | None = None
    folds: tuple[int, ...] = ()


def open_run(workspace: Workspace, wanted: Wanted, *, reuse_finished: bool = False, force: bool = False) -> Run:
    """The run to go on with, else a new one, of which nothing is on disk before `record_run`.

    To go on with is the run of the wanted name, or the newest unfinished one of the same recipe, facts and tables
    (`reuse_finished`: finished ones too). `force`: a new one, also in the place of the run of that name; but where only
    some folds of a named run are wanted, the run itself: they are trained again, with the others' choices.

    Raises:
        KitsolveError: the run of that name was made from other choices, facts or tables; or the tables are older than
            the facts.
    """
    competition = read_fetched(workspace, wanted.slug)
    existing = _find_named(workspace, wanted, force=force)
    recipe_name, recipe = _choose_recipe(workspace, wanted, existing)
    if force and existing is not None and recipe.init_from == existing.name:
        raise KitsolveError(f"run {existing.name} cannot take the place of what it starts from.", "give another --run.")
    require_fresh_tables(workspace, read_competition(workspace, wanted.slug))
    settings = (competition.for_training(), recipe, _tables_sha256(workspace, wanted.slug, recipe))
    if existing is not None and not (force and not wanted.folds):
        settings = (_as_started(settings[0], existing), *settings[1:])
        if existing.settings != settings:
            raise _refuse_mixing(existing, _difference(workspace, existing, settings), one_fold=force)
        return existing
    if wanted.run_name is None and not force:
        for run in list_runs(workspace, wanted.slug):
            if run.settings == (_as_started(settings[0], run), *settings[1:]) and (reuse_finished or not run.finished):
                return run
    now = datetime.now(UTC)
    return Run(
        workspace.runs(wanted.slug) / (wanted.run_name or f"{now:%Y%m%d-%H%M%S}-{recipe_name}"),
        competition,
        *settings[1:],
        recipe_name,
        started=now.isoformat(timespec="microseconds"),
        made_from=hash_sources(workspace, wanted.slug, recipe),
        prepare_sha256=hash_prepare(workspace, competition, recipe),
        replaces=force and wanted.run_name is not None,
    )


def _find_named(workspace: Workspace, wanted: Wanted, *, force: bool) -> Run | None:
    """The run of the wanted name, where it is on disk; a damaged one counts for nothing where it gives way.

    Raises:
        KitsolveError: it is no name for a run, or the run is damaged.
    """
    name = wanted.run_name
    if name is None:
        return None
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise KitsolveError(f"{name!r} is no name for a run.", "take letters, digits, dots, dashes and underscores.")
    folder = workspace.runs(wanted.slug) / name
    try:
        return read_run(folder) if (folder / "run.json").is_file() else None
    except KitsolveError:
        if force and not wanted.folds:
            return None
        raise


def _as_started(competition: Competition, run: Run) -> Competition:
    """The facts; where they do not name one of BEGAN, and the run began before that was a choice, as that run had it.

    Without this no such run could go on, since a default has changed. The bits of its images were found by its rules.
    """
    own, named = run.competition.image.model_dump(), competition.image.model_fields_set
    began = {name: value for name, value in BEGAN.items() if own[name] == value and name not in named}
    if not began:
        return competition
    began["bits"] = own["bits"]
    return competition.model_copy(update={"image": competition.image.model_copy(update=began)})


def _choose_recipe(workspace: Workspace, wanted: Wanted, existing: Run | None) -> tuple[str, Recipe]:
    if existing is not None and wanted.recipe_name is None:
        return existing.recipe_name, change_recipe(existing.recipe, wanted.overrides, source=f"run {existing.name}")
    name = wanted.recipe_name or "baseline"
    return name, read_recipe(workspace, wanted.slug, name, wanted.overrides)


def _refuse_mixing(run: Run, difference: str, *, one_fold: bool) -> KitsolveError:
    if one_fold:
        return KitsolveError(
            f"run {run.name} was started with {difference}: its folds cannot be mixed.",
            hint="leave --fold out to train the whole run anew with these choices, or give another name with --run.",
        )
    return KitsolveError(
        f"run {run.name} was started with {difference}.",
        hint="give the same settings, or another name with --run; or --force, to train this one anew.",
    )


def _difference(workspace: Workspace, run: Run, wanted: tuple[Competition, Recipe, str]) -> str:
    """The first setting that differs, with both values: "lr = 0.1; you asked for 0.2"."""
    for before, after in ((run.recipe, wanted[1]), (run.competition.for_training(), wanted[0])):
        if found := _first_difference(before.model_dump(), after.model_dump()):
            key, old, new = found
            return f"{key} = {old!r}; you asked for {new!r}"
    if run.made_from is None:
        return "another train.csv, folds.csv or pseudo-labels"
    changed = list_changes(run.made_from, hash_sources(workspace, run.competition.slug, run.recipe))
    return ", ".join(f"another {name}" if name.endswith(".csv") else f"other {name}" for name in changed)


def _first_difference(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, object, object] | None:
    """The dotted key of the first value that differs, and both values."""
    for key, value in old.items():
        other = new.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            if inner := _first_difference(value, other):
                return f"{key}.{inner[0]}", *inner[1:]
        elif value != other:
            return key, value, other
    return None


def is_recorded(run: Run) -> bool:
    """Whether the folder holds this very run, not another one that it will replace."""
    try:
        return (run.folder / "run.json").is_file() and read_run(run.folder).started == run.started
    except KitsolveError:
        return False


def record_run(workspace: Workspace, run: Run) -> None:
    """Write run.json where the folder does not hold this very run; what another run of that name left there goes.

    The folds that it is made with stay with it: folds.csv of the tables may become another.

    Raises:
        KitsolveError: another process began a run of that name with other choices, or the folder holds what is no run.
    """
    if is_recorded(run):
        return
    marker = run.folder / "run.json"
    if not run.replaces and (marker.is_file() or any(run.folder.glob("fold_*"))):
        if marker.is_file() and read_run(run.folder).settings == run.settings:
            return  # another process began the same run at the same time
        raise KitsolveError(
            f"{run.folder} holds what is not this run.", hint="give another name with --run, or --force to replace it."
        )
    remove_whole(run.folder)
    write_bytes(run.folder / "folds.csv", (workspace.tables(run.competition.slug) / "folds.csv").read_bytes())
    write_sealed(run.folder / "run.json", _run_values(run))


def remove_whole(folder: Path) -> None:
    """Remove a folder; a kill leaves no half of it in its place."""
    aside = folder.parent / ".removed" / folder.name
    shutil.rmtree(aside, ignore_errors=True)
    if folder.is_dir():
        aside.parent.mkdir(exist_ok=True)
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def folds_of(run: Run) -> pd.Series:
    """The fold in which each image was validated when the run was made: int, by image_id.

    A run of an older version has kept no folds.csv: then only the images of its finished folds are known.

    Raises:
        KitsolveError: the run's folds.csv was changed.
    """
    import pandas as pd  # lazy: `kitsolve runs` shall be quick

    path = run.folder / "folds.csv"
    if path.is_file():
        if run.made_from is not None and digest(path) != run.made_from.get("folds.csv"):
            raise KitsolveError(
                f"{path} was changed: it is not what the run was made with.", "bring it back from a copy."
            )
        table = read_csv(path)
        return pd.Series(table.fold.astype(int).to_numpy(), index=pd.Index(table.image_id), name="fold")
    parts = [pd.Series(dtype=int, index=pd.Index([], dtype=str, name="image_id"))]
    for folder in sorted(run.folder.glob("fold_[0-9]*")):
        if (folder / "fold.json").is_file():
            ids = pd.read_csv(folder / "oof.csv", usecols=["image_id"], dtype=str, keep_default_na=False).image_id
            parts.append(pd.Series(int(folder.name.removeprefix("fold_")), index=pd.Index(ids.unique())))
    return pd.concat(parts).astype(int).rename_axis("image_id").rename("fold")


def _run_values(run: Run) -> dict[str, Any]:
    import cv2  # lazy: `kitsolve runs` shall be quick

    packages = ("kitsolve", "torch", "torchvision", "timm", "albumentations", "numpy", "pandas")
    return {
        "started": run.started,
        "recipe_name": run.recipe_name,
        "recipe": run.recipe.model_dump(mode="json"),
        "competition": run.competition.model_dump(mode="json"),
        "tables_sha256": run.tables_sha256,
        "made_from": run.made_from,
        "classes": run.classes,
        "prepare_sha256": run.prepare_sha256,
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


def _tables_sha256(workspace: Workspace, slug: str, recipe: Recipe) -> str:
    """Changes with any row, label, pseudo-label or fold.

    Raises:
        KitsolveError: `kitsolve fetch` has not finished.
    """
    marker = [find_pseudo(workspace, slug, recipe.pseudo)] if recipe.pseudo else []
    return hash_tables(workspace.finished_tables(slug), *marker)


def hash_tables(tables: Path, *further: Path) -> str:
    """The sha256 of train.csv and folds.csv, and of further files, as run.json has it since the first version."""
    paths = [*_find_tables(tables), *further]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _find_tables(tables: Path) -> list[Path]:
    """train.csv and folds.csv.

    Raises:
        KitsolveError: one is missing.
    """
    paths = [tables / "train.csv", tables / "folds.csv"]
    for path, command in zip(paths, ("fetch", "folds"), strict=True):
        if not path.is_file():
            raise KitsolveError(f"{path} is missing.", hint=f"run `kitsolve {command} {tables.name}`.")
    return paths


def hash_sources(workspace: Workspace, slug: str, recipe: Recipe | None = None) -> dict[str, str]:
    """The sha256 of each table by name, and of the recipe's pseudo-labels."""
    found = {path.name: digest(path) for path in _find_tables(workspace.finished_tables(slug))}
    if recipe is not None and recipe.pseudo:
        found[f"pseudo-labels of {recipe.pseudo}"] = digest(find_pseudo(workspace, slug, recipe.pseudo))
    return found


def hash_prepare(workspace: Workspace, competition: Competition, recipe: Recipe) -> str | None:
    """The sha256 of the competition's prepare.py where a training uses its metric or augmentation."""
    path = workspace.competition(competition.slug) / "prepare.py"
    uses = competition.metric == "prepare:metric" or recipe.augment == "prepare:augmentation"
    return digest(path) if uses and path.is_file() else None


def find_pseudo(workspace: Workspace, slug: str, name: str) -> Path:
    """The marker of a run's pseudo-labels.

    Raises:
        KitsolveError: there are none.
    """
    marker = workspace.pseudo(slug, name) / "pseudo.json"
    if not marker.is_file():
        raise KitsolveError(f"there are no pseudo-labels of run {name}.", hint=f"run `kitsolve pseudo {slug} {name}`.")
    return marker


def read_run(folder: Path) -> Run:
    """The run of a folder.

    Raises:
        KitsolveError: another version of kitsolve has made it, whose facts or choices this one does not know.
    """
    hint = f"bring {folder / 'run.json'} back from a copy, or train it anew: --run {folder.name} --force."
    values = read_json(folder / "run.json", hint=hint)
    image = BEGAN | {"bits": 16} | (values.get("competition") or {}).get("image", {})
    try:
        competition = Competition.model_validate(values["competition"] | {"image": image})
        recipe = Recipe.model_validate(values["recipe"])
        return Run(
            folder,
            competition,
            recipe,
            values["tables_sha256"],
            values["recipe_name"],
            values["started"],
            None if values.get("classes") is None else tuple(values["classes"]),
            values.get("made_from"),
            values.get("prepare_sha256"),
        )
    except ValidationError as error:
        raise KitsolveError(
            f"run {folder.name} was made by kitsolve {values['versions']['kitsolve']} in another form: "
            f"{error.errors()[0]['msg']}.",
            hint=f"use that version for it, or remove {folder} and train again.",
        ) from error
    except (KeyError, TypeError) as error:
        raise KitsolveError(f"{folder / 'run.json'} is damaged: it lacks {error}.", hint) from error


def list_runs(workspace: Workspace, slug: str) -> list[Run]:
    """All runs of a competition, the newest first; those that cannot be read are named and left out."""
    runs = []
    for path in workspace.runs(slug).glob("*/run.json"):
        try:
            runs.append(read_run(path.parent))
        except KitsolveError as error:
            tqdm.write(f"left out: {error.problem}", file=sys.stderr)
    return sorted(runs, key=lambda run: (run.started, run.name), reverse=True)


def find_run(workspace: Workspace, slug: str, name: str | None = None) -> Run:
    """Run `name`, or the newest finished one.

    Raises:
        KitsolveError: there is none, or it is damaged.
    """
    folder = workspace.runs(slug) / (name or "")
    if name is not None and folder.parent == workspace.runs(slug) and (folder / "run.json").is_file():
        return read_run(folder)  # where it is damaged, that is the reason, not that there is none
    runs = list_runs(workspace, slug)
    if name is None:
        finished = [run for run in runs if run.finished]
        if not finished:
            raise KitsolveError(f"{slug} has no finished run.", hint=f"run `kitsolve train {slug}` first.")
        return finished[0]
    raise KitsolveError(
        f"{slug} has no run {name!r}.",
        hint=f"take one of: {nearest(name, [run.name for run in runs])}."
        if runs
        else f"run `kitsolve train {slug}` first.",
    )


def summarise_run(run: Run) -> dict[str, object]:
    """A line of `kitsolve runs`."""
    cv = _read_cv(run)
    done = sum(1 for _ in run.folder.glob("fold_[0-9]*/fold.json"))
    return {
        "run": run.name,
        "recipe": run.recipe_name,
        "backbone": run.recipe.backbone,
        "image_size": run.recipe.image_size,
        "folds": f"{done}/{len(cv.get('folds', ())) or run.competition.folds.count}",  # own folds may be more or fewer
        "metric": run.competition.metric,
        "cv": cv.get("pooled"),
        "mean": cv.get("mean"),
        "std": cv.get("std"),
    }


def _read_cv(run: Run) -> dict[str, Any]:
    """The values of score.json; none where it is damaged, which is said."""
    try:
        return read_json(run.folder / "score.json") if run.finished else {}
    except KitsolveError as error:
        tqdm.write(f"{error.problem} `kitsolve score` writes it anew", file=sys.stderr)
        return {}
