"""Every image is opened once before hours of training depend on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kitsolve.config import Image
from kitsolve.data.missing import explain_missing, lies_outside
from kitsolve.data.pages import has_pages
from kitsolve.data.signatures import COLOURS, THUMB_PX, Signatures, sign_image
from kitsolve.errors import KitsolveError
from kitsolve.inference.devices import decoding_threads
from kitsolve.inference.filetree import FileTree, folder_lister
from kitsolve.inference.images import inspect_image, read_bytes
from kitsolve.inference.pixels import Seen

SHOWN = 10
CHUNK = 4096
"""Images that are in work at a time, so that memory does not grow with their number."""
RECORD = np.dtype(
    [
        ("hash", np.uint64),
        ("thumb", np.uint8, THUMB_PX**2),
        ("colour", np.uint8, COLOURS),
        ("height", np.int32),
        ("width", np.int32),
        ("bits", np.uint8),
        ("low", np.float64),
        ("high", np.float64),
        ("top", np.uint8),
        ("transparent", np.bool_),
        ("invisible", np.bool_),
        ("pages", np.bool_),
        ("content", np.uint64),
    ]
)


NOTHING_ODD = Seen()


@dataclass(frozen=True)
class ImageCheck:
    """What was seen in the images of `paths`, in their order: `seen` has the fields of RECORD, 300 bytes an image.

    `hash`, `thumb`, `colour`: see `sign_image`. `bits`: how many integers of 16 bits or more use, else 0.
    `low`, `high`: the range of numbers that lie in no usual one, else NaN. `top`: which float became 255, if any.
    `pages`: there are several, of which the first is read. `content`: a hash of the whole file.
    """

    paths: Sequence[str]
    seen: NDArray[Any]

    @classmethod
    def of(cls, inspected: Mapping[str, tuple[Any, ...]]) -> ImageCheck:
        """What `inspect_file` gave for images, by their paths."""
        return cls(list(inspected), np.array(list(inspected.values()), dtype=RECORD))

    @property
    def signatures(self) -> Signatures:
        """Those of all images."""
        return Signatures(self.seen["hash"], self.seen["thumb"], self.seen["colour"])

    @property
    def bits(self) -> int:
        """How many bits the images of 16 bits or more use, all of them taken together; 16 where there are none."""
        return int(self.seen["bits"].max(initial=0)) or 16


def check_images(raw: Path, paths: Sequence[str], *, slug: str, image: Image | None = None) -> ImageCheck:
    """Decode all images, in parallel, and say what was seen in them.

    Args:
        image: how the competition's images are read; RGB by default.

    Raises:
        KitsolveError: lists the first images that are missing, empty or damaged, and counts them all.
    """
    cv2.setNumThreads(0)  # our threads already keep the cores busy
    facts = image or Image()
    seen, problems = np.zeros(len(paths), dtype=RECORD), []

    def look(path: str) -> tuple[Any, ...] | str:
        if lies_outside(path):
            return f"image {path} is not read:"
        try:
            return inspect_file(raw / path, facts)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(decoding_threads()) as pool:
        looks = _in_turn(pool, look, paths)
        shown = tqdm(looks, total=len(paths), desc="checking images", unit="img", leave=False, disable=None)
        for number, found in enumerate(shown):
            if isinstance(found, str):
                problems.append((paths[number], found))
            else:
                seen[number] = found
    if problems:
        tree = FileTree(folder_lister(raw))
        told = [f"{found} {explain_missing(tree, path)}".rstrip() for path, found in problems[:SHOWN]]
        raise _cannot_be_used(told, problems=len(problems), count=len(paths), slug=slug)
    return ImageCheck(paths, seen)


def inspect_file(path: Path, facts: Image) -> tuple[Any, ...]:
    """What is seen in one image, the fields of RECORD.

    Raises:
        ValueError: it cannot be read.
    """
    data = read_bytes(path)
    # Each image by the bits that it uses itself: how many all use is only known at the end.
    reading = facts.reading | {"bits": facts.bits or 8}
    image, seen = inspect_image(path, **reading, data=data)
    return record_image(image, seen, pages=has_pages(data), content=_hash_file(data))


def record_image(
    image: np.ndarray, seen: Seen = NOTHING_ODD, *, pages: bool = False, content: int = 0
) -> tuple[Any, ...]:
    """The fields of RECORD for a decoded image, (height, width, channels) uint8."""
    low, high = seen.range or (np.nan, np.nan)
    odd = (seen.bits, low, high, seen.top, seen.transparent, seen.invisible, pages, content)
    return (*sign_image(image), *image.shape[:2], *odd)


def _hash_file(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _in_turn(pool: ThreadPoolExecutor, function: Callable[[str], Any], paths: Sequence[str]) -> Iterator[Any]:
    """What the function gives for each path, with CHUNK of them in work at a time."""
    for start in range(0, len(paths), CHUNK):
        yield from pool.map(function, paths[start : start + CHUNK])


def _cannot_be_used(shown: Sequence[str], *, problems: int, count: int, slug: str) -> KitsolveError:
    lines = "\n  ".join([*shown, *([f"and {problems - len(shown)} more"] if problems > len(shown) else [])])
    return KitsolveError(
        f"{problems} of {count} images cannot be used:\n  {lines}",
        hint=f"run `kitsolve fetch {slug} --force`, or correct train.image and test.image in its competition.toml.",
    )


def describe_check(check: ImageCheck, image: Image) -> list[str]:
    """What a user should know of the images before training, a sentence for each odd thing that some of them have."""
    seen = check.seen
    lay = f"laid on {image.background} (another `background` under [image]: white, black, mean, or ignore)"
    odd = [
        (seen["transparent"], f"are transparent in places and are {lay}"),
        (seen["invisible"], "are transparent everywhere: their colours are taken as they are"),
        (seen["pages"], "hold several pages or frames: the first is taken"),
        (seen["bits"] > (image.bits or 16), f"use more than {image.bits} bits: each is scaled by those that it uses"),
    ]
    said = [_say(check, which, text) for which, text in odd if which.any()]
    if image.bits is None and check.bits < 16:
        text = f"have 16 bits or more and use {check.bits} at most: they are read as such (`bits` under [image])"
        said.append(_say(check, seen["bits"] > 0, text))
    return said + _describe_ranges(check, image)


def _describe_ranges(check: ImageCheck, image: Image) -> list[str]:
    """What is scaled image by image, so that brightness between images is lost."""
    said, unusual = [], np.isfinite(check.seen["low"])
    if unusual.any():
        low, high = (check.seen[end][np.argmax(unusual)] for end in ("low", "high"))
        what = "numbers outside of 0 to 255" if image.scale == "set" else "other numbers than 8 bits"
        text = f"hold {what}: each is scaled from its own 1st to 99th percentile"
        said.append(_say(check, unusual, text, more=f", from {low:.6g} to {high:.6g}"))
    shares, levels = (check.seen["top"] == top for top in (1, 255))
    if shares.any() and levels.any():
        text = (
            f"hold floats of 0 to 1, which are multiplied by 255, but in {int(levels.sum()):,} others floats exceed 1 "
            "and are taken as they are: write all in one range, in the fetch(raw) of a prepare.py"
        )
        said.append(_say(check, shares, text, more=f", of the others: {check.paths[int(np.argmax(levels))]}"))
    return said


def _say(check: ImageCheck, which: NDArray[np.bool_], text: str, *, more: str = "") -> str:
    first = check.paths[int(np.argmax(which))]
    return f"{int(which.sum()):,} of {len(which):,} images {text}; first: {first}{more}."
