"""From test images to submission.csv: the one file that predicts.

Training validates with it, `kitsolve predict` runs it, and the Kaggle notebook carries it word for word, so that the
CV score comes from the code that Kaggle runs. It imports only what Kaggle's image has, takes every choice from
bundle.json, and reads ids and images when it runs, since a code competition replaces them at the rerun.

    python kitsolve_inference.py --bundle DIR --input DIR --output submission.csv
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import importlib.util
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import cycle, islice
from operator import add
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import timm
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor, nn

BUNDLE_FORMAT = 3


# ------------------------------------------------------------------------------------------------ the bundle


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a model's input: brought to `image_size` (height, width) in px, then normalised.

    `mean` and `std` are per channel (RGB where there are three) of values in [0, 1]. `interpolation` serves enlarging;
    shrinking averages. `resize`: "squash" changes the aspect ratio; "crop" keeps it and the middle of the image;
    "letterbox" keeps it and the whole image, between bars of the mean colour.
    """

    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize: str = "squash"

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.mean)


@dataclass(frozen=True)
class Architecture:
    """A backbone and what stands around it: all that decides the names and shapes of a state_dict but the image size.

    `num_classes` is the number of logits, `num_features` that of the numbers given beside the image. `pool`: "auto" is
    the backbone's own way, else a key of POOLS. `head`: "linear", or "cosine" between embedding and class vectors.
    """

    backbone: str
    num_classes: int
    channels: int = 3
    num_features: int = 0
    pool: str = "auto"
    head: str = "linear"


@dataclass(frozen=True)
class ModelSpec:
    """One trained state_dict: its architecture, its input, views and precision, its file, the run that it is of.

    `activation` is a key of ACTIVATIONS.
    """

    architecture: Architecture
    activation: str
    preprocessing: Preprocessing
    tta: str
    precision: str
    file: str
    sha256: str
    run: str


@dataclass(frozen=True)
class Feature:
    """A column given to the model: a number, standardised, or one of `categories`, one-hot; an empty cell is neither.

    A number also has an indicator of whether it is known.
    """

    name: str
    mean: float
    std: float
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many numbers it becomes; see `encode_features`."""
        return len(self.categories) or 2


@dataclass(frozen=True)
class Split:
    """The test split: the image template over its columns, and the files (CSV, JSON) that add columns by `id`.

    `arrays`: keys of JSON records that hold images as numbers; see `write_arrays`.
    """

    image: str
    files: tuple[str, ...]
    id: str
    encoding: str
    arrays: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoder:
    """How the ensemble's activated outputs become predictions; see `decode`.

    `thresholds`: multilabel: one, or one a label; ordinal: the cut points between neighbouring classes; retrieval: the
    probability below which the unknown label comes first. `clip`: probabilities stay within [clip, 1 - clip].
    `scale`: a value is the first plus the second times the output; `bounds`: it stays within them.
    """

    task: str
    thresholds: tuple[float, ...] = ()
    clip: float = 0.0
    top_k: int = 5
    scale: tuple[float, float] = (0.0, 1.0)
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class SubmissionRules:
    """What the competition accepts: `kind`, the sample file's name, and the classes in the order of the outputs.

    `unknown` is a further label that ranks have; `bounds` of values; `whole_rows`: probabilities of a row sum to 1.
    """

    kind: str
    sample: str
    class_names: tuple[str, ...] = ()
    separator: str = " "
    top_k: int = 5
    unknown: str | None = None
    bounds: tuple[float, float] | None = None
    whole_rows: bool = False


@dataclass(frozen=True)
class Blend:
    """How runs are mixed: `weights`, in the order of `runs`, are non-negative and sum to 1; `method`: see `combine`.

    `quantiles`: for "rank": of each run and output the values at equal steps from the smallest to the largest OOF one.
    """

    runs: tuple[str, ...]
    method: str
    weights: tuple[float, ...]
    quantiles: tuple[tuple[tuple[float, ...], ...], ...] = ()

    def only(self, runs: Sequence[str]) -> Blend:
        """The same of these of its runs, in this order."""
        if tuple(runs) == self.runs:
            return self
        places = [self.runs.index(run) for run in runs]
        total = sum(self.weights[place] for place in places)
        weights = tuple(self.weights[place] / total for place in places)
        return Blend(
            tuple(runs), self.method, weights, tuple(self.quantiles[place] for place in places if self.quantiles)
        )


@dataclass(frozen=True)
class Bundle:
    """bundle.json: all that prediction needs to know.

    `prior`: the mean of the train images' outputs. `card` is for people: CV, runs, versions.
    """

    format: int
    name: str
    competition: str
    archives: tuple[str, ...]
    test: Split
    features: tuple[Feature, ...]
    decoder: Decoder
    submission: SubmissionRules
    batch_size: int
    blend: Blend
    prior: tuple[float, ...]
    models: tuple[ModelSpec, ...]
    card: Mapping[str, Any]


def parse_bundle(values: Mapping[str, Any]) -> Bundle:
    """The bundle that a parsed bundle.json describes.

    Raises:
        ValueError: a format that this file does not read, or keys that do not fit it.
    """
    if values.get("format") != BUNDLE_FORMAT:
        raise ValueError(f"bundle.json has format {values.get('format')}; this code reads format {BUNDLE_FORMAT}.")
    parsed: Bundle = parse(Bundle, {**values, "card": {}})
    return replace(parsed, card=values["card"])


def parse(kind: type[Any], values: Mapping[str, Any]) -> Any:  # noqa: ANN401  (what `kind` is)
    """The dataclass `kind` of what JSON holds: lists become tuples, objects the dataclass that the field names."""
    nested = {"preprocessing": Preprocessing, "architecture": Architecture, "models": ModelSpec, "features": Feature}
    nested |= {"blend": Blend, "test": Split, "decoder": Decoder, "submission": SubmissionRules}

    def convert(name: str, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, Mapping) and name in nested:
            return parse(nested[name], value)
        return tuple(convert(name, item) for item in value) if isinstance(value, list) else value

    try:
        return kind(**{name: convert(name, value) for name, value in values.items()})
    except TypeError as error:
        raise ValueError(f"bundle.json does not fit this code: {error}.") from error


def read_bundle(folder: Path) -> Bundle:
    """The bundle of a folder.

    Raises:
        ValueError: no bundle.json there, or not one of ours.
    """
    path = folder / "bundle.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no bundle.json.")
    return parse_bundle(json.loads(path.read_text(encoding="utf-8")))


# ------------------------------------------------------------------------------------------------ images

CV2_INTERPOLATION = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def read_image(path: Path | str, channels: int = 3) -> np.ndarray:
    """The image as (height, width, channels) uint8: RGB, grey (1), or what an array file (.npy) holds.

    Grey images get three equal channels, transparency is dropped, 16 bits become 8, a camera's orientation is applied.

    Raises:
        ValueError: missing, empty, truncated, no image, or not of so many channels; names the file.
    """
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise ValueError(f"image {path} cannot be read: {error.strerror or error}.") from error
    if encoded.size == 0:
        raise ValueError(f"image {path} is empty (0 bytes).")
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".npy":
        return _read_array(path, channels)
    image = _read_dicom(path) if suffix in (".dcm", ".dicom") else _decode(encoded, path)
    if channels not in (1, 3):
        raise ValueError(f"image {path} has colours, not the {channels} channels that the competition's file names.")
    return image if channels == 3 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]


def _decode(encoded: np.ndarray, path: Path | str) -> np.ndarray:
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # a damaged header can trip cv2's own checks; Pillow has the last word
        image = None
    return image if image is not None else _read_with_pillow(path)


def _read_with_pillow(path: Path | str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):  # convert() would cut these off at 255
                return np.repeat((np.asarray(image) // 257).astype(np.uint8)[..., None], 3, axis=-1)
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: of PNG files
        raise ValueError(f"image {path} is damaged or no image: {error}.") from error


def _read_array(path: Path | str, channels: int) -> np.ndarray:
    """An array file, channels first or last."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"image {path} is damaged or no array: {error}.") from error
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim == 3 and array.shape[-1] != channels:
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[-1] != channels:
        raise ValueError(f"image {path} has the shape {array.shape}; the competition's file names {channels} channels.")
    return np.ascontiguousarray(array) if array.dtype == np.uint8 else _to_uint8(array, path)


def _read_dicom(path: Path | str) -> np.ndarray:
    """A DICOM image as RGB, through its own window where it has one; MONOCHROME1 (white is low) is inverted."""
    try:
        from pydicom import dcmread
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError as error:
        raise ValueError(f'image {path} is DICOM: `pip install "kitsolve[dicom]"` reads it ({error}).') from error
    try:
        dataset = dcmread(path)
        pixels = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    except Exception as error:  # pydicom and its decoders raise of every kind for a damaged file
        raise ValueError(f"image {path} is damaged or no DICOM image: {error}.") from error
    image: np.ndarray = pixels if pixels.dtype == np.uint8 else _to_uint8(pixels, path)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        image = 255 - image
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image


def _to_uint8(array: np.ndarray, path: Path | str) -> np.ndarray:
    """Numbers of any range: the 1st to the 99th percentile of the image become 0 to 255."""
    numbers = array.astype(np.float32)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        raise ValueError(f"image {path} holds no number.")
    low, high = np.percentile(finite, (1, 99))
    scaled = (np.nan_to_num(numbers, nan=low) - low) * (255 / max(float(high - low), 1e-6))
    return np.asarray(np.rint(scaled.clip(0, 255)), dtype=np.uint8)


def resize_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The image at `image_size`, (height, width, channels)."""
    return place_image(scale_image(image, preprocessing), preprocessing)


def scale_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The image scaled so that it fits: exactly (squash), from outside (crop) or from inside (letterbox).

    Shrinking averages whole areas (no aliasing, unlike cv2's bilinear); enlarging takes `interpolation`.
    """
    before, after = image.shape[:2], preprocessing.image_size
    if preprocessing.resize != "squash":
        choose = max if preprocessing.resize == "crop" else min
        scale = choose(after[0] / before[0], after[1] / before[1])
        after = (max(1, round(before[0] * scale)), max(1, round(before[1] * scale)))
    if before == after:
        return image
    shrinks = before[0] > after[0] and before[1] > after[1]
    how = cv2.INTER_AREA if shrinks else CV2_INTERPOLATION[preprocessing.interpolation]
    parts = [image[..., first : first + 4] for first in range(0, image.shape[2], 4)]  # cv2 resizes 4 channels at most
    resized = [cv2.resize(part, after[::-1], interpolation=how).reshape(*after, -1) for part in parts]
    return resized[0] if len(resized) == 1 else np.concatenate(resized, axis=-1)


def place_image(image: np.ndarray, preprocessing: Preprocessing, place: tuple[float, float] = (0.5, 0.5)) -> np.ndarray:
    """A scaled image cut or filled up to `image_size`.

    Args:
        place: where the cut is, (down, across): 0 at the upper left corner, 1 at the lower right one.
    """
    height, width = preprocessing.image_size
    more = image.shape[0] - height, image.shape[1] - width
    if more == (0, 0):
        return image
    if min(more) >= 0:
        top, left = (round(pixels * share) for pixels, share in zip(more, place, strict=True))
        return image[top : top + height, left : left + width]
    filled = np.empty((height, width, image.shape[2]), dtype=np.uint8)
    filled[:] = np.rint(255 * np.array(preprocessing.mean))
    top, left = -more[0] // 2, -more[1] // 2
    filled[top : top + image.shape[0], left : left + image.shape[1]] = image
    return filled


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(images, height, width, channels) uint8 -> (images, channels, height, width) float32, channels_last in memory."""
    mean = torch.tensor(preprocessing.mean, device=images.device) * 255
    scale = 1 / (torch.tensor(preprocessing.std, device=images.device) * 255)
    return images.permute(0, 3, 1, 2).float().sub_(mean.view(-1, 1, 1)).mul_(scale.view(-1, 1, 1))


def iter_batches(
    paths: Sequence[Any],
    kinds: Sequence[Preprocessing],
    *,
    batch_size: int,
    workers: int,
    read: Callable[[Any, int], np.ndarray] = read_image,
    lenient: bool = False,
) -> Iterator[tuple[list[Tensor], dict[int, str]]]:
    """Batches of decoded images in the order of `paths`, two batches ahead of their use.

    Every image is read once; each batch holds one uint8 tensor (images, height, width, channels) for each of `kinds`,
    and why some of its images, by their place in it, are black: those that cannot be read, where that is no error.
    Threads do the work: cv2 leaves Python's lock while it decodes, and threads also work inside a notebook.
    """
    black = [np.zeros((*kind.image_size, kind.channels), dtype=np.uint8) for kind in kinds]

    def read_all(path: Any) -> list[np.ndarray] | str:  # noqa: ANN401  (what `read` takes)
        try:
            image = read(path, kinds[0].channels)
        except ValueError as error:
            if lenient:
                return str(error)
            raise
        return [resize_image(image, kind) for kind in kinds]

    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            waiting = (
                [pool.submit(read_all, path) for path in paths[start : start + batch_size]]
                for start in range(0, len(paths), batch_size)
            )
            ahead = deque(islice(waiting, 3))
            while ahead:
                found = [future.result() for future in ahead.popleft()]
                ahead.extend(islice(waiting, 1))
                lost = {place: image for place, image in enumerate(found) if isinstance(image, str)}
                images = [black if isinstance(image, str) else image for image in found]
                yield [torch.from_numpy(np.stack(sized)) for sized in zip(*images, strict=True)], lost
        finally:
            pool.shutdown(cancel_futures=True)


# ------------------------------------------------------------------------------------------------ models


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
    library, _, name = architecture.backbone.rpartition("/")
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


def load_model(spec: ModelSpec, folder: Path, device: torch.device) -> nn.Module:
    """The trained model of a bundle, in evaluation mode on `device`.

    Raises:
        ValueError: the weights are missing, changed, or do not fit the backbone.
    """
    path = folder / spec.file
    if not path.is_file():
        raise ValueError(f"{path} is missing from the bundle.")
    if file_sha256(path) != spec.sha256:
        raise ValueError(f"{path} is not the file that was exported: its sha256 differs.")
    model = build_model(spec.architecture, image_size=spec.preprocessing.image_size)
    try:
        model.load_state_dict(with_versions(load_file(path), model), strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {spec.architecture.backbone}: {error}.") from error
    return model.to(device).to(memory_format=torch.channels_last).eval()


def with_versions(tensors: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """The tensors as a state_dict of `model`: with its layers' version numbers, which files do not keep.

    torchvision's MNASNet refuses a state_dict without them.
    """
    state_dict = OrderedDict(tensors)
    vars(state_dict)["_metadata"] = vars(model.state_dict())["_metadata"]
    return state_dict


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------ devices


def choose_device(name: str = "auto") -> torch.device:
    """`name`, or the best device that this machine has.

    Raises:
        ValueError: torch does not know that device here.
    """
    if name == "auto":
        return all_devices()[0]
    try:
        device = torch.device(name)
        float(torch.ones(1, device=device) + 1)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name} cannot be used here: {str(error).splitlines()[0]}.") from error
    return device


def all_devices() -> list[torch.device]:
    """Every GPU that computes here, else the CPU.

    A GPU may be there and too old for this torch: one operation shows it.
    """
    found = []
    for number in range(torch.cuda.device_count()):
        try:
            found.append(choose_device(f"cuda:{number}"))
        except ValueError as error:
            print(f"warning: {error}")
    return found or [torch.device("cpu")]


def choose_dtype(precision: str, device_type: str, *, has_bfloat16: bool) -> torch.dtype:
    """The dtype of the forward pass; "auto": bfloat16 where the hardware has it, else float16 on CUDA, else float32."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if has_bfloat16:
        return torch.bfloat16
    return torch.float16 if device_type == "cuda" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware, not by emulation: Ampere and newer, avx512_bf16, AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _cpu_has_bfloat16()


def _cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Mixed precision in `dtype`; nothing at all for float32."""
    return nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype=dtype)


# ------------------------------------------------------------------------------------------------ prediction


def identity(images: Tensor) -> Tensor:
    """The images as they are."""
    return images


def hflip(images: Tensor) -> Tensor:
    """Left and right exchanged; (…, height, width)."""
    return images.flip(-1)


def vflip(images: Tensor) -> Tensor:
    """Top and bottom exchanged; (…, height, width)."""
    return images.flip(-2)


def rot180(images: Tensor) -> Tensor:
    """Turned by 180 degrees; (…, height, width)."""
    return images.flip(-2, -1)


def transpose(images: Tensor) -> Tensor:
    """Mirrored at the main diagonal; (…, height, width) with height = width."""
    return images.transpose(-2, -1)


def _transposed(view: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda images: transpose(view(images))


FLIPS = (identity, hflip, vflip, rot180)
TTA: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "none": (identity,),
    "hflip": (identity, hflip),
    "flips": FLIPS,
    "d4": (*FLIPS, *(_transposed(view) for view in FLIPS)),
}


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
    tta: str
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
    return Member(model, spec.preprocessing, spec.tta, dtype, spec.activation, spec.run)


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
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
    shift = (0 if norm.bias is None else norm.bias) - norm.running_mean * scale
    bias = shift if conv.bias is None else conv.bias * scale + shift
    conv.weight, conv.bias = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1)), nn.Parameter(bias)


def predict_probs(members: Sequence[Member], paths: Sequence[Path], **settings: Any) -> np.ndarray:  # noqa: ANN401
    """(images, outputs) float32 of all images; see `iter_probs` for the settings."""
    return np.concatenate(list(iter_probs(members, paths, **settings)))


@dataclass
class Rescue:
    """What saves a submission where images cannot be read or the time is short.

    `prior`: (outputs,) the mean prediction, which stands for an image that has none. `end`: on the monotonic clock.
    `lost`: why images could not be read; `unseen`: how many the time did not suffice for; `passes`: how many views by
    models were computed, of so many `wanted`.
    """

    prior: np.ndarray
    end: float = math.inf
    lost: list[str] = field(default_factory=list)
    unseen: int = 0
    passes: int = 0
    wanted: int = 0

    def allow(self, batches_left: int) -> float:
        """Seconds for the next of so many batches, some held back."""
        return 0.9 * (self.end - time.monotonic()) / batches_left

    def note(self, probs: np.ndarray, lost: Mapping[int, str], passes: int, *, wanted: int) -> None:
        """Count a batch, and put the mean prediction where it has an image that cannot be read."""
        probs[list(lost)] = self.prior
        self.lost += lost.values()
        self.passes, self.wanted = self.passes + passes, self.wanted + wanted


@dataclass
class Ensemble:
    """The members on one device, and how long one view by each takes for a batch, in seconds."""

    members: Sequence[Member]
    device: torch.device
    blend: Blend
    costs_s: list[float] = field(default_factory=list)

    @torch.inference_mode()
    def predict(
        self, sized: Sequence[Tensor], kinds: Sequence[Preprocessing], beside: np.ndarray | None, allowed_s: float
    ) -> tuple[np.ndarray, int]:
        """(images, outputs) float32 of a batch, and how many views by members went into them."""
        inputs = {kind: normalise(images.to(self.device), kind) for kind, images in zip(kinds, sized, strict=True)}
        numbers = () if beside is None else (torch.from_numpy(beside).to(self.device),)
        views = self.choose_views(allowed_s)
        costs: list[float] = []
        outputs: dict[str, list[np.ndarray]] = {name: [] for name in self.blend.runs}
        for place, (member, count) in enumerate(zip(self.members, views, strict=True)):
            started = time.perf_counter()
            if count:
                images = inputs[member.preprocessing]
                outputs[member.run].append(_mean_over_views(member, images, numbers, count).cpu().numpy())
            costs.append((time.perf_counter() - started) / count if count else self.costs_s[place])
        self.costs_s = costs
        runs = [name for name in self.blend.runs if outputs[name]]
        means = [np.mean(outputs[name], axis=0) for name in runs]
        return combine(means, self.blend.only(runs), activation=self.members[0].activation), sum(views)

    def choose_views(self, allowed_s: float) -> list[int]:
        """How many views each member gets of the next batch; the first batch shows what they cost."""
        weights = dict(zip(self.blend.runs, self.blend.weights, strict=True))
        sizes = Counter(member.run for member in self.members)
        return choose_views(
            self.costs_s or [0.0] * len(self.members),
            [len(TTA[member.tta]) for member in self.members],
            [weights[member.run] / sizes[member.run] for member in self.members],
            allowed_s,
        )


def choose_views(
    costs_s: Sequence[float], views: Sequence[int], weights: Sequence[float], allowed_s: float
) -> list[int]:
    """How many of its views each member computes, so that all together take no longer than is allowed.

    First views are left out, always one of the member that has most of them (the slowest of these); then members, that
    of the least weight first. One view by one member always stays.
    """
    chosen = list(views)
    places = range(len(chosen))
    while sum(chosen) > 1 and sum(cost * count for cost, count in zip(costs_s, chosen, strict=True)) > allowed_s:
        if max(chosen) > 1:
            chosen[max(places, key=lambda place: (chosen[place], costs_s[place]))] -= 1
        else:
            kept = [place for place in places if chosen[place]]
            chosen[min(kept, key=lambda place: (weights[place], -costs_s[place]))] = 0
    return chosen


def iter_probs(
    members: Sequence[Member],
    paths: Sequence[Any],
    *,
    features: np.ndarray | None = None,
    device: torch.device,
    batch_size: int,
    workers: int,
    blend: Blend | None = None,
    read: Callable[[Any, int], np.ndarray] = read_image,
    report: Callable[[int], object] = lambda images: None,
    rescue: Rescue | None = None,
    others: Mapping[torch.device, Sequence[Member]] | None = None,
) -> Iterator[np.ndarray]:
    """The mean over the members of a run of the mean over their TTA views of the activated outputs, batch by batch.

    Args:
        paths: the images; each is read once for all members and views.
        features: (images, features) float32 for models that take them.
        blend: how the runs are mixed; None: all members are of one.
        read: gives the image of one of the paths, with so many channels.
        report: called with the number of images done after every batch.
        rescue: what stands for images that cannot be read, which are errors without it; and the time.
        others: the same members on further devices, each of which takes its turn.

    Returns:
        (images of a batch, outputs) float32, in the order of `paths`.
    """
    if not len(paths):
        raise ValueError("there is no image to predict.")
    kinds = list(dict.fromkeys(member.preprocessing for member in members))
    blend = blend or Blend((members[0].run,), "mean", (1.0,))
    ensembles = [Ensemble(own, place, blend) for place, own in {device: members, **(others or {})}.items()]
    batches = iter_batches(paths, kinds, batch_size=batch_size, workers=workers, read=read, lenient=rescue is not None)

    def iter_tasks() -> Iterator[tuple[dict[int, str], tuple[Any, ...]]]:
        for first, (sized, lost) in zip(range(0, len(paths), batch_size), batches, strict=True):
            if rescue is not None and time.monotonic() > rescue.end:
                return
            left = -(-(len(paths) - first) // batch_size)
            allowed_s = math.inf if rescue is None else len(ensembles) * rescue.allow(left)
            beside = None if features is None else features[first : first + len(sized[0])]
            yield lost, (sized, kinds, beside, allowed_s)

    done = 0
    for lost, (probs, passes) in _take_turns(ensembles, iter_tasks()):
        if rescue is not None:
            rescue.note(probs, lost, passes, wanted=sum(len(TTA[member.tta]) for member in members))
        done += len(probs)
        report(len(probs))
        yield probs
    if rescue is not None and done < len(paths):
        rescue.unseen = len(paths) - done
        yield np.repeat(rescue.prior[None].astype(np.float32), rescue.unseen, axis=0)


def _take_turns(
    ensembles: Sequence[Ensemble], tasks: Iterator[tuple[dict[int, str], tuple[Any, ...]]]
) -> Iterator[tuple[dict[int, str], tuple[np.ndarray, int]]]:
    """What the ensembles predict, in the order of the tasks; each of them works on one task at a time."""
    waiting: deque[tuple[dict[int, str], Any]] = deque()
    turns = cycle(ensembles)
    with ThreadPoolExecutor(len(ensembles)) as pool:
        for lost, task in tasks:
            waiting.append((lost, pool.submit(next(turns).predict, *task)))
            if len(waiting) == len(ensembles):
                before, future = waiting.popleft()
                yield before, future.result()
        for before, future in waiting:
            yield before, future.result()


def _mean_over_views(member: Member, images: Tensor, beside: tuple[Tensor, ...], count: int) -> Tensor:
    """(images, outputs) float32 of the first `count` views: float16 sums would lose digits."""
    views = [view(images).contiguous(memory_format=torch.channels_last) for view in TTA[member.tta][:count]]
    logits = [member.forward(view, *beside) for view in views]
    return torch.stack([ACTIVATIONS[member.activation](view.float()) for view in logits]).mean(0)


LEAST = 1e-7
"""No float32 is nearer to 1 than 6e-8; the same at 0, so that no run can veto a class."""


def combine(outputs: Sequence[Any], blend: Blend, *, activation: str) -> Any:  # noqa: ANN401  (arrays, or sparse ones)
    """The runs' outputs as one: the weighted mean of them, of their logarithms or of their ranks.

    Of sigmoids "geometric" takes the mean of the logits, which is the geometric mean of yes and of no, divided by their
    sum, as it does of a softmax's classes.

    Args:
        outputs: (rows, outputs) of each run, activated; sparse ones for "mean" and "weighted".

    Returns:
        (rows, outputs) in the range of the activation; of "rank" in [0, 1].
    """
    if blend.method == "rank":
        outputs = [_take_ranks(own, grid) for own, grid in zip(outputs, blend.quantiles, strict=True)]
    if blend.method == "geometric":
        outputs = [_to_logits(own, activation) for own in outputs]
    mixed = reduce(add, (own * np.float32(w) for own, w in zip(outputs, blend.weights, strict=True) if w))
    return _from_logits(mixed, activation) if blend.method == "geometric" else mixed


def _to_logits(outputs: np.ndarray, activation: str) -> np.ndarray:
    """The inverse of `_from_logits`; of a softmax up to a constant for each row."""
    logits = np.log(outputs.clip(LEAST, 1))
    return np.asarray(logits - np.log((1 - outputs).clip(LEAST, 1)) if activation != "softmax" else logits)


def _from_logits(logits: np.ndarray, activation: str) -> np.ndarray:
    if activation != "softmax":
        return np.asarray(1 / (1 + np.exp(-logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _take_ranks(outputs: np.ndarray, quantiles: Sequence[Sequence[float]]) -> np.ndarray:
    """(rows, outputs) float32, the share of the fitted rows below each value; of rows that are equal half."""
    ranks = np.empty(outputs.shape, dtype=np.float32)
    shares = np.linspace(0, 1, len(quantiles[0]))
    for column, grid in enumerate(quantiles):
        values, places = np.unique(grid, return_inverse=True)
        ranks[:, column] = np.interp(outputs[:, column], values, np.bincount(places, shares) / np.bincount(places))
    return ranks


# ------------------------------------------------------------------------------------------------ the test set


def read_sample(input_dir: Path, rules: SubmissionRules) -> pd.DataFrame:
    """The sample submission as strings; its first column holds the test ids.

    Raises:
        ValueError: missing, without rows, or with the same id twice.
    """
    path = input_dir / rules.sample
    if not path.is_file():
        raise ValueError(f"the sample submission {path} is missing.")
    sample = read_rows(path)
    if sample.empty:
        raise ValueError(f"the sample submission {path} has no rows.")
    ids = sample.iloc[:, 0]
    if ids.duplicated().any():
        raise ValueError(f"the sample submission {path} names id {ids[ids.duplicated()].iloc[0]!r} twice.")
    return sample


def read_rows(path: Path, encoding: str = "utf-8", key: str = "images") -> pd.DataFrame:
    """A CSV table, or the objects of a JSON list, as strings: 0012 and 1e5 are names, an empty cell is "".

    A JSON object stands for the list under `key`, or for columns.
    """
    if path.suffix.lower() != ".json":
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding
        table: pd.DataFrame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding=encoding)
        return table
    value = json.loads(path.read_text(encoding=encoding))
    return as_text(value.get(key, value) if isinstance(value, dict) else value)


def as_text(records: Any) -> pd.DataFrame:  # noqa: ANN401  (parsed JSON)
    """A list of JSON objects, or an object of columns, as a table of strings; lists and objects in cells are left out.

    Raises:
        ValueError: it is neither.
    """
    table = pd.DataFrame(records, dtype=object)
    nested = [name for name in table if isinstance(next(iter(table[name]), None), (list, dict))]
    return table.drop(columns=nested).map(lambda cell: "" if cell is None or cell != cell else str(cell))


def join_rows(sample: pd.DataFrame, input_dir: Path, test: Split) -> pd.DataFrame:
    """The sample's ids, and the columns that the test set's files add; without files the sample itself.

    Raises:
        ValueError: a file is missing, or lacks an id.
    """
    ids = sample.iloc[:, [0]]
    if not test.files:
        return sample
    missing = [name for name in test.files if not (input_dir / name).is_file()]
    if missing:
        raise ValueError(f"{input_dir / missing[0]} is missing.")
    added = pd.concat([read_rows(input_dir / name, test.encoding) for name in test.files], ignore_index=True)
    if test.id not in added:
        raise ValueError(f"{test.files[0]} has no column {test.id!r}, only {list(added)}.")
    added = added.drop_duplicates(test.id).set_index(test.id)
    lacking = ~ids.iloc[:, 0].isin(added.index)
    if lacking.any():
        raise ValueError(
            f"{test.files[0]} lacks {lacking.sum()} of {len(ids)} ids, first: {ids[lacking].iloc[0, 0]!r}."
        )
    rows = added.loc[ids.iloc[:, 0]].reset_index().drop(columns=ids.columns, errors="ignore")
    return pd.concat([ids.reset_index(drop=True), rows], axis=1)


def image_paths(rows: pd.DataFrame, template: str) -> list[str]:
    """The template filled with each row's columns: "{image_id}.png", "{id[0]}/{id}.npy".

    Raises:
        ValueError: the template names a column that the rows lack.
    """
    try:
        return [template.format_map(row) for row in rows.to_dict("records")]
    except (KeyError, IndexError) as error:
        raise ValueError(
            f"the image template {template!r} does not fit the columns {list(rows.columns)}: {error}."
        ) from error


def find_images(
    input_dir: Path, paths: Sequence[str], archives: Sequence[str], scratch: Path, *, test: Split | None = None
) -> list[Path]:
    """The images' files; those inside of an archive, which Kaggle leaves packed, or of JSON go to `scratch` first."""
    folders = {}
    for name in archives:
        place = re.sub(r"(\.tar)?\.\w+$", "", name)
        needed = any(path.startswith(f"{place}/") for path in paths)
        if needed and not (input_dir / place).is_dir() and (input_dir / name).is_file():
            folders[f"{place}/"] = _unpack(input_dir / name, scratch / place)
    if test is not None and test.arrays and not (input_dir / ARRAYS).is_dir():
        folders[f"{ARRAYS}/"] = scratch / ARRAYS
        for name in test.files:
            write_arrays(input_dir / name, scratch / ARRAYS, test)

    def find(path: str) -> Path:
        for place, folder in folders.items():
            if path.startswith(place):
                return folder / path.removeprefix(place)
        return input_dir / path

    return [find(path) for path in paths]


ARRAYS = "arrays"
"""The folder of images that come out of JSON records."""


def write_arrays(path: Path, folder: Path, split: Split) -> None:
    """Images that are numbers in JSON records become FOLDER/ID.npy: (keys, height, width); a flat list is a square.

    Raises:
        ValueError: a record without one of the keys, or a list that is no image; names the record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for record in json.loads(path.read_text(encoding=split.encoding)):
        try:
            planes = [np.asarray(record[key], dtype=np.float32) for key in split.arrays]
            side = math.isqrt(planes[0].size)
            planes = [plane.reshape(side, side) if plane.ndim == 1 else plane for plane in planes]
            np.save(folder / f"{record[split.id]}.npy", np.stack(planes))
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: the record {record.get(split.id)!r} holds no image: {error}.") from error


def _unpack(archive: Path, target: Path) -> Path:
    """Unpack a zip or tar archive; gives the folder inside that is named like it, where it has one."""
    # A zip's members cannot leave the target; a tar's need the filter.
    options: dict[str, Any] = {} if archive.suffix == ".zip" else {"filter": "data"}
    shutil.unpack_archive(archive, target, **options)
    inner = target / target.name
    return inner if inner.is_dir() and len(os.listdir(target)) == 1 else target


def encode_features(rows: pd.DataFrame, features: Sequence[Feature]) -> np.ndarray:
    """(rows, numbers) float32; see Feature.

    Raises:
        ValueError: the rows lack a column.
    """
    columns = []
    for feature in features:
        if feature.name not in rows:
            raise ValueError(f"the test rows have no column {feature.name!r}, only {list(rows)}.")
        if feature.categories:
            columns += [(rows[feature.name] == category).to_numpy() for category in feature.categories]
        else:
            numbers = pd.to_numeric(rows[feature.name], errors="coerce").to_numpy(dtype=float)
            known = np.isfinite(numbers)
            columns += [np.where(known, (numbers - feature.mean) / feature.std, 0.0), known]
    return np.stack(columns, axis=1).astype(np.float32)


# ------------------------------------------------------------------------------------------------ submission

Predictions = NDArray[Any]
FORMS = {
    "label": "labels",
    "probability": "probs",
    "class_probabilities": "probs",
    "label_list": "labels",
    "top_k": "ranking",
    "value": "values",
}
"""Kind of submission -> the form of predictions that it shows."""


def decode(outputs: np.ndarray, decoder: Decoder, form: str) -> Predictions:
    """Predictions of the activated outputs.

    Args:
        outputs: (rows, outputs): probabilities of the classes (softmax) or labels (sigmoid); of an ordinal task
            P(class > k) for k = 0..classes-2; of a regression one number.
        form: "probs": (rows, classes) float64. "labels": (rows,) class indices, or (rows, labels) bool of a multilabel
            task. "values": (rows,) float64. "ranking": (rows, top_k) class indices, best first, in which the number of
            classes stands for the unknown label.
    """
    if form == "labels":
        return _label(outputs, decoder)
    if form == "ranking":
        return _rank(outputs, decoder)
    exact: Predictions = outputs.astype(np.float64)
    if form == "probs":
        return _normalise_probs(exact, decoder)
    low, high = decoder.bounds or (-np.inf, np.inf)
    return np.asarray(np.clip(decoder.scale[0] + decoder.scale[1] * exact.sum(axis=1), low, high))


def _label(outputs: Predictions, decoder: Decoder) -> Predictions:
    if decoder.task == "ordinal":
        cuts = decoder.thresholds or np.arange(outputs.shape[1]) + 0.5
        return np.asarray(np.searchsorted(np.asarray(cuts), outputs.sum(axis=1)))
    if decoder.task == "multilabel":
        return np.asarray(outputs > (decoder.thresholds or (0.5,)))
    if decoder.task == "binary" and decoder.thresholds:
        return (outputs[:, 1] > decoder.thresholds[0]).astype(np.int64)
    return np.asarray(outputs.argmax(axis=1))


def _normalise_probs(outputs: Predictions, decoder: Decoder) -> Predictions:
    low, high = decoder.clip, 1 - decoder.clip
    if decoder.task == "multilabel":
        return outputs.clip(low, high)
    if decoder.task == "ordinal":  # P(class > k) falls with k where a model is of one mind
        falling = np.minimum.accumulate(outputs, axis=1)
        edges = np.column_stack([np.ones(len(falling)), falling, np.zeros(len(falling))])
        outputs = edges[:, :-1] - edges[:, 1:]
    # Rows must sum to 1 more exactly than float32 has digits for.
    clipped = (outputs / outputs.sum(axis=1, keepdims=True)).clip(low, high)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))


def _rank(probs: np.ndarray, decoder: Decoder) -> Predictions:
    """The most probable classes, best first; the unknown label stands before those below its threshold."""
    k = min(decoder.top_k, probs.shape[1] + bool(decoder.thresholds))
    if decoder.thresholds:
        probs = np.column_stack([probs, np.full(len(probs), decoder.thresholds[0])])
    best = np.argpartition(-probs, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(probs, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def make_submission(sample: pd.DataFrame, predictions: np.ndarray, rules: SubmissionRules) -> pd.DataFrame:
    """The sample with its values replaced: columns, order and ids are right by construction.

    Args:
        predictions: as `decode` gives them in the kind's form, a row for each of the sample's.
    """
    submission = sample.copy()
    names = np.array([*rules.class_names, rules.unknown], dtype=object)
    column = sample.columns[1]
    if rules.kind == "label":
        submission[column] = names[predictions]
    elif rules.kind == "probability":
        submission[column] = predictions[:, -1]
    elif rules.kind == "class_probabilities":
        submission[list(rules.class_names)] = predictions
    elif rules.kind == "label_list":
        submission[column] = [rules.separator.join(names[:-1][row]) for row in predictions]
    elif rules.kind == "top_k":
        submission[column] = [rules.separator.join(names[row]) for row in predictions]
    elif rules.kind == "value":
        submission[column] = predictions
    else:
        raise ValueError(f"unknown kind of submission {rules.kind!r}.")
    return submission


def check_submission(submission: pd.DataFrame, sample: pd.DataFrame, rules: SubmissionRules) -> None:
    """Refuse what Kaggle would refuse.

    Args:
        submission: as read from its file, all columns as strings.

    Raises:
        ValueError: names the first offending row.
    """
    if list(submission.columns) != list(sample.columns):
        raise ValueError(
            f"the submission has the columns {list(submission.columns)}, the sample {list(sample.columns)}."
        )
    ids, expected = submission.iloc[:, 0], sample.iloc[:, 0]
    if ids.duplicated().any():
        raise ValueError(f"the submission names id {ids[ids.duplicated()].iloc[0]!r} twice.")
    for problem, odd in (("lacks", set(expected) - set(ids)), ("has the unknown", set(ids) - set(expected))):
        if odd:
            raise ValueError(f"the submission {problem} {len(odd)} of {len(expected)} ids, first: {min(odd)!r}.")
    if rules.kind in FORMS:
        _check_values(ids, submission.iloc[:, 1:], rules)


def _check_values(ids: pd.Series, values: pd.DataFrame, rules: SubmissionRules) -> None:
    if rules.kind in ("label", "label_list", "top_k"):
        problems = _problems_of_labels(values.iloc[:, 0], rules)
    else:
        problems = _problems_of_numbers(values, rules)
    for row, problem in problems:
        raise ValueError(f"row {row + 2}, id {ids.iloc[row]!r}: {problem}.")


def _problems_of_labels(cells: pd.Series, rules: SubmissionRules) -> Iterator[tuple[int, str]]:
    known = {*rules.class_names, *([rules.unknown] if rules.unknown else [])}
    most = {"label": 1, "label_list": len(known), "top_k": rules.top_k}[rules.kind]
    for row, cell in enumerate(cells):
        labels = [cell] if rules.kind == "label" else [label for label in cell.split(rules.separator) if label]
        odd = [label for label in labels if label not in known]
        if odd:
            yield row, f"{odd[0]!r} is none of the classes"
        elif len(set(labels)) < len(labels) or len(labels) > most:
            yield row, f"{cell!r} names a class twice, or more than {most}"
        elif not labels and rules.kind == "top_k":
            yield row, "there is no class"


def _problems_of_numbers(values: pd.DataFrame, rules: SubmissionRules) -> Iterator[tuple[int, str]]:
    low, high = (rules.bounds or (-np.inf, np.inf)) if rules.kind == "value" else (0.0, 1.0)
    numbers = values.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    for row in np.flatnonzero(~((numbers >= low) & (numbers <= high) & np.isfinite(numbers)).all(axis=1)):
        yield int(row), f"{values.iloc[row].tolist()} is not within {low:g} and {high:g}"
    if rules.whole_rows:
        for row in np.flatnonzero(np.abs(numbers.sum(axis=1) - 1) > 1e-6):
            yield int(row), f"the probabilities sum to {numbers[row].sum():.8f}, not 1"


def find_input(root: Path, name: str, marker: str) -> Path:
    """The folder below Kaggle's /kaggle/input that holds the file `marker` and belongs to `name`.

    Kaggle mounts in several ways: input/NAME, input/competitions/NAME, input/datasets/OWNER/NAME and deeper.

    Raises:
        ValueError: none has it; lists what is there.
    """
    likely = [root / name, root / "competitions" / name, *root.glob(f"datasets/*/{name}")]
    for folder in likely:
        if (folder / marker).is_file():
            return folder
    found = [folder for folder in _folders(root, depth=5) if (folder / marker).is_file()]
    named = [folder for folder in found if name in folder.parts]
    if len(named or found) == 1:
        return (named or found)[0]
    tree = ", ".join(str(folder) for folder in islice(_folders(root, depth=3), 30))
    raise ValueError(f"{marker} of {name} is not below {root}, or more than once; folders there: {tree}.")


def _folders(root: Path, *, depth: int) -> Iterator[Path]:
    """`root` and the folders below it, at most `depth` levels down, in order of their names."""
    yield root
    if depth > 0 and root.is_dir():
        for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
            if entry.is_dir():
                yield from _folders(Path(entry.path), depth=depth - 1)


def predict_bundle(
    bundle_dir: Path,
    input_dir: Path,
    output: Path,
    *,
    device: torch.device | None = None,
    report: Callable[[int], object] = lambda images: None,
    lenient: bool = False,
    time_limit_s: float = math.inf,
) -> pd.DataFrame:
    """Predict the test images of `input_dir` with a bundle, write `output` and check what was written.

    Args:
        lenient: an image that cannot be read gets the mean prediction, and a submission of nothing else is written
            first; for a code competition, where any file counts more than none.
        time_limit_s: where the time does not suffice for all views by all models, some are left out.

    Raises:
        ValueError: whatever is missing, damaged or not acceptable, by name.
    """
    end = time.monotonic() + time_limit_s
    bundle = read_bundle(bundle_dir)
    sample = read_sample(input_dir, bundle.submission)
    rescue = Rescue(np.array(bundle.prior, dtype=np.float32), end) if lenient else None
    if rescue is not None:
        nothing = np.repeat(rescue.prior[None], len(sample), axis=0)
        _submit([nothing], sample, bundle, bundle_dir, output)
    rows = join_rows(sample, input_dir, bundle.test)
    devices = [device] if device else all_devices()
    members = [[load_member(spec, bundle_dir, place) for spec in bundle.models] for place in devices]
    with tempfile.TemporaryDirectory() as scratch:
        paths = image_paths(rows, bundle.test.image)
        batches = iter_probs(
            members[0],
            find_images(input_dir, paths, bundle.archives, Path(scratch), test=bundle.test),
            features=encode_features(rows, bundle.features) if bundle.features else None,
            blend=bundle.blend,
            device=devices[0],
            others=dict(zip(devices[1:], members[1:], strict=True)),
            batch_size=bundle.batch_size,
            workers=os.cpu_count() or 1,
            report=report,
            rescue=rescue,
        )
        written = _submit(batches, sample, bundle, bundle_dir, output)
    if rescue is not None:
        print("\n".join(describe_rescue(rescue, images=len(rows))))
    return written


def _submit(
    batches: Iterable[np.ndarray], sample: pd.DataFrame, bundle: Bundle, bundle_dir: Path, output: Path
) -> pd.DataFrame:
    """Write the submission of a bundle's outputs, and check what was written."""
    # Decoded batch by batch: of 15,000 classes the outputs of all images may not fit into memory.
    form = FORMS.get(bundle.submission.kind)
    predictions = np.concatenate([decode(batch, bundle.decoder, form) if form else batch for batch in batches])
    if form:
        submission = make_submission(sample, predictions, bundle.submission)
    else:
        submission = _load_prepare(bundle_dir).submission(sample, predictions, bundle.submission.class_names)
    write_submission(submission, output)
    written = pd.read_csv(output, dtype=str, keep_default_na=False)
    check_submission(written, sample, bundle.submission)
    return written


def describe_rescue(rescue: Rescue, *, images: int) -> Iterator[str]:
    """What did not go as it should, in words."""
    yield f"{images:,} images, {len(rescue.lost):,} of them unreadable, {rescue.passes:,} of {rescue.wanted:,} passes"
    if rescue.lost:
        yield f"unreadable images got the mean prediction, first: {rescue.lost[0]}"
    if rescue.passes < rescue.wanted:
        yield "the time did not suffice for all views and models: the least of them were left out"
    if rescue.unseen:
        yield f"the time was over before {rescue.unseen:,} images, which got the mean prediction"


def _load_prepare(bundle_dir: Path) -> Any:  # noqa: ANN401  (a module)
    """The competition's own prepare.py, which the bundle carries."""
    spec = importlib.util.spec_from_file_location("prepare", bundle_dir / "prepare.py")
    if spec is None or spec.loader is None:
        raise ValueError(f"{bundle_dir / 'prepare.py'} cannot be read.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_submission(submission: pd.DataFrame, output: Path) -> None:
    """Write the CSV file whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}")
    submission.to_csv(temporary, index=False)
    os.replace(temporary, output)


def main() -> None:
    """Predict from the command line, without kitsolve."""
    parser = argparse.ArgumentParser(description="Predict a competition's test images with a kitsolve bundle.")
    parser.add_argument("--bundle", type=Path, required=True, help="folder with bundle.json and the weights")
    parser.add_argument("--input", type=Path, required=True, help="the competition's folder")
    parser.add_argument("--output", type=Path, default=Path("submission.csv"))
    parser.add_argument("--device", help="cpu, cuda, cuda:1 …; by default every GPU, else the CPU")
    given = parser.parse_args()
    device = choose_device(given.device) if given.device else None
    predict_bundle(given.bundle, given.input, given.output, device=device)
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
