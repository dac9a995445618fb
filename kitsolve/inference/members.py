"""The trained models of an ensemble: loaded, made fast, and seen from several sides."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights

from kitsolve.inference.bundle import ModelSpec, Preprocessing
from kitsolve.inference.devices import autocast, choose_dtype, has_bfloat16
from kitsolve.inference.models import build_model


def identity(images: Tensor) -> Tensor:
    """The images as they are."""
    return images


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": identity,
    "hflip": lambda images: images.flip(-1),
    "vflip": lambda images: images.flip(-2),
    "rot180": lambda images: images.flip(-2, -1),
    "transpose": lambda images: images.transpose(-2, -1),
    "rot90": lambda images: images.flip(-1).transpose(-2, -1),
    "rot270": lambda images: images.flip(-2).transpose(-2, -1),
    "antitranspose": lambda images: images.flip(-2, -1).transpose(-2, -1),
}
"""The eight ways to lay a square, (…, height, width); the turns are counter-clockwise."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(1),
    "sigmoid": torch.sigmoid,
    # Each logit is of P(class > k) given class > k - 1 (CORN: Shi et al. 2021, arXiv:2111.08851).
    "corn": lambda logits: logits.sigmoid().cumprod(1),
    "identity": identity,
}


@dataclass(frozen=True)
class Member:
    """A model of the ensemble, in evaluation mode on its device, and the run that it is of."""

    model: nn.Module
    preprocessing: Preprocessing
    views: tuple[str, ...]
    dtype: torch.dtype
    activation: str = "softmax"
    run: str = ""

    def forward(self, images: Tensor, *beside: Tensor) -> Tensor:
        """Logits of normalised images, in the member's precision."""
        with autocast(images.device, self.dtype):
            logits: Tensor = self.model(images, *beside)
        return logits


def load_member(spec: ModelSpec, folder: Path, device: torch.device) -> Member:
    """The model of a spec, ready to predict on `device`: without BatchNorm, its large weights in its precision."""
    dtype = choose_dtype(spec.precision, device.type, has_bfloat16=has_bfloat16(device))
    model = fold_batch_norms(load_model(spec, folder, device), spec)
    for layer in model.modules():
        if type(layer) in (nn.Conv2d, nn.Linear):  # else autocast converts them anew for every batch
            layer.to(dtype)
    return Member(model, spec.preprocessing, spec.views, dtype, spec.activation, spec.run)


def widen(member: Member) -> Member:
    """The same in float32; a copy, because compiled code holds on to its weights."""
    return replace(member, model=copy.deepcopy(member.model).float(), dtype=torch.float32)


def load_model(spec: ModelSpec, folder: Path, device: torch.device) -> nn.Module:
    """The trained model of a bundle, in evaluation mode on `device`.

    Raises:
        ValueError: the weights do not fit the backbone, or are damaged.
    """
    path = folder / spec.file
    tensors = read_weights(path)
    model = build_model(spec.architecture, image_size=spec.preprocessing.image_size)
    try:
        model.load_state_dict(with_versions(tensors, model), strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {spec.architecture.backbone}: {error}.") from error
    return model.to(device).to(memory_format=torch.channels_last).eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name, on the CPU.

    Raises:
        ValueError: it is missing or damaged, or a tensor holds what is no finite number.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    odd = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if odd:
        raise ValueError(f"{len(odd)} tensors of {path} hold NaN or infinity, first: {odd[0]}.")
    return tensors


def with_versions(tensors: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """The tensors as a state_dict of `model`: with its layers' version numbers, which files do not keep.

    torchvision's MNASNet refuses a state_dict without them.
    """
    state_dict = OrderedDict(tensors)
    vars(state_dict)["_metadata"] = vars(model.state_dict())["_metadata"]
    return state_dict


@torch.no_grad()
def fold_batch_norms(model: nn.Module, spec: ModelSpec) -> nn.Module:
    """Let the convolutions do what the BatchNorm layers right behind them do in evaluation; only rounding differs.

    Which ones these are shows in one forward pass. A model that then gives something else is returned as it was.
    """
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()):
        return model
    whole = copy.deepcopy(model)
    device = next(model.parameters()).device
    images = torch.rand(1, spec.preprocessing.channels, *spec.preprocessing.image_size, device=device)
    beside = [torch.rand(1, spec.architecture.num_features, device=device)] if spec.architecture.num_features else []
    made: dict[int, tuple[nn.Conv2d, Any]] = {}
    pairs: dict[nn.Module, nn.Conv2d] = {}
    uses = Counter[nn.Module]()

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        uses[layer] += 1
        if type(layer) is nn.Conv2d:
            made[id(output)] = (layer, output)  # the output is kept: else another tensor could get its id
        elif isinstance(layer, nn.BatchNorm2d) and id(inputs[0]) in made:
            pairs[layer] = made[id(inputs[0])][0]

    hooks = [layer.register_forward_hook(note) for layer in model.modules()]
    before = model(images, *beside)
    for hook in hooks:
        hook.remove()
    for name, norm in list(model.named_modules()):
        conv = pairs.get(norm)
        if conv is not None and uses[norm] == uses[conv] == 1:
            _fold(conv, norm)
            model.set_submodule(name, getattr(norm, "act", nn.Identity()))  # timm's kind of it has an activation
    after = model(images, *beside)
    return model if torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max())) else whole


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Move a BatchNorm's scale and shift into the convolution."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
