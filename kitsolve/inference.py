"""From test images to submission.csv: the one file that predicts.

Training validates with it, `kitsolve predict` runs it, and the Kaggle notebook carries it word for word, so that the
CV score comes from the code that Kaggle runs. It imports only what Kaggle's image has, takes every choice from
bundle.json, and reads ids and images when it runs, since a code competition replaces them at the rerun.

    python kitsolve_inference.py --bundle DIR --input DIR --output submission.csv
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

BUNDLE_FORMAT = 1


# ------------------------------------------------------------------------------------------------ the bundle


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a model's input: squashed to a square of `image_size` px, scaled to [0, 1], normalised.

    `mean` and `std` are per channel, RGB, of values in [0, 1]. `interpolation` serves enlarging; shrinking averages.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


@dataclass(frozen=True)
class ModelSpec:
    """One trained state_dict: its backbone, its input, views and precision, its file, its share in the ensemble."""

    backbone: str
    num_classes: int
    preprocessing: Preprocessing
    tta: str
    precision: str
    file: str
    sha256: str
    weight: float


@dataclass(frozen=True)
class SubmissionRules:
    """What the competition accepts: `kind`, the sample file's name, and the classes in the order of the probs."""

    kind: str
    sample: str
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Bundle:
    """bundle.json: all that prediction needs to know. `card` is for people: CV, runs, versions."""

    format: int
    name: str
    competition: str
    test_image: str
    submission: SubmissionRules
    batch_size: int
    models: tuple[ModelSpec, ...]
    card: Mapping[str, Any]


def parse_bundle(values: Mapping[str, Any]) -> Bundle:
    """The bundle that a parsed bundle.json describes.

    Raises:
        ValueError: a format that this file does not read, or keys that do not fit it.
    """
    if values.get("format") != BUNDLE_FORMAT:
        raise ValueError(f"bundle.json has format {values.get('format')}; this code reads format {BUNDLE_FORMAT}.")
    try:
        models = tuple(_parse_model(model) for model in values["models"])
        rules = values["submission"]
        rules = SubmissionRules(**{**rules, "class_names": tuple(rules["class_names"])})
        return Bundle(**{**values, "models": models, "submission": rules})
    except (KeyError, TypeError) as error:
        raise ValueError(f"bundle.json does not fit this code: {error}.") from error


def _parse_model(values: Mapping[str, Any]) -> ModelSpec:
    prep = values["preprocessing"]
    prep = Preprocessing(**{**prep, "mean": tuple(prep["mean"]), "std": tuple(prep["std"])})
    return ModelSpec(**{**values, "preprocessing": prep})


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


def read_image(path: Path | str) -> np.ndarray:
    """The image as (height, width, 3) uint8, RGB; grey images get three equal channels.

    Raises:
        ValueError: missing, empty, truncated or no image; names the file.
    """
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise ValueError(f"image {path} cannot be read: {error.strerror or error}.") from error
    if encoded.size == 0:
        raise ValueError(f"image {path} is empty (0 bytes).")
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # a damaged header can trip cv2's own checks; Pillow has the last word
        image = None
    return image if image is not None else _read_with_pillow(path)


def _read_with_pillow(path: Path | str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's PNG reader raises SyntaxError on broken files
        raise ValueError(f"image {path} is damaged or no image: {error}.") from error


def resize_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The image squashed to (image_size, image_size, channels).

    Shrinking averages whole areas (no aliasing, unlike cv2's bilinear); enlarging takes `interpolation`.
    """
    size = preprocessing.image_size
    if image.shape[:2] == (size, size):
        return image
    shrinks = min(image.shape[:2]) > size
    how = cv2.INTER_AREA if shrinks else CV2_INTERPOLATION[preprocessing.interpolation]
    resized: np.ndarray = cv2.resize(image, (size, size), interpolation=how)
    return resized


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(images, height, width, channels) uint8 -> (images, channels, height, width) float32, channels_last in memory."""
    mean = torch.tensor(preprocessing.mean, device=images.device) * 255
    scale = 1 / (torch.tensor(preprocessing.std, device=images.device) * 255)
    return images.permute(0, 3, 1, 2).float().sub_(mean.view(-1, 1, 1)).mul_(scale.view(-1, 1, 1))


def iter_batches(
    paths: Sequence[Path], kinds: Sequence[Preprocessing], *, batch_size: int, workers: int
) -> Iterator[list[Tensor]]:
    """Batches of decoded images in the order of `paths`, two batches ahead of their use.

    Every image is read once; each batch holds one uint8 tensor (images, height, width, 3) for each of `kinds`.
    Threads do the work: cv2 leaves Python's lock while it decodes, and threads also work inside a notebook.
    """

    def read_all(path: Path) -> list[np.ndarray]:
        image = read_image(path)
        return [resize_image(image, kind) for kind in kinds]

    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            waiting = (
                [pool.submit(read_all, path) for path in paths[start : start + batch_size]]
                for start in range(0, len(paths), batch_size)
            )
            ahead = deque(islice(waiting, 3))
            while ahead:
                images = [future.result() for future in ahead.popleft()]
                ahead.extend(islice(waiting, 1))
                yield [torch.from_numpy(np.stack(sized)) for sized in zip(*images, strict=True)]
        finally:
            pool.shutdown(cancel_futures=True)


# ------------------------------------------------------------------------------------------------ models


def build_model(backbone: str, num_classes: int, *, image_size: int, pretrained: bool = False) -> nn.Module:
    """A timm ("timm/NAME" or "NAME") or torchvision ("torchvision/NAME") classifier with `num_classes` logits.

    Raises:
        ValueError: no such backbone, or one that refuses this image size.
    """
    library, _, name = backbone.rpartition("/")
    if library == "torchvision":
        return _build_torchvision(name, num_classes, image_size=image_size, pretrained=pretrained)
    if library not in ("", "timm"):
        raise ValueError(f"backbone {backbone}: the library must be timm or torchvision.")
    if not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} has no model {name}.")
    # Position embeddings and windows of such models are laid out for one size, which must be given.
    fixed = timm.get_pretrained_cfg(name).fixed_input_size
    size = {"img_size": image_size} if fixed else {}
    model: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **size)
    return model


def _build_torchvision(name: str, num_classes: int, *, image_size: int, pretrained: bool) -> nn.Module:
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f"torchvision {torchvision.__version__} has no classification model {name}.")
    options: dict[str, Any] = {"image_size": image_size} if name.startswith("vit_") else {}
    if name in ("googlenet", "inception_v3"):
        # The auxiliary heads only helped before BatchNorm; without them training and inference see one output.
        options |= {"aux_logits": False} | ({} if pretrained else {"init_weights": True})
    model = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None, **options)
    return _replace_head(model, num_classes)


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
    model = build_model(spec.backbone, spec.num_classes, image_size=spec.preprocessing.image_size)
    try:
        model.load_state_dict(with_versions(load_file(path), model), strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {spec.backbone}: {error}.") from error
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
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name} cannot be used here: {str(error).splitlines()[0]}.") from error
    return device


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


@dataclass(frozen=True)
class Member:
    """A model of the ensemble, in evaluation mode on its device; only the ratio of the weights matters."""

    model: nn.Module
    preprocessing: Preprocessing
    tta: str
    dtype: torch.dtype
    weight: float = 1.0


def load_member(spec: ModelSpec, folder: Path, device: torch.device) -> Member:
    """The model of a spec, ready to predict on `device`."""
    dtype = choose_dtype(spec.precision, device.type, has_bfloat16=has_bfloat16(device))
    return Member(load_model(spec, folder, device), spec.preprocessing, spec.tta, dtype, spec.weight)


@torch.inference_mode()
def predict_probs(
    members: Sequence[Member],
    paths: Sequence[Path],
    *,
    device: torch.device,
    batch_size: int,
    workers: int,
    report: Callable[[int], object] = lambda images: None,
) -> np.ndarray:
    """Weighted mean over the members of the mean over their TTA views of the softmax probabilities.

    Args:
        paths: the images; each is read once for all members and views.
        report: called with the number of images done after every batch.

    Returns:
        (images, classes) float32, in the order of `paths`; rows sum to 1.
    """
    kinds = list(dict.fromkeys(member.preprocessing for member in members))
    batches: list[Tensor] = []
    for sized in iter_batches(paths, kinds, batch_size=batch_size, workers=workers):
        inputs = {kind: normalise(images.to(device), kind) for kind, images in zip(kinds, sized, strict=True)}
        probs = torch.stack([_mean_over_views(member, inputs[member.preprocessing]) for member in members])
        batches.append(blend(probs, torch.tensor([member.weight for member in members])).cpu())
        report(len(sized[0]))
    if not batches:
        raise ValueError("there is no image to predict.")
    return torch.cat(batches).numpy()


def _mean_over_views(member: Member, images: Tensor) -> Tensor:
    """(images, classes) float32: float16 sums would lose digits."""
    views = [view(images).contiguous(memory_format=torch.channels_last) for view in TTA[member.tta]]
    with autocast(images.device, member.dtype):
        logits = [member.model(view) for view in views]
    return torch.stack([view.float().softmax(1) for view in logits]).mean(0)


def blend(probs: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the models' probabilities.

    Args:
        probs: (models, images, classes), in [0, 1].
        weights: (models,), non-negative; only their ratio matters.

    Returns:
        (images, classes), same image order as `probs`.

    Raises:
        ValueError: every weight is zero.
    """
    if not weights.any():
        raise ValueError("every weight of the blend is zero.")
    shares = (weights / weights.sum()).to(probs)
    return torch.einsum("m,mic->ic", shares, probs)


# ------------------------------------------------------------------------------------------------ submission


def read_sample(input_dir: Path, rules: SubmissionRules) -> pd.DataFrame:
    """The sample submission as strings; its first column holds the test ids.

    Raises:
        ValueError: missing, without rows, or with the same id twice.
    """
    path = input_dir / rules.sample
    if not path.is_file():
        raise ValueError(f"the sample submission {path} is missing.")
    sample = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if sample.empty:
        raise ValueError(f"the sample submission {path} has no rows.")
    ids = sample.iloc[:, 0]
    if ids.duplicated().any():
        raise ValueError(f"the sample submission {path} names id {ids[ids.duplicated()].iloc[0]!r} twice.")
    return sample


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


def make_submission(sample: pd.DataFrame, probs: np.ndarray, rules: SubmissionRules) -> pd.DataFrame:
    """The sample with its values replaced: columns, order and ids are right by construction.

    Args:
        probs: (rows of the sample, classes), in the order of `rules.class_names`.
    """
    submission = sample.copy()
    names = np.array(rules.class_names, dtype=object)
    # Rows must sum to 1 more exactly than float32 has digits for.
    exact = probs.astype(np.float64) / probs.astype(np.float64).sum(axis=1, keepdims=True)
    if rules.kind == "label":
        submission[sample.columns[1]] = names[exact.argmax(axis=1)]
    elif rules.kind == "probability":
        submission[sample.columns[1]] = exact[:, -1]
    elif rules.kind == "class_probabilities":
        submission[list(rules.class_names)] = exact
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
    values = submission.iloc[:, 1:]
    if rules.kind == "label":
        _check_labels(ids, values, rules)
    else:
        _check_probabilities(ids, values, whole_rows=rules.kind == "class_probabilities")


def _check_labels(ids: pd.Series, values: pd.DataFrame, rules: SubmissionRules) -> None:
    unknown = ~values.iloc[:, 0].isin(rules.class_names)
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise ValueError(f"row {row + 2}, id {ids.iloc[row]!r}: {values.iloc[row, 0]!r} is none of the classes.")


def _check_probabilities(ids: pd.Series, values: pd.DataFrame, *, whole_rows: bool) -> None:
    numbers = values.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    wrong = ~((numbers >= 0) & (numbers <= 1)).all(axis=1)  # NaN compares false
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"row {row + 2}, id {ids.iloc[row]!r}: {values.iloc[row].tolist()} is not within 0 and 1.")
    off = np.abs(numbers.sum(axis=1) - 1) > 1e-6
    if whole_rows and off.any():
        row = int(np.flatnonzero(off)[0])
        raise ValueError(
            f"row {row + 2}, id {ids.iloc[row]!r}: the probabilities sum to {numbers[row].sum():.8f}, not 1."
        )


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
) -> pd.DataFrame:
    """Predict the test images of `input_dir` with a bundle, write `output` and check what was written.

    Raises:
        ValueError: whatever is missing, damaged or not acceptable, by name.
    """
    bundle = read_bundle(bundle_dir)
    device = device or choose_device()
    sample = read_sample(input_dir, bundle.submission)
    paths = [input_dir / path for path in image_paths(sample, bundle.test_image)]
    members = [load_member(spec, bundle_dir, device) for spec in bundle.models]
    probs = predict_probs(
        members,
        paths,
        device=device,
        batch_size=bundle.batch_size,
        workers=os.cpu_count() or 1,
        report=report,
    )
    write_submission(make_submission(sample, probs, bundle.submission), output)
    submission = pd.read_csv(output, dtype=str, keep_default_na=False)
    check_submission(submission, sample, bundle.submission)
    return submission


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
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    predict_bundle(given.bundle, given.input, given.output, device=choose_device(given.device))
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
