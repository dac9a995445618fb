"""Every image is opened once before hours of training depend on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.inference import read_image

SHOWN = 10


def check_images(raw: Path, paths: Sequence[str], *, slug: str) -> None:
    """Decode all images, in parallel.

    Raises:
        KitsolveError: lists the first images that are missing, empty or damaged, and counts them all.
    """
    cv2.setNumThreads(0)  # our threads already keep the cores busy
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = pool.map(_problem_of, [raw / path for path in paths])
        bar = tqdm(checks, total=len(paths), desc="checking images", unit="img", leave=False, disable=None)
        problems = [problem for problem in bar if problem]
    if not problems:
        return
    shown = "\n  ".join(problems[:SHOWN])
    more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise KitsolveError(
        f"{len(problems)} of {len(paths)} images cannot be used:\n  {shown}{more}",
        hint=f"run `kitsolve fetch {slug} --force`, or correct train.image and test.image in its competition.toml.",
    )


def _problem_of(path: Path) -> str | None:
    try:
        read_image(path)
    except ValueError as error:
        return str(error)
    return None
