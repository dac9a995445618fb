"""From a bundle and the competition's folder to submission.csv."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kitsolve.inference.bundle import Bundle, check_files, read_bundle
from kitsolve.inference.deadline import Progress, Rescue
from kitsolve.inference.decode import FORMS, decode, decode_for_hook
from kitsolve.inference.devices import all_devices, choose_device, decoding_threads, limit_threads
from kitsolve.inference.ensemble import load_ensemble
from kitsolve.inference.loop import iter_probs
from kitsolve.inference.submission import check_submission, make_submission, write_submission
from kitsolve.inference.tables import read_table
from kitsolve.inference.testset import encode_features, find_images, image_paths, join_rows, read_sample


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


def open_bundle(folder: Path) -> Bundle:
    """The bundle of a folder, whose files are those that were exported; if it brings a timm, that is the one to import.

    Raises:
        ValueError: not a bundle, or a file is missing or changed.
    """
    bundle = read_bundle(folder)
    check_files(bundle, folder)
    for name in bundle.files:
        if name.endswith(".whl") and "timm" not in sys.modules:
            sys.path.insert(0, str(folder / name))  # Python imports from a wheel as from a folder
    return bundle


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
        device: None: every GPU, else the CPU.
        report: called with the number of images done after every batch.
        lenient: an image that cannot be read gets the mean prediction, and a submission of nothing else is written
            first; for a code competition, where any file counts more than none. What happens is printed.
        time_limit_s: where the time does not suffice for all views by all models, some are left out.

    Returns:
        The submission, with the seconds to its first batch and those for an image as attributes.

    Raises:
        ValueError: whatever is missing, damaged or not acceptable, by name.
    """
    progress = Progress(started=time.monotonic())
    bundle = open_bundle(bundle_dir)
    sample = read_sample(input_dir, bundle.submission, spelt=True)
    progress.images = len(sample)
    rescue = Rescue(np.array(bundle.prior, dtype=np.float32), progress.started + time_limit_s) if lenient else None
    if rescue is not None:
        nothing = np.repeat(rescue.prior[None], len(sample), axis=0)
        _submit([nothing], sample, bundle, bundle_dir, output)
    limit_threads()
    devices = [device] if device else all_devices()
    ensembles = [load_ensemble(bundle, bundle_dir, place) for place in devices]
    if lenient:
        print(describe_machine(devices))
    rows = join_rows(read_sample(input_dir, bundle.submission), input_dir, bundle.test)

    def count(images: int) -> None:
        progress.add(images, quiet=not lenient)
        report(images)

    with tempfile.TemporaryDirectory() as scratch:
        paths = image_paths(rows, bundle.test.image)
        batches = iter_probs(
            ensembles,
            find_images(input_dir, paths, bundle.archives, Path(scratch), test=bundle.test),
            features=encode_features(rows, bundle.features) if bundle.features else None,
            workers=decoding_threads(),
            report=count,
            rescue=rescue,
        )
        written = _submit(batches, sample, bundle, bundle_dir, output)
    written.attrs = {"start_s": progress.start_s, "image_s": progress.image_s}
    if rescue is not None:
        print("\n".join(describe_rescue(rescue, progress)))
    return written


def _submit(
    batches: Iterable[np.ndarray], sample: pd.DataFrame, bundle: Bundle, bundle_dir: Path, output: Path
) -> pd.DataFrame:
    """Write the submission of a bundle's outputs, and check what was written."""
    # Decoded batch by batch: of 15,000 classes the outputs of all images may not fit into memory.
    form = FORMS.get(bundle.submission.kind)
    decoder = bundle.decoder
    parts = [decode(batch, decoder, form) if form else decode_for_hook(batch, decoder) for batch in batches]
    if form:
        submission = make_submission(sample, np.concatenate(parts), bundle.submission)
    else:
        submission = _ask_hook(bundle_dir, sample, np.concatenate(parts), bundle.submission.class_names)
    write_submission(submission, output)
    written = read_table(output, "utf-8", separator=",", spelt=True).rows
    check_submission(written, sample, bundle.submission)
    return written


def describe_machine(devices: Sequence[torch.device]) -> str:
    """What computes, and with which libraries."""
    timm = sys.modules.get("timm")
    names = ", ".join(map(str, devices))
    return f"devices  {names}; torch {torch.__version__}, timm {timm.__version__ if timm else 'not needed'}"


def describe_rescue(rescue: Rescue, progress: Progress) -> Iterator[str]:
    """What was done, and what did not go as it should, in words."""
    yield f"{progress.images:,} images, {len(rescue.lost):,} of them unreadable"
    yield f"{rescue.passes:,} of {rescue.wanted:,} passes of an image through a model"
    if progress.first is not None:
        yield f"first predictions after {progress.start_s:.1f} s, then {1 / progress.image_s:.1f} images a second"
    if rescue.lost:
        yield f"unreadable images got the mean prediction, first: {rescue.lost[0]}"
    if rescue.passes < rescue.wanted:
        yield "the time did not suffice for all views and models: the least of them were left out"
    if rescue.unseen:
        yield f"the time was over before {rescue.unseen:,} images, which got the mean prediction"


def _ask_hook(
    bundle_dir: Path, sample: pd.DataFrame, predictions: np.ndarray, class_names: tuple[str, ...]
) -> pd.DataFrame:
    """What the `submission` of the competition's own prepare.py, which the bundle carries, makes of the predictions.

    What it prints goes to stderr.

    Raises:
        ValueError: it fails, or gives anything but a table, or one with NaN in it.
    """
    path = bundle_dir / "prepare.py"
    spec = importlib.util.spec_from_file_location("prepare", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be read.")
    module = importlib.util.module_from_spec(spec)
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
            submission = module.submission(sample.copy(), predictions, class_names)
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"submission in {path} raised {said}, given predictions {predictions.shape}.") from error
    if not isinstance(submission, pd.DataFrame):
        raise ValueError(f"submission in {path} returned a {type(submission).__name__}, not the sample's table.")
    empty = submission.isna().to_numpy()
    if empty.any():
        row, column = np.argwhere(empty)[0]
        raise ValueError(
            f"submission in {path} left {int(empty.sum())} cells without a value, first: row {row + 2}, column "
            f'{submission.columns[column]!r}; write "" where an empty one is meant.'
        )
    return submission


def main() -> None:
    """Predict from the command line, without kitsolve."""
    parser = argparse.ArgumentParser(description="Predict a competition's test images with a kitsolve bundle.")
    parser.add_argument(
        "--bundle",
        type=Path,
        default=Path(__file__).parent,
        help="folder with bundle.json and the weights; by default this file's",
    )
    parser.add_argument("--input", type=Path, required=True, help="the competition's folder")
    parser.add_argument("--output", type=Path, default=Path("submission.csv"))
    parser.add_argument("--device", help="cpu, cuda, cuda:1 …; by default every GPU, else the CPU")
    given = parser.parse_args()
    try:
        device = choose_device(given.device) if given.device else None
        predict_bundle(given.bundle, given.input, given.output, device=device)
    except ValueError as error:  # a file that is missing, damaged or another one, in one sentence
        sys.exit(f"error: {error}")
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
