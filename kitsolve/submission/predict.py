"""`kitsolve predict`: a bundle predicts the test set on this machine, by the bundle's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from kitsolve.errors import translated
from kitsolve.inference.bundle import Bundle
from kitsolve.inference.devices import choose_device
from kitsolve.inference.predict import predict_bundle
from kitsolve.inference.testset import read_sample
from kitsolve.workspace import Workspace, is_newer


def keep_or_predict(workspace: Workspace, bundle: Bundle) -> Path:
    """The submission.csv that was made from this bundle and these tables; a new one where there is none."""
    slug = bundle.competition
    path = workspace.submission(slug, bundle.name)
    sources = workspace.bundle(slug, bundle.name) / "bundle.json", workspace.finished_tables(slug) / "tables.json"
    return path if is_newer(path, *sources) else predict(workspace, bundle)


def predict(workspace: Workspace, bundle: Bundle, *, output: Path | None = None, device: str = "auto") -> Path:
    """Write the bundle's submission of the raw folder's test images.

    Returns:
        The path of the checked submission.csv.

    Raises:
        KitsolveError: a missing or damaged image, sample submission or weights file.
    """
    slug = bundle.competition
    output = output or workspace.submission(slug, bundle.name)
    with translated(f"run `kitsolve fetch {slug} --force` for images, `kitsolve export {slug}` for weights."):
        chosen = choose_device(device)
        rows = len(read_sample(workspace.raw(slug), bundle.submission))
        with tqdm(total=rows, desc="predicting", unit="img", leave=False, disable=None) as bar:
            predict_bundle(
                workspace.bundle(slug, bundle.name), workspace.raw(slug), output, device=chosen, report=bar.update
            )
    return output


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
