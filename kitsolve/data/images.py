"""Every image is opened once before hours of training depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
from tqdm import tqdm

from kitsolve.data.signatures import Signature, Signatures, sign_image
from kitsolve.errors import KitsolveError
from kitsolve.inference.devices import decoding_threads
from kitsolve.inference.images import read_image

SHOWN = 10


def check_images(raw: Path, paths: Sequence[str], *, slug: str, channels: int = 3, hashed: int = 0) -> Signatures:
    """Decode all images, in parallel.

    Args:
        hashed: of how many images, from the first, the signature is wanted.

    Returns:
        The signatures of these.

    Raises:
        KitsolveError: lists the first images that are missing, empty or damaged, and counts them all.
    """
    cv2.setNumThreads(0)  # our threads already keep the cores busy

    def look(numbered: tuple[int, str]) -> str | Signature | None:
        """What is wrong with an image, else its signature where it is wanted."""
        try:
            image = read_image(raw / numbered[1], channels)
        except ValueError as error:
            return str(error)
        return sign_image(image) if numbered[0] < hashed else None

    with ThreadPoolExecutor(decoding_threads()) as pool:
        looks = pool.map(look, enumerate(paths))
        seen = list(tqdm(looks, total=len(paths), desc="checking images", unit="img", leave=False, disable=None))
    problems = [found for found in seen if isinstance(found, str)]
    if problems:
        raise _cannot_be_used(problems, len(paths), slug)
    return Signatures.of([found for found in seen[:hashed] if isinstance(found, tuple)])


def _cannot_be_used(problems: list[str], count: int, slug: str) -> KitsolveError:
    shown = "\n  ".join(problems[:SHOWN])
    more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return KitsolveError(
        f"{len(problems)} of {count} images cannot be used:\n  {shown}{more}",
        hint=f"run `kitsolve fetch {slug} --force`, or correct train.image and test.image in its competition.toml.",
    )
