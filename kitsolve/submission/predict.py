"""`kitsolve predict`: a bundle predicts the test set on this machine, by the bundle's own code."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from kitsolve.data.stored import read_table
from kitsolve.errors import KitsolveError, translated
from kitsolve.inference.bundle import Bundle, file_sha256
from kitsolve.inference.devices import choose_device
from kitsolve.inference.predict import predict_bundle
from kitsolve.inference.testset import read_sample
from kitsolve.provenance import Record, Sources, files_sha256, list_changes, read_record, write_record
from kitsolve.workspace import Workspace


def keep_or_predict(workspace: Workspace, bundle: Bundle) -> Path:
    """The submission.csv that was made from this bundle and these test files; a new one where there is none.

    Raises:
        KitsolveError: it was edited since it was predicted; see also `predict`.
    """
    path, record = workspace.submission(bundle.competition, bundle.name), _read_own(workspace, bundle)
    if record is None:
        return predict(workspace, bundle)
    if file_sha256(path) != record.sha256:
        raise KitsolveError(
            f"{path} was changed after `kitsolve predict` wrote it: it is no longer what {bundle.name} predicts.",
            hint="run `kitsolve predict` for these runs, which writes it anew; "
            f"or submit it as a file of your own, without the CV: --file {path}.",
        )
    changes = list_changes(record.made_from, list_sources(workspace, bundle))
    if changes:
        tqdm.write(f"predicting anew: {', '.join(changes)} changed since submission.csv was written", file=sys.stderr)
        return predict(workspace, bundle)
    return path


def _read_own(workspace: Workspace, bundle: Bundle) -> Record | None:
    """The record of the bundle's submission.csv; what has none is put aside, since it may be the user's own."""
    path = workspace.submission(bundle.competition, bundle.name)
    record = read_record(path)
    if path.is_file() and record is None:
        aside = path.with_name("submission.before.csv")
        path.replace(aside)
        text = f"it is not on record what {path} was made from: it is now {aside.name}, and the test set predicted anew"
        tqdm.write(text, file=sys.stderr)
    return record if path.is_file() else None


def list_sources(workspace: Workspace, bundle: Bundle) -> Sources:
    """What a submission is made from, by content: bundle.json, the tables of the test set and its images."""
    slug, raw = bundle.competition, workspace.raw(bundle.competition)
    images = read_table(workspace, slug, "test.csv").path
    names = [bundle.submission.sample, *bundle.test.files]
    made_from = {"bundle.json": file_sha256(workspace.bundle(slug, bundle.name) / "bundle.json")}
    made_from |= {name: files_sha256(raw, [name]) for name in dict.fromkeys(names)}
    return made_from | {"the test images": files_sha256(raw, images)}


def predict(workspace: Workspace, bundle: Bundle, *, output: Path | None = None, device: str = "auto") -> Path:
    """Write the bundle's submission of the raw folder's test images, and what it was made from.

    Args:
        output: another place, where nothing is recorded.

    Returns:
        The path of the checked submission.csv.

    Raises:
        KitsolveError: a missing or damaged image, sample submission or weights file.
    """
    slug = bundle.competition
    own = workspace.submission(slug, bundle.name)
    made_from = list_sources(workspace, bundle) if output is None else {}
    with translated(f"run `kitsolve fetch {slug} --force` for images, `kitsolve export {slug}` for weights."):
        chosen = choose_device(device)
        rows = len(read_sample(workspace.raw(slug), bundle.submission))
        with tqdm(total=rows, desc="predicting", unit="img", leave=False, disable=None) as bar:
            predict_bundle(
                workspace.bundle(slug, bundle.name),
                workspace.raw(slug),
                output or own,
                device=chosen,
                report=bar.update,
            )
    if output is None:
        write_record(own, made_from)
    return output or own


def find_difference(ours: pd.DataFrame, theirs: pd.DataFrame, kind: str) -> str | None:
    """What differs, beyond rounding, between two submissions (as strings) for the same images in the same order.

    Half precision rounds differently in batches of another size and on another device: 1 % of the labels may differ,
    probabilities by 0.02, values by 2 % of their spread, and of a list of labels at most half.
    """
    one, other = ours.iloc[:, 1:].to_numpy(), theirs.iloc[:, 1:].to_numpy()
    allowed = 0
    if kind in ("probability", "class_probabilities", "value"):
        numbers = one.astype(float)
        spread = max(float(np.ptp(numbers)), 1e-6) if kind == "value" else 1.0
        odd = (np.abs(numbers - other.astype(float)) > 0.02 * spread).any(axis=1)
    elif kind in ("label_list", "top_k"):
        odd = np.array([_overlap(cell, twin) < 0.5 for cell, twin in zip(one[:, 0], other[:, 0], strict=True)])
    else:
        odd = (one != other).any(axis=1)
        allowed = len(odd) // 100
    if odd.sum() <= allowed:
        return None
    row = int(np.flatnonzero(odd)[0])
    return (
        f"{odd.sum()} of {len(odd)} rows differ, first: id {ours.iloc[row, 0]!r} "
        f"has {', '.join(one[row])} here and {', '.join(other[row])} there"
    )


def _overlap(one: str, other: str) -> float:
    """Labels that both lists have, as a share of those that either has."""
    both = set(one.split()), set(other.split())
    union = both[0] | both[1]
    return len(both[0] & both[1]) / len(union) if union else 1.0
