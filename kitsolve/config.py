"""Facts and choices, read strictly from TOML: `Competition` and `Recipe`."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kitsolve.errors import KitsolveError, nearest
from kitsolve.metrics import METRICS
from kitsolve.workspace import RECIPES, Workspace

Settings = TypeVar("Settings", bound="Strict")


class Strict(BaseModel):
    """Frozen, without unknown keys and without silent conversions: "3" is not 3."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Rows(Strict):
    """Where the rows of a split are: a CSV file below the raw folder."""

    csv: str


class Train(Strict):
    """The train split: its rows, and which columns hold the id, the label and the image's path."""

    rows: Rows
    id: str
    target: str
    image: str


class Test(Strict):
    """The test split: its rows are the ids of the sample submission."""

    image: str


class Folds(Strict):
    """How the train rows are split for cross-validation."""

    scheme: Literal["stratified", "plain"] = "stratified"
    count: int = Field(default=5, ge=2)
    seed: int = Field(default=42, ge=0)
    shuffle: bool = True


class Submission(Strict):
    """What the competition wants to get, and by which way.

    `machine_shape` is Kaggle's name for the machine that runs the notebook of a code competition.
    """

    kind: Literal["label", "probability", "class_probabilities"]
    via: Literal["csv", "notebook", "local"]
    sample: str = "sample_submission.csv"
    machine_shape: str = "NvidiaTeslaT4"


class Competition(Strict):
    """The facts of one competition; `slug` is the name of its folder.

    `archives` are nested in the raw files: "train.zip" is unpacked as train/.
    """

    slug: str
    title: str
    task: Literal["binary", "multiclass", "ordinal"]
    metric: str
    archives: list[str] = []
    train: Train
    test: Test
    folds: Folds = Folds()
    submission: Submission

    def for_training(self) -> Competition:
        """The facts without those that change neither tables nor training: title and way of submission."""
        way = {"via": "local", "machine_shape": ""}
        return self.model_copy(update={"title": "", "submission": self.submission.model_copy(update=way)})

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, name: str) -> str:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; known: {nearest(name, METRICS)}")
        return name


class Recipe(Strict):
    """The choices of one training: everything that may change the result, and nothing else."""

    backbone: str
    pretrained: bool | str = True
    image_size: int = Field(default=224, ge=1)
    epochs: int = Field(default=8, ge=1)
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    clip_grad: float = Field(default=1.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    ema_decay: float = Field(default=0.998, ge=0, lt=1, description="0: no EMA")
    augment: Literal["none", "light", "medium", "heavy"] = "medium"
    tta: Literal["none", "hflip", "flips", "d4"] = "hflip"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    seed: int = Field(default=42, ge=0)


def read_competition(workspace: Workspace, slug: str) -> Competition:
    """The facts of `slug`.

    Raises:
        KitsolveError: no such competition, or a mistake in its file.
    """
    path = workspace.competition(slug) / "competition.toml"
    return _validate(Competition, {"slug": slug, **_read_toml(path)}, source=str(path))


def read_recipe(workspace: Workspace, slug: str, name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe `name` of `slug`, with what it extends and the overrides ("lr=1e-3") applied.

    The competition's own recipe of that name wins over the built-in one, which it may extend under the same name.
    """
    layers = _recipe_layers(workspace.competition(slug) / "recipes", name)
    recipe: dict[str, Any] = {}
    for layer in reversed(layers):
        recipe |= layer
    recipe |= _parse_overrides(overrides)
    return _validate(
        Recipe, recipe, source=f"recipe {name}" + (f" with --set {' '.join(overrides)}" if overrides else "")
    )


def load_prepare(workspace: Workspace, slug: str) -> ModuleType | None:
    """The competition's prepare.py, run as a module; None where facts alone say everything."""
    path = workspace.competition(slug) / "prepare.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"kitsolve_prepare_{slug.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _recipe_layers(own: Path, name: str) -> list[dict[str, Any]]:
    """The recipe's own keys, then those of what it extends, to the end of the chain."""
    layers: list[dict[str, Any]] = []
    visited: list[Path] = []
    extended: str | None = name
    while extended:
        path = _find_recipe(own, extended, visited)
        visited.append(path)
        layer = _read_toml(path)
        extended = layer.pop("extends", None)
        layers.append(layer)
    return layers


def _find_recipe(own: Path, name: str, visited: list[Path]) -> Path:
    candidates = [own / f"{name}.toml", RECIPES / f"{name}.toml"]
    for path in candidates:
        if path.is_file() and path not in visited:
            return path
    if any(path in visited for path in candidates):
        raise KitsolveError(f"recipe {name!r} extends itself.", hint=f"correct `extends` in {visited[-1]}.")
    known = [path.stem for folder in (own, RECIPES) for path in folder.glob("*.toml")]
    raise KitsolveError(
        f"there is no recipe {name!r}.", hint=f"take one of: {nearest(name, known)}; or write {candidates[0]}."
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KitsolveError(f"{path} is not valid TOML: {error}.", hint="correct that line.") from error


def _parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`key=value` with a TOML value; a bare word is a string."""
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise KitsolveError(f"--set {override} has no value.", hint="write --set key=value, as in --set lr=1e-4.")
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text
    return values


def _validate(model: type[Settings], values: dict[str, Any], *, source: str) -> Settings:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem, hint = _explain(error, model)
        raise KitsolveError(f"{source}: {problem}", hint=hint) from error


def _explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """The first mistake as a problem and its repair; an unknown key first, since a typo also leaves its key missing."""
    first = min(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    where = [str(part) for part in first["loc"] if not isinstance(part, int)]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, where[:-1])
        return f"unknown key {key!r}.", f"the nearest known keys are: {nearest(where[-1], known)}."
    if first["type"] == "missing":
        return f"the key {key!r} is missing.", f"add {where[-1]} = …"
    return f"{key} = {first['input']!r}: {first['msg']}.", f"correct the value of {key}."


def _fields_at(model: type[BaseModel], where: Sequence[str]) -> Mapping[str, object]:
    """The fields of the table that `where` leads to."""
    for key in where:
        nested = model.model_fields[key].annotation
        assert isinstance(nested, type)
        assert issubclass(nested, BaseModel)
        model = nested
    return model.model_fields
