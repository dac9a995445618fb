"""A backbone of timm or torchvision, by name, and what stands around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from kitsolve.inference.bundle import Architecture


def build_model(
    architecture: Architecture,
    *,
    image_size: tuple[int, int],
    pretrained: bool = False,
    dropped: Mapping[str, float] | None = None,
) -> nn.Module:
    """A timm ("timm/NAME" or "NAME") or torchvision ("torchvision/NAME") classifier.

    It takes (images, channels, height, width), and (images, num_features) beside them where it has these.

    Args:
        image_size: (height, width) in px; some backbones are laid out for one.
        dropped: timm's rates of dropout, for training.

    Raises:
        ValueError: no such backbone, or one that refuses this image size or pooling.
    """
    joined = architecture.num_features > 0 or architecture.head == "cosine"
    pools = architecture.pool != "auto"
    outputs = 0 if pools else EMBEDDING if joined else architecture.num_classes
    if architecture.backbone.startswith("torchvision/"):
        backbone = _build_torchvision(architecture, outputs, image_size=image_size, pretrained=pretrained)
    else:
        backbone = _build_timm(architecture, outputs, image_size, {"pretrained": pretrained, **(dropped or {})})
    if not joined and not pools:
        return backbone
    return Composed(backbone, architecture, width=_map_width(backbone, architecture, image_size) if pools else 0)


def _build_timm(
    architecture: Architecture, outputs: int, image_size: tuple[int, int], options: Mapping[str, Any]
) -> nn.Module:
    """A timm model with `outputs` logits; 0: with its last maps of features in their place."""
    import timm  # not before a bundle has put the timm that it brings first

    library, _, name = architecture.backbone.rpartition("/")
    if not options["pretrained"]:
        name = name.partition(".")[0]  # an older timm refuses weights that it does not know, wanted or not
    if library not in ("", "timm"):
        raise ValueError(f"backbone {architecture.backbone}: the library must be timm or torchvision.")
    if not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} has no model {name}.")
    settings = {"num_classes": outputs, "in_chans": architecture.channels, **options}
    if not outputs:
        settings["global_pool"] = ""
    # Position embeddings and windows of such models are laid out for one size, which must be given.
    if timm.get_pretrained_cfg(name).fixed_input_size:
        settings["img_size"] = image_size
    model = timm.create_model(name, **settings)
    assert isinstance(model, nn.Module)
    return model


def _build_torchvision(
    architecture: Architecture, outputs: int, *, image_size: tuple[int, int], pretrained: bool
) -> nn.Module:
    name = architecture.backbone.removeprefix("torchvision/")
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f"torchvision {torchvision.__version__} has no classification model {name}.")
    if not outputs:
        raise ValueError(f"pool = {architecture.pool!r} needs a timm backbone, not {architecture.backbone}.")
    options: dict[str, Any] = {"image_size": image_size[0]} if name.startswith("vit_") else {}
    if name in ("googlenet", "inception_v3"):
        # The auxiliary heads only helped before BatchNorm; without them training and inference see one output.
        options |= {"aux_logits": False} | ({} if pretrained else {"init_weights": True})
    model = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None, **options)
    model = _replace_head(model, outputs)
    return model if architecture.channels == 3 else _replace_stem(model, architecture.channels)


EMBEDDING = 512
"""Outputs of the backbone where something other than a linear head comes after it."""
COSINE_SCALE = 30.0
"""Logits of a cosine head are this times a cosine."""


class Composed(nn.Module):
    """A backbone with what an architecture puts around it: pooling, further numbers beside the image, a cosine head.

    `width`: channels of the backbone's maps of features where these are pooled here; 0: it gives an embedding itself.
    """

    def __init__(self, backbone: nn.Module, architecture: Architecture, *, width: int) -> None:
        super().__init__()
        features, cosine = architecture.num_features, architecture.head == "cosine"
        size = width * (2 if architecture.pool == "catavgmax" else 1) if width else EMBEDDING
        self.backbone = backbone
        self.pool = Pool(architecture.pool, width) if width else nn.Identity()
        self.embed: nn.Module = nn.Identity()
        if width and (features or cosine):
            self.embed, size = nn.Linear(size, EMBEDDING), EMBEDDING
        if features:
            self.features = nn.Sequential(nn.Linear(features, EMBEDDING // 4), nn.SiLU())
            size += EMBEDDING // 4
        self.head = (CosineHead if cosine else nn.Linear)(size, architecture.num_classes)

    def forward(self, images: Tensor, features: Tensor | None = None) -> Tensor:
        """(images, channels, height, width) and (images, features) -> (images, classes) logits."""
        embedding = self.embed(self.pool(self.backbone(images)))
        if features is not None:
            embedding = torch.cat([nn.functional.silu(embedding), self.features(features)], dim=1)
        logits: Tensor = self.head(embedding)
        return logits


class CosineHead(nn.Module):
    """Logits are the cosines between the embedding and a vector for each class, times COSINE_SCALE.

    The head of ArcFace (Deng et al. 2019, arXiv:1801.07698), whose margin is the loss's.
    """

    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(size)
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_classes, size)))

    def forward(self, embedding: Tensor) -> Tensor:
        """(images, size) -> (images, classes)."""
        directions = nn.functional.normalize(self.norm(embedding))
        return COSINE_SCALE * nn.functional.linear(directions, nn.functional.normalize(self.weight))


class Pool(nn.Module):
    """Maps of features, (images, `width`, height, width) or channels last, become (images, `width`), or twice as many.

    "gem": the generalised mean with a learned exponent (Radenović et al. 2018, arXiv:1711.02512).
    """

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind, self.width = kind, width
        if kind == "gem":
            self.power = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, maps: Tensor) -> Tensor:
        """One number a channel, of catavgmax two."""
        flat = maps.flatten(2) if maps.shape[1] == self.width else maps.flatten(1, 2).transpose(1, 2)
        if self.kind == "gem":
            return flat.float().clamp(min=1e-6).pow(self.power).mean(2).pow(1 / self.power)
        if self.kind == "catavgmax":
            return torch.cat([flat.mean(2), flat.amax(2)], dim=1)
        return flat.amax(2) if self.kind == "max" else flat.mean(2)


@torch.inference_mode()
def _map_width(backbone: nn.Module, architecture: Architecture, image_size: tuple[int, int]) -> int:
    """Channels of the backbone's maps of features.

    Raises:
        ValueError: it has none, as a transformer of tokens has not.
    """
    training = backbone.training
    maps = backbone.eval()(torch.zeros(1, architecture.channels, *image_size))
    backbone.train(training)
    if maps.ndim != 4:
        raise ValueError(f"{architecture.backbone} has no maps of features for pool = {architecture.pool!r}.")
    known = (backbone.num_features, getattr(backbone, "head_hidden_size", None))
    return int(maps.shape[1] if maps.shape[1] in known else maps.shape[3])


def _replace_stem(model: nn.Module, channels: int) -> nn.Module:
    """Let a torchvision model take `channels` instead of RGB; its weights are repeated as timm does for `in_chans`."""
    import timm

    stem = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    weight = timm.models.adapt_input_conv(channels, stem.weight.detach())
    stem.in_channels, stem.weight = channels, nn.Parameter(weight)
    vars(model)["transform_input"] = False  # GoogLeNet and Inception would take the colours apart
    return model


def _replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Give a torchvision classifier `num_classes` logits: its last layer with 1000 outputs is its head."""
    name, head = [
        (name, layer)
        for name, layer in model.named_modules()
        if getattr(layer, "out_features", getattr(layer, "out_channels", None)) == 1000
    ][-1]
    if isinstance(head, nn.Conv2d):  # squeezenet
        new: nn.Module = nn.Conv2d(head.in_channels, num_classes, kernel_size=1)
    else:
        assert isinstance(head, nn.Linear)
        new = nn.Linear(head.in_features, num_classes)
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)
    return model
