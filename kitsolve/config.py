"""Facts and choices, read strictly from TOML: `Competition` and `Recipe`."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeGuard, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kitsolve.errors import KitsolveError, nearest
from kitsolve.metrics import find_metric
from kitsolve.workspace import RECIPES, Workspace

Settings = TypeVar("Settings", bound="Strict")


class Strict(BaseModel):
    """Frozen, without unknown keys and without silent conversions: "3" is not 3."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Rows(Strict):
    """Where the rows of a split are, below the raw folder: one of csv, glob, coco or records.

    `csv`: tables, one after the other. `glob`: the files that match, with the column `path` (relative to the raw
    folder) and one for each named group of the regular expression `pattern`, which is searched in it. `coco`: JSON
    objects whose lists `images` and `annotations` are joined on the keys `on` (of the image, of the annotation; by
    default id and image_id); an image with several annotations gives a row for each. `records`: JSON lists of objects;
    `arrays`: their keys that hold the image as numbers, which becomes arrays/ID.npy with a channel for each.
    """

    csv: str | list[str] | None = None
    glob: str | None = None
    pattern: str | None = None
    coco: str | list[str] | None = None
    on: list[str] | None = Field(default=None, min_length=2, max_length=2)
    records: str | list[str] | None = None
    arrays: list[str] = []
    encoding: str = "utf-8"

    @model_validator(mode="after")
    def _is_one_kind(self) -> Rows:
        given = [name for name in ("csv", "glob", "coco", "records") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"rows need one of csv, glob, coco or records, not {' and '.join(given) or 'none'}")
        for name, kind in (("pattern", "glob"), ("on", "coco"), ("arrays", "records")):
            if getattr(self, name) and kind not in given:
                raise ValueError(f"rows of {given[0]} have no {name}, only those of {kind}")
        return self

    @property
    def files(self) -> list[str]:
        """The files to read; none for `glob`."""
        given = self.csv or self.coco or self.records or []
        return [given] if isinstance(given, str) else given


class LabelList(Strict):
    """A target column that holds several labels in a cell."""

    column: str
    separator: str = " "


class Train(Strict):
    """The train split: its rows, and which columns hold the id, the label and the image's path.

    `target` is a column, a list of one-hot or multi-hot columns (for kl_divergence: of votes or shares), or a
    LabelList. `group`: rows of equal value stay in one fold. `positive`: the value of a binary target that counts as
    positive, else the greater one. `unknown`: the label of a retrieval task that means "none of the others". `order`:
    the labels of an ordinal task from the lowest to the highest, where they are no numbers. `range`: the smallest and
    largest value of a regression target. `features`: columns of train and test that are given to the model beside the
    image.
    """

    rows: Rows
    id: str
    target: str | list[str] | LabelList
    image: str
    group: str | None = None
    positive: str | None = None
    unknown: str | None = None
    order: list[str] | None = None
    range: list[float] | None = Field(default=None, min_length=2, max_length=2)
    features: list[str] = []

    @property
    def targets(self) -> list[str]:
        """The columns that hold the labels."""
        if isinstance(self.target, LabelList):
            return [self.target.column]
        return [self.target] if isinstance(self.target, str) else self.target


class Test(Strict):
    """The test split: its rows are the ids of the sample submission; `rows`, joined on the column `id`, add columns."""

    image: str
    rows: Rows | None = None
    id: str | None = None

    @field_validator("rows")
    @classmethod
    def _rows_are_files(cls, rows: Rows | None) -> Rows | None:
        if rows is not None and not rows.files:
            raise ValueError("the test rows are the sample's ids: files add columns to them, a glob cannot")
        return rows


class Image(Strict):
    """How images are read: 3 channels are RGB, 1 is grey; arrays (.npy) may have any number."""

    channels: int = Field(default=3, ge=1)


class Folds(Strict):
    """How the train rows are split for cross-validation.

    `duplicates` = "group" keeps near-duplicate images in one fold.
    """

    scheme: Literal[
        "stratified", "group", "stratified_group", "multilabel_stratified", "binned_stratified", "plain"
    ] = "stratified"
    count: int = Field(default=5, ge=2)
    seed: int = Field(default=42, ge=0)
    shuffle: bool = True
    duplicates: Literal["keep", "group"] = "keep"


class Submission(Strict):
    """What the competition wants to get, and by which way.

    `top_k`: labels a row of kind top_k. `separator`: between the labels of kinds label_list and top_k.
    `machine_shape` is Kaggle's name for the machine that runs the notebook of a code competition.
    """

    kind: Literal["label", "probability", "class_probabilities", "label_list", "top_k", "value", "prepare:submission"]
    via: Literal["csv", "notebook", "local"]
    sample: str = "sample_submission.csv"
    top_k: int = Field(default=5, ge=1)
    separator: str = " "
    machine_shape: str = "NvidiaTeslaT4"


TASK_KINDS = {
    "binary": ("label", "probability", "class_probabilities"),
    "multiclass": ("label", "class_probabilities", "top_k"),
    "multilabel": ("label_list", "class_probabilities"),
    "ordinal": ("label", "value"),
    "regression": ("value",),
    "retrieval": ("top_k", "label"),
}
"""Task -> the kinds of submission that can be made of its predictions."""
TASK_FORMS = {
    "binary": ("probs", "labels"),
    "multiclass": ("probs", "labels", "ranking"),
    "multilabel": ("probs", "labels"),
    "ordinal": ("probs", "labels"),
    "regression": ("values",),
    "retrieval": ("ranking", "labels"),
}
"""Task -> the forms of prediction that its metric may want."""
ONLY_FOR = {"positive": "binary", "unknown": "retrieval", "order": "ordinal", "range": "regression"}
"""Key of [train] -> the task that has it."""


class Competition(Strict):
    """The facts of one competition; `slug` is the name of its folder.

    `archives` are nested in the raw files: "train.zip" is unpacked as train/.
    """

    slug: str
    title: str
    task: Literal["binary", "multiclass", "multilabel", "ordinal", "regression", "retrieval"]
    metric: str
    archives: list[str] = []
    image: Image = Image()
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
        if name != "prepare:metric":
            find_metric(name)
        return name

    @model_validator(mode="after")
    def _facts_fit(self) -> Competition:
        for problem in self._contradictions():
            raise ValueError(problem)
        return self

    def _contradictions(self) -> Iterator[str]:
        kind, scheme, task = self.submission.kind, self.folds.scheme, self.task
        if kind != "prepare:submission" and kind not in TASK_KINDS[task]:
            yield f"a {task} task is submitted as {' or '.join(TASK_KINDS[task])}, not as {kind}"
        if self.metric != "prepare:metric" and find_metric(self.metric).wants not in TASK_FORMS[task]:
            yield f"the metric {self.metric} does not score a {task} task"
        for name, only in ONLY_FOR.items():
            if getattr(self.train, name) is not None and task != only:
                yield f"train.{name} is for {only} tasks"
        if scheme in ("group", "stratified_group") and self.train.group is None and self.folds.duplicates == "keep":
            yield f'folds.scheme = "{scheme}" needs train.group'
        if scheme == "multilabel_stratified" and task != "multilabel":
            yield f'folds.scheme = "{scheme}" is for multilabel tasks'
        if scheme == "binned_stratified" and task != "regression":
            yield f'folds.scheme = "{scheme}" is for regression tasks'


class Recipe(Strict):
    """The choices of one training: everything that may change the result, and nothing else."""

    backbone: str
    pretrained: bool | str = True
    image_size: int = Field(default=224, ge=1)
    epochs: int = Field(default=8, ge=1)
    patience: int = Field(default=0, ge=0, description="stop after so many epochs without a best one; 0: never")
    batch_size: int = Field(default=32, ge=2)
    accumulate: int = Field(default=1, ge=1, description="parts of a batch that go through the model one by one")
    sampler: Literal["uniform", "balanced"] = "uniform"
    optimizer: str = "adamw"
    lr: float = Field(default=3e-4, gt=0)
    head_lr: float = Field(default=1.0, gt=0, description="times lr")
    layer_decay: float = Field(default=1.0, gt=0, le=1, description="lr of a layer, times that of the next")
    weight_decay: float = Field(default=0.02, ge=0)
    schedule: Literal["cosine", "one_cycle", "linear", "constant"] = "cosine"
    warmup_epochs: float = Field(default=1.0, ge=0)
    freeze_epochs: int = Field(default=0, ge=0, description="first epochs in which the head alone learns")
    clip_grad: float = Field(default=1.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    loss: Literal["auto", "focal", "smooth_l1"] = "auto"
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0, description="alpha of the beta distribution; 0: no mixup")
    cutmix: float = Field(default=0.0, ge=0, description="alpha of the beta distribution; 0: no cutmix")
    mix_prob: float = Field(default=1.0, ge=0, le=1, description="share of the batches that are mixed")
    mix_off_epochs: int = Field(default=0, ge=0, description="last epochs without mixing")
    drop_rate: float = Field(default=0.0, ge=0, lt=1, description="dropout before the head; timm")
    drop_path_rate: float = Field(default=0.0, ge=0, lt=1, description="stochastic depth; timm")
    grad_checkpointing: bool = Field(default=False, description="less memory for more time; timm")
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


def check_facts(values: dict[str, Any]) -> Competition:
    """The competition of facts that do not come from its file as they are.

    Raises:
        KitsolveError: they do not fit together.
    """
    return _validate(Competition, values, source=f"the facts of {values['slug']}")


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


def require_prepare(workspace: Workspace, slug: str, name: str) -> Callable[..., Any]:
    """The function `name` of the competition's prepare.py.

    Raises:
        KitsolveError: there is none.
    """
    found: Callable[..., Any] | None = getattr(load_prepare(workspace, slug), name, None)
    if found is None:
        path = workspace.competition(slug) / "prepare.py"
        raise KitsolveError(f"{path} has no function {name}.", hint=f"write it, as the facts say prepare:{name}.")
    return found


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
    # A value that may be of several types has their names on its way.
    where = [part for part in first["loc"] if isinstance(part, str) and part.isidentifier() and part not in TYPES]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, where[:-1])
        return f"unknown key {key!r}.", f"the nearest known keys are: {nearest(where[-1], known)}."
    if first["type"] == "missing":
        return f"the key {key!r} is missing.", f"add {where[-1]} = …"
    message = first["msg"].removeprefix("Value error, ")
    if isinstance(first["input"], dict):  # several keys together
        return f"{key}: {message}." if key else f"{message}.", "correct these keys."
    return f"{key} = {first['input']!r}: {message}.", f"correct the value of {key}."


TYPES = ("str", "LabelList")


def _fields_at(model: type[BaseModel], where: Sequence[str]) -> Mapping[str, object]:
    """The fields of the table that `where` leads to."""
    for key in where:
        annotation = model.model_fields[key].annotation
        nested = [kind for kind in (annotation, *get_args(annotation)) if _is_model(kind)]
        assert nested, f"{key} holds no table"
        model = nested[0]
    return model.model_fields


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
