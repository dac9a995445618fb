"""`kitsolve export`, first half: finished folds become a bundle, a folder that predicts without kitsolve."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kitsolve.config import Competition, read_competition, require_prepare
from kitsolve.data.features import fit_features
from kitsolve.data.fetch import link_or_copy, read_train_table
from kitsolve.data.table import test_split
from kitsolve.data.targets import Targets, encode_targets
from kitsolve.errors import KitsolveError, nearest, translated
from kitsolve.evaluation.blend import read_blend
from kitsolve.evaluation.runs import ALL, Run, find_run, name_fold
from kitsolve.evaluation.score import CvScore, score_blend
from kitsolve.inference.bundle import BUNDLE_FORMAT, Blend, Bundle, Feature, ModelSpec, read_bundle
from kitsolve.inference.testset import read_sample
from kitsolve.training.job import fold_spec
from kitsolve.workspace import Workspace, read_json, write_json

PREDICTED_AT_ONCE = 32
"""Images that go through a model together."""


def export_bundle(workspace: Workspace, slug: str, names: list[str]) -> Bundle:
    """The bundle of the named runs, or of the newest finished one: every finished fold is a member with equal weight,
    and so is what was trained on all rows. Runs are mixed as `kitsolve blend` has chosen, else by their mean.

    bundle.json is written last; a bundle that is complete is left as it is.

    Raises:
        KitsolveError: no such run, or none that is finished.
    """
    named = [find_run(workspace, slug, name) for name in dict.fromkeys(names)] or [find_run(workspace, slug)]
    blend = read_blend(workspace, slug, named)
    runs = [run for run in named if run.name in blend.runs]
    folder = workspace.bundle(slug, bundle_name(runs))
    described = _describe(workspace, runs[0].competition)
    members = _members(runs, described)
    bundle = _make_bundle(workspace, runs, blend, described, models=tuple(spec for _, _, spec in members))
    if _holds(folder, bundle):
        return bundle
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for run, fold, spec in members:
        link_or_copy(run.fold(fold) / "best.safetensors", folder / spec.file)
    if bundle.submission.kind == "prepare:submission":
        require_prepare(workspace, slug, "submission")
        shutil.copyfile(workspace.competition(slug) / "prepare.py", folder / "prepare.py")
    write_json(folder / "bundle.json", asdict(bundle))
    return bundle


def _holds(folder: Path, bundle: Bundle) -> bool:
    """Whether a folder is this very bundle; one of another version's format is not."""
    try:
        return read_bundle(folder) == bundle
    except ValueError:
        return False


def bundle_name(runs: list[Run]) -> str:
    """The run's name, or the first run's and how many more there are."""
    return runs[0].name if len(runs) == 1 else f"{runs[0].name}-and-{len(runs) - 1}-more"


def find_bundle(workspace: Workspace, slug: str, name: str | None = None) -> Bundle:
    """Bundle `name`, or the one that was exported last.

    Raises:
        KitsolveError: there is none.
    """
    folders = sorted(workspace.bundle(slug, "x").parent.glob("*/bundle.json"), key=lambda path: path.stat().st_mtime_ns)
    known = [path.parent.name for path in folders]
    if not known or (name is not None and name not in known):
        raise KitsolveError(
            f"{slug} has no bundle{f' {name!r}' if name else ''}.",
            hint=f"take one of: {nearest(name, known)}." if name and known else f"run `kitsolve export {slug}` first.",
        )
    with translated(f"run `kitsolve export {slug}` again."):
        return read_bundle(workspace.bundle(slug, name or known[-1]))


def _members(runs: list[Run], described: Described) -> list[tuple[Run, int, ModelSpec]]:
    """Run, fold and spec of every finished fold."""
    members = []
    num_features = sum(feature.width for feature in described.features)
    for run in runs:
        for fold in [fold for fold in (*described.folds, ALL) if run.fold_is_done(fold)]:
            spec = fold_spec(run, fold, described.targets, num_features=num_features)
            members.append((run, fold, replace(spec, file=f"{run.name}-fold_{name_fold(fold)}.safetensors")))
    return members


@dataclass(frozen=True)
class Described:
    """What the train table tells a bundle."""

    folds: list[int]
    targets: Targets
    features: tuple[Feature, ...]


def _describe(workspace: Workspace, competition: Competition) -> Described:
    train = read_train_table(workspace, competition.slug)
    return Described(
        sorted(train.fold.unique().tolist()),
        encode_targets(train, competition, workspace.raw(competition.slug)),
        fit_features(train, competition.train.features),
    )


def _make_bundle(
    workspace: Workspace, runs: list[Run], blend: Blend, described: Described, *, models: tuple[ModelSpec, ...]
) -> Bundle:
    # The way of submission may have changed since the training.
    competition = read_competition(workspace, runs[0].competition.slug)
    rules = described.targets.rules(competition)
    sample = read_sample(workspace.raw(competition.slug), rules)
    cv, decoder, prior = score_blend(workspace, runs, blend)
    return Bundle(
        format=BUNDLE_FORMAT,
        name=bundle_name(runs),
        competition=competition.slug,
        archives=tuple(competition.archives),
        test=test_split(competition, sample),
        features=described.features,
        decoder=decoder,
        submission=rules,
        batch_size=PREDICTED_AT_ONCE,
        blend=blend,
        prior=tuple(prior.tolist()),
        models=models,
        card=_make_card(runs, blend, cv),
    )


def _make_card(runs: list[Run], blend: Blend, cv: CvScore) -> dict[str, Any]:
    """What people want to know about the bundle: plain JSON values."""
    competition = runs[0].competition
    return {
        "title": competition.title,
        "cv": asdict(cv),
        "blend": blend.method,
        "runs": [
            {
                "run": run.name,
                "recipe": run.recipe_name,
                "backbone": run.recipe.backbone,
                "image_size": run.recipe.image_size,
                "tta": run.recipe.tta,
                "weight": weight,
            }
            for run, weight in zip(runs, blend.weights, strict=True)
        ],
        "versions": read_json(runs[0].folder / "run.json")["versions"],
    }


def bundle_size_mb(folder: Path) -> float:
    """Megabytes (10^6 bytes) of a bundle's files."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6
