"""The choices of a training, read strictly from TOML: `Recipe`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from kitsolve.errors import KitsolveError, nearest
from kitsolve.inference.bundle import TTA, TURNED
from kitsolve.settings import Strict, read_toml, validate
from kitsolve.workspace import RECIPES, Workspace


class Recipe(Strict):
    """The choices of one training: everything that may change the result, and nothing else."""

    # The model.
    backbone: str
    pretrained: bool | str = Field(default=True, description="true, false, or a .safetensors or .pth file")
    init_from: str | None = Field(default=None, description="a run, whose state_dict of the same fold is the start")
    pool: Literal["auto", "avg", "max", "catavgmax", "gem"] = Field(
        default="auto", description="auto: the backbone's own; the others: timm"
    )
    drop_rate: float = Field(default=0.0, ge=0, lt=1, description="dropout before the head; timm")
    dropout_samples: int = Field(default=1, ge=1, description="dropouts of a row whose losses are averaged")
    drop_path_rate: float = Field(default=0.0, ge=0, lt=1, description="stochastic depth; timm")
    grad_checkpointing: bool = Field(default=False, description="less memory for more time; timm")
    compile: bool = Field(default=False, description="torch.compile: a slow start, then faster steps on a GPU")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    # Images.
    image_size: int | tuple[int, int] = Field(default=224, description="in px; or [height, width]")
    resize: Literal["squash", "crop", "letterbox"] = "squash"
    train_sizes: tuple[int, ...] = Field(default=(), description="image sizes in px, of as many parts of the epochs")
    cache: Literal["auto", "none", "raw", "png", "jpeg"] = Field(
        default="auto", description="resized train images on disk; auto: raw where there is room, else jpeg"
    )
    augment: Literal["none", "light", "medium", "heavy", "prepare:augmentation"] = "medium"
    augment_ramp_epochs: int = Field(default=0, ge=0, description="first epochs: ever more images are augmented")
    augment_off_epochs: int = Field(default=0, ge=0, description="last epochs without augmentation")
    mixup: float = Field(default=0.0, ge=0, description="alpha of the beta distribution; 0: no mixup")
    cutmix: float = Field(default=0.0, ge=0, description="alpha of the beta distribution; 0: no cutmix")
    mix_prob: float = Field(default=1.0, ge=0, le=1, description="share of the batches that are mixed")
    mix_off_epochs: int = Field(default=0, ge=0, description="last epochs without mixing")
    pseudo: str | None = Field(default=None, description="a run of `kitsolve pseudo`, whose test labels are learned")

    # The loss.
    loss: Literal["auto", "focal", "smooth_l1", "corn", "arcface"] = "auto"
    margin: float = Field(default=0.3, ge=0, lt=1.5, description="of arcface, in radians")
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)

    # Epochs and steps.
    epochs: int = Field(default=8, ge=1)
    patience: int = Field(
        default=0, ge=0, description="stop after so many epochs without a best one, by score or else by loss; 0: never"
    )
    batch_size: int | Literal["auto"] = Field(default=32, description="auto: as much as the GPU's memory holds")
    accumulate: int = Field(default=1, ge=1, description="parts of a batch that go through the model one by one")
    sampler: Literal["uniform", "balanced"] = "uniform"
    optimizer: str = "adamw"
    lr: float = Field(default=3e-4, gt=0)
    head_lr: float = Field(default=1.0, gt=0, description="times lr")
    layer_decay: float = Field(default=1.0, gt=0, le=1, description="lr of a layer, times that of the next")
    weight_decay: float = Field(default=0.02, ge=0)
    schedule: Literal["cosine", "one_cycle", "linear", "constant"] = "cosine"
    warmup_epochs: float = Field(default=1.0, ge=0)
    warmup_share: float | None = Field(default=None, ge=0, lt=1, description="of all steps, in place of warmup_epochs")
    freeze_epochs: int = Field(default=0, ge=0, description="first epochs in which the head alone learns")
    clip_grad: float = Field(default=1.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    ema_decay: float = Field(default=0.998, ge=0, lt=1, description="0: no EMA")
    best_epoch: Literal["per_fold", "common", "last"] = Field(
        default="per_fold", description="by each fold's score; common: one for all folds, by their mean score"
    )
    soup: int = Field(default=1, ge=1, description="best epochs whose mean is taken where it scores better")
    seed: int = Field(default=42, ge=0)

    # Prediction.
    tta: str | tuple[str, ...] = Field(default="hflip", description="none, hflip, flips, d4, or a list of views")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images that count, in px."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the TTA views."""
        return TTA[self.tta] if isinstance(self.tta, str) else self.tta

    @field_validator("image_size", "train_sizes", "tta", mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value  # TOML and JSON know no tuples

    @field_validator("image_size", "train_sizes", "batch_size")
    @classmethod
    def _is_positive(cls, value: object, info: ValidationInfo) -> object:
        least = 2 if info.field_name == "batch_size" else 1
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and number < least:
                raise ValueError(f"must be at least {least}")
        return value

    @field_validator("tta")
    @classmethod
    def _views_are_known(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str) and value not in TTA:
            raise ValueError(f"must be one of {', '.join(TTA)}, or a list of views")
        if not isinstance(value, str) and (not set(value) <= set(TTA["d4"]) or len(set(value)) < max(1, len(value))):
            raise ValueError(f"must list different views of {', '.join(TTA['d4'])}")
        return value

    @model_validator(mode="after")
    def _choices_fit(self) -> Recipe:
        if len(set(self.size)) > 1 and (self.train_sizes or set(self.views) & set(TURNED)):
            raise ValueError(f"height and width must be equal for train_sizes and for the views {', '.join(TURNED)}")
        if self.dropout_samples > 1 and not self.drop_rate:
            raise ValueError("dropout_samples needs a drop_rate")
        if self.best_epoch != "per_fold" and (self.soup > 1 or self.patience):
            raise ValueError("soup and patience go by each fold's own score, for which best_epoch must be per_fold")
        return self


def read_recipe(workspace: Workspace, slug: str, name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe `name` of `slug`, with what it extends and the overrides ("lr=1e-3") applied.

    The competition's own recipe of that name wins over the built-in one, which it may extend under the same name.
    """
    layers = _recipe_layers(workspace.competition(slug) / "recipes", name)
    recipe: dict[str, Any] = {}
    for layer in reversed(layers):
        recipe |= layer
    recipe |= _parse_overrides(overrides)
    return validate(
        Recipe, recipe, source=f"recipe {name}" + (f" with --set {' '.join(overrides)}" if overrides else "")
    )


def change_recipe(recipe: Recipe, overrides: Sequence[str], *, source: str) -> Recipe:
    """A recipe with the overrides ("lr=1e-3") applied; `source` names it where they do not fit."""
    if not overrides:
        return recipe
    values = recipe.model_dump(mode="json") | _parse_overrides(overrides)
    return validate(Recipe, values, source=f"{source} with --set {' '.join(overrides)}")


def _recipe_layers(own: Path, name: str) -> list[dict[str, Any]]:
    """The recipe's own keys, then those of what it extends, to the end of the chain."""
    layers: list[dict[str, Any]] = []
    visited: list[Path] = []
    extended: str | None = name
    while extended:
        path = _find_recipe(own, extended, visited)
        visited.append(path)
        layer = read_toml(path)
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
