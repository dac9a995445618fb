"""`kitsolve export`, first half: finished folds become a bundle, a folder that predicts without kitsolve."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kitsolve.config import Competition, read_competition, require_prepare
from kitsolve.data.features import fit_features
from kitsolve.data.fetch import link_or_copy, read_train_table
from kitsolve.data.table import test_split
from kitsolve.data.targets import Targets, encode_targets
from kitsolve.errors import KitsolveError, nearest, translated
from kitsolve.evaluation.blend import read_blend
from kitsolve.evaluation.fold_files import check_weights
from kitsolve.evaluation.run_tables import check_tables
from kitsolve.evaluation.runs import ALL, Run, find_run, name_fold
from kitsolve.evaluation.score import CvScore, score_blend
from kitsolve.inference.bundle import (
    BUNDLE_FORMAT,
    Blend,
    Bundle,
    Feature,
    ModelSpec,
    check_files,
    file_sha256,
    read_bundle,
)
from kitsolve.inference.testset import read_sample
from kitsolve.provenance import text_sha256
from kitsolve.submission.half import measure_half, write_half
from kitsolve.submission.kaggle_image import check_backbones, read_kaggle_image
from kitsolve.submission.standalone import inference_file
from kitsolve.submission.wheel import pack_timm
from kitsolve.training.job import choose_machine, fold_spec
from kitsolve.workspace import Workspace, read_json, write_json

PREDICTED_AT_ONCE = 32
"""Images that go through a model together."""


@dataclass(frozen=True)
class Choices:
    """How a bundle is exported: weights in float16, the timm that trained them beside them, with torch.compile."""

    half: bool = False
    attach_timm: bool = False
    compiled: bool = False


def export_bundle(workspace: Workspace, slug: str, names: list[str], *, choices: Choices | None = None) -> Bundle:
    """The bundle of the named runs, or of the newest finished one: every finished fold is a member with equal weight,
    and so is what was trained on all rows. Runs are mixed as `kitsolve blend` has chosen, else by their mean.

    A bundle that is complete is left as it is.

    Args:
        choices: None: those of the bundle that is there.

    Raises:
        KitsolveError: no such run, or none that is finished; a backbone that Kaggle does not have; float16 weights that
            change the out-of-fold predictions.
    """
    named = [find_run(workspace, slug, name) for name in dict.fromkeys(names)] or [find_run(workspace, slug)]
    blend = read_blend(workspace, slug, named)
    runs = [run for run in named if run.name in blend.runs]
    check_tables(workspace, *runs)
    name = bundle_name(workspace, runs)
    folder = workspace.bundle(slug, name)
    choices = choices or _earlier_choices(folder)
    by_notebook = read_competition(workspace, slug).submission.via == "notebook"
    if by_notebook and not choices.attach_timm:
        check_backbones([run.recipe.backbone for run in runs], read_kaggle_image(), slug=slug)
    staged = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        described = _describe(workspace, runs[0].competition)
        members = _write_weights(runs, described, staged, half=choices.half)
        files = _write_files(workspace, runs, staged, choices)
        models = tuple(spec for _, _, spec in members)
        bundle = _make_bundle(workspace, runs, blend, described, name=name, models=models, files=files, choices=choices)
        if _holds(folder, bundle):
            return read_bundle(folder)
        if choices.half:
            measured = measure_half(
                workspace, members, blend, staged, machine=choose_machine(), batch_size=PREDICTED_AT_ONCE
            )
            bundle = replace(bundle, card={**bundle.card, MEASURED: asdict(measured)})
        bundle = replace(bundle, card={**bundle.card, EXPORTED: datetime.now(UTC).isoformat(timespec="microseconds")})
        write_json(staged / "bundle.json", asdict(bundle))
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return bundle


MEASURED = "half"
"""In the card of a bundle with float16 weights: what they change."""
EXPORTED = "exported"
"""In the card: when, UTC, ISO 8601."""


def _earlier_choices(folder: Path) -> Choices:
    """Those of the bundle in a folder; the default ones where there is none."""
    try:
        return Choices(**read_bundle(folder).card["choices"])
    except (ValueError, KeyError, TypeError):
        return Choices()


def _holds(folder: Path, bundle: Bundle) -> bool:
    """Whether a folder is this very bundle, whatever was measured of it, and whenever; not one of another format."""
    try:
        held = read_bundle(folder)
        check_files(held, folder)
    except ValueError:
        return False
    card = {name: value for name, value in held.card.items() if name not in (MEASURED, EXPORTED)}
    return replace(held, card=card) == bundle


def bundle_name(workspace: Workspace, runs: list[Run]) -> str:
    """The run's name; of several the first run's, how many more there are, and a mark of which ones.

    An older version left out the mark: a bundle of that name, of these very runs, keeps it.
    """
    if len(runs) == 1:
        return runs[0].name
    name, names = f"{runs[0].name}-and-{len(runs) - 1}-more", [run.name for run in runs]
    if _runs_of(workspace.bundle(runs[0].competition.slug, name)) == names:
        return name
    return f"{name}-{text_sha256(*sorted(names))[:6]}"


def _runs_of(folder: Path) -> list[str]:
    try:
        return [run["run"] for run in read_bundle(folder).card["runs"]]
    except (ValueError, KeyError):
        return []


def find_bundle(workspace: Workspace, slug: str, name: str | None = None) -> Bundle:
    """Bundle `name`, or the one that was exported last.

    Raises:
        KitsolveError: there is none.
    """
    folders = [path.parent for path in workspace.bundle(slug, "x").parent.glob("*/bundle.json")]
    known = sorted((path.name for path in folders), key=lambda name: (_exported(workspace.bundle(slug, name)), name))
    if not known or (name is not None and name not in known):
        raise KitsolveError(
            f"{slug} has no bundle{f' {name!r}' if name else ''}.",
            hint=f"take one of: {nearest(name, known)}." if name and known else f"run `kitsolve export {slug}` first.",
        )
    with translated(f"run `kitsolve export {slug}` again."):
        return read_bundle(workspace.bundle(slug, name or known[-1]))


def _exported(folder: Path) -> str:
    """When a bundle was exported, as its card says; "" where an older version has not said it."""
    try:
        return str(read_bundle(folder).card.get(EXPORTED, ""))
    except (ValueError, AttributeError):
        return ""


def _write_weights(
    runs: list[Run], described: Described, folder: Path, *, half: bool
) -> list[tuple[Run, int, ModelSpec]]:
    """Run, fold and description of every finished fold, whose weights are then in the folder."""
    members = []
    num_features = sum(feature.width for feature in described.features)
    for run in runs:
        for fold in [fold for fold in (*described.folds, ALL) if run.fold_is_done(fold)]:
            spec = fold_spec(run, fold, described.targets, num_features=num_features)
            path = folder / f"{run.name}-fold_{name_fold(fold)}.safetensors"
            (write_half if half else link_or_copy)(check_weights(run, fold), path)
            members.append((run, fold, replace(spec, file=path.name, sha256=file_sha256(path))))
    return members


def _write_files(workspace: Workspace, runs: list[Run], folder: Path, choices: Choices) -> dict[str, str]:
    """What stands beside the weights, with its sha256: the code that predicts, and what the competition needs."""
    paths = [folder / "kitsolve_inference.py"]
    paths[0].write_text(inference_file(), encoding="utf-8")
    slug = runs[0].competition.slug
    if read_competition(workspace, slug).submission.kind == "prepare:submission":
        require_prepare(workspace, slug, "submission")
        paths.append(folder / "prepare.py")
        shutil.copyfile(workspace.competition(slug) / "prepare.py", paths[-1])
    if choices.attach_timm:
        paths.append(pack_timm(folder, trained_with=read_json(runs[0].folder / "run.json")["versions"]["timm"]))
    return {path.name: file_sha256(path) for path in paths}


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
    workspace: Workspace,
    runs: list[Run],
    blend: Blend,
    described: Described,
    *,
    name: str,
    models: tuple[ModelSpec, ...],
    files: dict[str, str],
    choices: Choices,
) -> Bundle:
    # The way of submission may have changed since the training.
    competition = read_competition(workspace, runs[0].competition.slug)
    rules = described.targets.rules(competition, workspace.raw(competition.slug))
    sample = read_sample(workspace.raw(competition.slug), rules)
    cv, decoder, prior = score_blend(workspace, runs, blend)
    return Bundle(
        format=BUNDLE_FORMAT,
        name=name,
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
        files=files,
        compiled=choices.compiled,
        card={**_make_card(runs, blend, cv), "choices": asdict(choices)},
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
                "tta": run.recipe.tta if isinstance(run.recipe.tta, str) else ", ".join(run.recipe.tta),
                "weight": weight,
            }
            for run, weight in zip(runs, blend.weights, strict=True)
        ],
        "versions": read_json(runs[0].folder / "run.json")["versions"],
    }


def describe_export(folder: Path, notebook: Path, bundle: Bundle) -> dict[str, Any]:
    """Where a bundle and its notebook are, how large the weights are, and what float16 has changed: JSON values."""
    weights_mb = sum((folder / spec.file).stat().st_size for spec in bundle.models) / 1e6
    described = {"bundle": str(folder), "notebook": str(notebook), "models": len(bundle.models)}
    described |= {"weights": f"{weights_mb:,.1f} MB"}
    return described | {name: value for name, value in bundle.card.items() if name == MEASURED}
