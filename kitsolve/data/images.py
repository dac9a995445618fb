"""Every image is opened once before hours of training depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
from tqdm import tqdm

from kitsolve.data.missing import explain_missing, lies_outside
from kitsolve.data.signatures import Signature, Signatures, sign_image
from kitsolve.errors import KitsolveError
from kitsolve.inference.devices import decoding_threads
from kitsolve.inference.filetree import FileTree, folder_lister
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
        if lies_outside(numbered[1]):
            return f"image {numbered[1]} is not read:"
        try:
            image = read_image(raw / numbered[1], channels)
        except ValueError as error:
            return str(error)
        return sign_image(image) if numbered[0] < hashed else None

    with ThreadPoolExecutor(decoding_threads()) as pool:
        looks = pool.map(look, enumerate(paths))
        seen = list(tqdm(looks, total=len(paths), desc="checking images", unit="img", leave=False, disable=None))
    problems = [(path, found) for path, found in zip(paths, seen, strict=True) if isinstance(found, str)]
    if problems:
        tree = FileTree(folder_lister(raw))
        shown = [f"{found} {explain_missing(tree, path)}".rstrip() for path, found in problems[:SHOWN]]
        raise _cannot_be_used(shown, problems=len(problems), count=len(paths), slug=slug)
    return Signatures.of([found for found in seen[:hashed] if isinstance(found, tuple)])


def _cannot_be_used(shown: Sequence[str], *, problems: int, count: int, slug: str) -> KitsolveError:
    lines = "\n  ".join([*shown, *([f"and {problems - len(shown)} more"] if problems > len(shown) else [])])
    return KitsolveError(
        f"{problems} of {count} images cannot be used:\n  {lines}",
        hint=f"run `kitsolve fetch {slug} --force`, or correct train.image and test.image in its competition.toml.",
    )
