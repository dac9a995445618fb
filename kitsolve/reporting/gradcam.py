"""Where a model looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kitsolve.inference.models import Composed

FEWEST_CELLS = 4
"""A map of fewer cells across says nothing: of small images an earlier layer's is taken."""
BRIGHTEST = 225
"""Of 255 colours; the last ones are dark again."""
MOST_PREFIXES = 8
"""Tokens in front of those of the patches: the class's and registers."""


def explain(
    model: nn.Module, image: Tensor, *, output: int | None, sign: int = 1, features: Tensor | None = None
) -> NDArray[np.float32] | None:
    """How much each part of an image speaks for a logit; None where the model keeps no map of the image.

    The last layer's maps of features are summed with the mean gradient of the logit over each map as its weight; what
    speaks against it is cut off. Last is the last layer whose map has FEWEST_CELLS cells or more and which the logit
    depends on: a transformer's logit sees nothing of the patches after its last block.

    Args:
        model: in evaluation mode.
        image: (1, channels, height, width), normalised, on the model's device.
        output: the logit that counts; None: the sum of all, for which what speaks against it counts as well.
        sign: -1 asks what speaks against the logit.
        features: (1, numbers) beside the image.

    Returns:
        (height, width) in [0, 1].
    """
    height, width = image.shape[2:]
    with torch.enable_grad(), _recorded(model) as outputs:
        logits = model(image) if features is None else model(image, features)
        score = logits.sum() if output is None else sign * logits[0, output]
        layers = [layer for layer in outputs if layer.requires_grad]
        gradients = torch.autograd.grad(score, layers, allow_unused=True) if layers else ()
    chosen = _choose_maps(layers, gradients, ratio=height / width)
    if chosen is None:
        return None
    maps, gradient = chosen
    effect = (gradient.mean(dim=(1, 2), keepdim=True) * maps).sum(dim=0)
    heat = effect.abs() if output is None else effect.relu()
    heat = heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)
    enlarged = cv2.resize(heat.cpu().numpy(), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged.clip(0, 1), dtype=np.float32)


def _choose_maps(layers: Sequence[Tensor], gradients: Sequence[Tensor | None], *, ratio: float) -> Tensor | None:
    """(2, channels, height, width): the last maps that say something, and their gradient."""
    pairs = [
        to_maps(torch.stack([layer[0], gradient[0]]).detach().float(), ratio)
        for layer, gradient in zip(layers, gradients, strict=True)
        if gradient is not None
    ]
    seen = [pair for pair in pairs if pair is not None and min(pair.shape[2:]) > 1 and pair[1].any()]
    large = [pair for pair in seen if min(pair.shape[2:]) >= FEWEST_CELLS]
    return large[-1] if large else max(seen, key=lambda pair: pair[0, 0].numel(), default=None)


@contextmanager
def _recorded(model: nn.Module) -> Iterator[list[Tensor]]:
    """The outputs of the layers that may be looked at, in the order of the calls, filled by a forward pass."""
    backbone = model.backbone if isinstance(model, Composed) else model
    outputs: list[Tensor] = []

    def record(_layer: object, _input: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim in (3, 4):
            outputs.append(output)

    hooks = [layer.register_forward_hook(record) for layer in _find_layers(backbone)]
    forward: Callable[..., Tensor] | None = getattr(backbone, "forward_features", None)

    def _forward(*args: object, **settings: object) -> Tensor:
        assert forward is not None
        output = forward(*args, **settings)
        record(None, None, output)
        return output

    if forward is not None:
        vars(backbone)["forward_features"] = _forward
    try:
        yield outputs
    finally:
        vars(backbone).pop("forward_features", None)
        for hook in hooks:
            hook.remove()


def _find_layers(backbone: nn.Module) -> list[nn.Module]:
    """timm's models name the ends of their stages; torchvision's do not, so it is every layer."""
    modules = dict(backbone.named_modules())
    stages = getattr(backbone, "feature_info", None)
    if stages is None:
        return list(modules.values())
    return [modules[stage["module"]] for stage in stages if stage["module"] in modules]


def to_maps(layer: Tensor, ratio: float) -> Tensor | None:
    """(images, channels, height, width) of a layer's output, whatever the order of its axes; None: it is no map.

    Args:
        layer: (images, channels, height, width), (images, height, width, channels), or (images, tokens, channels),
            where tokens that belong to no place come first.
        ratio: height / width of the image, by which axes are told apart.
    """
    if layer.ndim == 4 and _are_sides(layer.shape[2], layer.shape[3], ratio):
        return layer
    if layer.ndim == 4 and _are_sides(layer.shape[1], layer.shape[2], ratio):
        return layer.permute(0, 3, 1, 2)
    if layer.ndim != 3:
        return None
    for prefixes in range(MOST_PREFIXES + 1):
        cells = layer.shape[1] - prefixes
        height = round(math.sqrt(max(cells, 0) * ratio))
        if height > 1 and cells % height == 0 and _are_sides(height, cells // height, ratio):
            return layer[:, prefixes:].transpose(1, 2).reshape(len(layer), -1, height, cells // height)
    return None


def _are_sides(height: int, width: int, ratio: float) -> bool:
    """Whether a map of that size can be one of an image of that ratio, up to rounding."""
    return abs(height - width * ratio) <= (0 if ratio == 1 else 1)


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image in grey, and in colours from blue to red what counts, the more the stronger.

    Args:
        image: (height, width, channels).
        heat: (height, width) in [0, 1].
    """
    grey = image.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    colours = cv2.applyColorMap(np.rint(BRIGHTEST * heat).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    strength = 0.65 * np.sqrt(heat)[..., None]
    return np.asarray(np.rint(grey * (1 - strength) + colours * strength), dtype=np.uint8)
