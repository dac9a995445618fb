"""What a bundle says of itself: bundle.json as values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

BUNDLE_FORMAT = 4
TTA: dict[str, tuple[str, ...]] = {
    "none": ("identity",),
    "hflip": ("identity", "hflip"),
    "flips": ("identity", "hflip", "vflip", "rot180"),
    "d4": ("identity", "hflip", "vflip", "rot180", "transpose", "rot90", "rot270", "antitranspose"),
}
"""Sets of views that have a name; the last ones are the first to be left out where the time is short."""
TURNED = ("transpose", "rot90", "rot270", "antitranspose")
"""Views that exchange height and width."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a model's input: brought to `image_size` (height, width) in px, then normalised.

    `mean` and `std` are per channel (RGB where there are three) of values in [0, 1]. `interpolation` serves enlarging;
    shrinking averages. `resize`: "squash" changes the aspect ratio; "crop" keeps it and the middle of the image;
    "letterbox" keeps it and the whole image, between bars of the mean colour. `background`: what transparency is laid
    on, a key of BACKGROUNDS; "ignore", as in runs before there was a choice, takes the colours as they are. `bits`: how
    many the integers of 16 bits or more use; `scale`: by what rule numbers become 8 bits, "image" as in runs before
    there was a choice; see `to_uint8`.
    """

    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize: str = "squash"
    background: str = "ignore"
    bits: int = 16
    scale: str = "image"

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

    `activation` is a key of ACTIVATIONS, `views` are of TTA["d4"].
    """

    architecture: Architecture
    activation: str
    preprocessing: Preprocessing
    views: tuple[str, ...]
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

    `prior`: the mean of the train images' outputs. `files`: the sha256 of what there is beside the weights.
    `compiled`: by torch.compile. `card` is for people: CV, runs, versions.
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
    files: Mapping[str, str]
    compiled: bool
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


def check_files(bundle: Bundle, folder: Path) -> None:
    """Raise ValueError where a file of the bundle is missing or is not the one that was exported."""
    for name, sha256 in ({spec.file: spec.sha256 for spec in bundle.models} | dict(bundle.files)).items():
        check_file(folder / name, sha256)


def check_file(path: Path, sha256: str) -> None:
    """Raise ValueError where a file is missing or has another content."""
    if not path.is_file():
        raise ValueError(f"{path} is missing from the bundle.")
    if file_sha256(path) != sha256:
        raise ValueError(f"{path} is not the file that was exported: its sha256 differs.")


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
