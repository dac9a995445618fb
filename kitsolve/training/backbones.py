"""Backbones by name: what to train, with which weights to start, and the table of `kitsolve models`."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kitsolve.config import Image
from kitsolve.data.targets import Targets
from kitsolve.errors import KitsolveError, nearest
from kitsolve.evaluation.classes import check_classes
from kitsolve.evaluation.fold_files import check_weights
from kitsolve.evaluation.runs import Run, name_fold, read_run
from kitsolve.inference.bundle import Architecture, Preprocessing
from kitsolve.inference.images import CV2_INTERPOLATION
from kitsolve.inference.models import Composed, build_model
from kitsolve.recipe import Recipe
from kitsolve.training.optim import find_head
from kitsolve.training.pretrained import load_pretrained

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def find_architecture(recipe: Recipe, targets: Targets, *, channels: int = 3, num_features: int = 0) -> Architecture:
    """The recipe's backbone with a head for the targets."""
    return Architecture(
        backbone=recipe.backbone,
        num_classes=len(targets.output_names),
        channels=channels,
        num_features=num_features,
        pool=recipe.pool,
        head="cosine" if recipe.loss == "arcface" else "linear",
    )


def build_backbone(recipe: Recipe, architecture: Architecture) -> nn.Module:
    """The recipe's model with a new head, pretrained as it says; one forward pass proves the image sizes.

    Raises:
        KitsolveError: an unknown name, weights that cannot be had, an image size that the backbone refuses.
    """
    check_backbone(recipe.backbone)
    weights = Path(recipe.pretrained).expanduser() if isinstance(recipe.pretrained, str) else None
    try:
        model = build_model(
            architecture,
            image_size=recipe.size,
            pretrained=recipe.pretrained is True and recipe.init_from is None,
            dropped=_dropped(recipe),
        )
    except (OSError, RuntimeError) as error:  # the hub's errors are OSErrors; a wrong URL or checksum a RuntimeError
        raise KitsolveError(
            f"the pretrained weights of {recipe.backbone} cannot be had: {_first_line(error)}",
            hint="check the network, or give a file with --set pretrained=PATH, or --set pretrained=false.",
        ) from error
    except (ValueError, AssertionError, TypeError) as error:
        raise _refused(recipe, error) from error
    backbone = model.backbone if isinstance(model, Composed) else model
    _regularise(backbone, recipe)
    for size in {recipe.size, *((side, side) for side in recipe.train_sizes)}:
        _prove_image_size(backbone, recipe, size, architecture.channels)
    if weights is not None:
        load_pretrained(backbone, weights)
    if recipe.dropout_samples > 1:
        _drop_several(model, recipe)
    return model


def _dropped(recipe: Recipe) -> dict[str, float]:
    """timm's arguments for dropout and stochastic depth; none where the recipe has none."""
    several = recipe.dropout_samples > 1  # their dropout is the training's own
    given = {"drop_rate": 0.0 if several else recipe.drop_rate, "drop_path_rate": recipe.drop_path_rate}
    dropped = {name: rate for name, rate in given.items() if rate > 0}
    if dropped and recipe.backbone.startswith("torchvision/"):
        raise KitsolveError(
            f"backbone {recipe.backbone} has no {next(iter(dropped))}.", hint="take a timm backbone, or leave it out."
        )
    return dropped


def _regularise(model: nn.Module, recipe: Recipe) -> None:
    """Checkpointing of gradients, which changes no weight."""
    if not recipe.grad_checkpointing:
        return
    switch: Callable[[], object] | None = getattr(model, "set_grad_checkpointing", None)
    if switch is None:
        raise KitsolveError(
            f"backbone {recipe.backbone} has no grad_checkpointing.", hint="take a timm backbone, or leave it out."
        )
    switch()


def check_backbone(backbone: str) -> None:
    """Raise KitsolveError with the nearest names where neither library knows `backbone`."""
    library, _, name = backbone.rpartition("/")
    if library not in ("", "timm", "torchvision"):
        raise KitsolveError(
            f"backbone {backbone!r}: unknown library {library!r}.", hint='write "timm/…" or "torchvision/…".'
        )
    known = _torchvision_names() if library == "torchvision" else timm.list_models() + timm.list_pretrained()
    architecture = name if library == "torchvision" else name.partition(".")[0]
    if architecture not in known:
        raise KitsolveError(
            f"there is no backbone {backbone!r}.",
            hint=f"the nearest are: {nearest(name, known)}; `kitsolve models` lists all.",
        )
    if "." in name and name not in known:
        tags = timm.list_pretrained(f"{architecture}.*")
        raise KitsolveError(
            f"backbone {architecture} has no weights {name!r}.", hint=f"the nearest are: {nearest(name, tags)}."
        )


def _prove_image_size(model: nn.Module, recipe: Recipe, size: tuple[int, int], channels: int) -> None:
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, channels, *size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _refused(recipe, error, size) from error
    model.train()


def _refused(recipe: Recipe, error: Exception, size: tuple[int, int] | None = None) -> KitsolveError:
    height, width = size or recipe.size
    shown = height if height == width else [height, width]
    if "pool" in str(error):
        return KitsolveError(_first_line(error), hint='take a convolutional timm backbone, or pool = "auto".')
    return KitsolveError(
        f"backbone {recipe.backbone} refuses image_size = {shown}: {_first_line(error)}",
        hint=f"take image_size = {_own_image_size(recipe.backbone)}, the size it was made for, or another backbone.",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _own_image_size(backbone: str) -> int:
    library, _, name = backbone.rpartition("/")
    if library == "torchvision":
        crop = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size
        return int(crop[0])
    return int(timm.get_pretrained_cfg(name).input_size[-1])


def load_init(model: nn.Module, run: Run, fold: int) -> None:
    """Start from the same fold of the run that `init_from` names: another fold's has seen this one's validation rows.

    Raises:
        KitsolveError: that fold is not trained, damaged, or it is of another model or order of classes.
    """
    assert run.recipe.init_from is not None
    folder = run.folder.parent / run.recipe.init_from
    marker = folder / f"fold_{name_fold(fold)}" / "fold.json"
    if not marker.is_file():
        raise KitsolveError(
            f"init_from = {run.recipe.init_from!r}: its fold {name_fold(fold)} is not trained, there is no {marker}.",
            hint=f"run `kitsolve train {run.competition.slug} --run {run.recipe.init_from} --fold {name_fold(fold)}`, "
            f"or take another: `kitsolve runs {run.competition.slug}` lists them.",
        )
    teacher = read_run(folder)
    if run.classes and len(teacher.classes or ()) == len(run.classes):  # else the head is new
        check_classes(teacher, run.classes)
    load_pretrained(model, check_weights(teacher, fold))


class SeveralDropouts(nn.Linear):
    """A linear head that in training gives the logits of `samples` dropouts of its input, one after the other.

    (samples * rows, outputs); the loss averages them (Inoue 2019, arXiv:1905.09788). Its tensors are the plain head's.
    """

    samples: Any
    rate: Any

    def forward(self, embedding: Tensor) -> Tensor:
        """(rows, inputs) -> (samples * rows, outputs), outside of training (rows, outputs)."""
        if self.training:
            embedding = nn.functional.dropout(embedding.repeat(self.samples, 1), self.rate)
        return super().forward(embedding)


def _drop_several(model: nn.Module, recipe: Recipe) -> None:
    """Let the head be a SeveralDropouts."""
    head = find_head(model)
    if type(head) is not nn.Linear:
        raise KitsolveError(
            f"dropout_samples needs a linear head; that of {recipe.backbone} is a {type(head).__name__}.",
            hint='leave it out, or set pool = "avg".',
        )
    head.__class__ = SeveralDropouts
    several = cast(SeveralDropouts, head)
    several.samples, several.rate = recipe.dropout_samples, recipe.drop_rate


def find_preprocessing(recipe: Recipe, image: Image | None = None) -> Preprocessing:
    """Normalisation and interpolation of the backbone's own pretrained config, at the recipe's image size.

    Of other channels than RGB each one has the mean of the three.

    Args:
        image: how the competition's images are read; RGB by default.
    """
    reading = (image or Image()).reading
    channels = reading.pop("channels")
    library, _, name = recipe.backbone.rpartition("/")
    if library == "torchvision":
        transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        mean, std, interpolation = transforms.mean, transforms.std, transforms.interpolation.value
    else:
        config = timm.get_pretrained_cfg(name)
        mean, std, interpolation = config.mean, config.std, config.interpolation
    known = interpolation if interpolation in CV2_INTERPOLATION else "bicubic"
    if channels != 3:
        mean, std = [sum(mean) / 3] * channels, [sum(std) / 3] * channels
    return Preprocessing(recipe.size, tuple(mean), tuple(std), known, recipe.resize, **reading)


@dataclass(frozen=True)
class BackboneFacts:
    """A line of `kitsolve models`; top-1 and top-5 are ImageNet accuracies in percent."""

    name: str
    params_m: float
    image_size: int
    top1: float | None
    top5: float | None
    licence: str | None


def list_backbones(pattern: str = "*") -> Iterator[BackboneFacts]:
    """The backbones whose name holds `pattern` (with wildcards: matches it), torchvision's first, one at a time.

    Raises:
        KitsolveError: none does; names the nearest.
    """
    known = [f"torchvision/{name}" for name in _torchvision_names()] + [f"timm/{name}" for name in timm.list_models()]
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    names = fnmatch.filter(known, wanted)
    if not names:
        raise KitsolveError(f"no backbone matches {pattern!r}.", hint=f"the nearest are: {nearest(pattern, known)}.")
    return (_torchvision_facts(name) if name.startswith("torchvision/") else _timm_facts(name) for name in names)


def _torchvision_names() -> list[str]:
    return list(torchvision.models.list_models(module=torchvision.models))


def _torchvision_facts(name: str) -> BackboneFacts:
    meta = torchvision.models.get_model_weights(name.removeprefix("torchvision/")).DEFAULT.meta
    scores = meta["_metrics"].get("ImageNet-1K", {})
    # torchvision's code is BSD-3-Clause; it states no licence for the weights.
    return BackboneFacts(
        name,
        meta["num_params"] / 1e6,
        _own_image_size(name),
        scores.get("acc@1"),
        scores.get("acc@5"),
        None,
    )


class _WithoutInit(TorchFunctionMode):
    """Leaves out everything that fills a tensor in place: counting parameters takes a third of the time without it."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Give the tensor back as it is where it should be filled."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        fills = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        return [*args, *kwargs.values()][0] if fills else func(*args, **kwargs)


def _timm_facts(name: str) -> BackboneFacts:
    config = timm.get_pretrained_cfg(name.removeprefix("timm/"))
    with torch.device("meta"), _WithoutInit():
        params = sum(tensor.numel() for tensor in timm.create_model(name.removeprefix("timm/")).parameters())
    return BackboneFacts(name, params / 1e6, config.input_size[-1], None, None, config.license)
