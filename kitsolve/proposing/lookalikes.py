"""What the train images look like, all of them or a sample: near-duplicates of each other, or odd in some way."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kitsolve.config import Image
from kitsolve.data.images import ImageCheck, describe_check, inspect_file, record_image
from kitsolve.data.leakage import MIN_NEAR_DUPLICATES, MIN_NEAR_SHARE
from kitsolve.data.near_duplicates import find_near_duplicates
from kitsolve.errors import KitsolveError
from kitsolve.proposing.layout import PLAIN_SUFFIXES, Layout, archive_errors, suffix_of
from kitsolve.proposing.proposal import Guess

MAX_IMAGES = 1500
MAX_BYTES = 300_000_000
"""More is not decoded for a proposal: `fetch` opens every image anyway, and says what it finds."""
LARGE_BYTES = 200_000


def inspect_images(paths: Sequence[str], layout: Layout, scratch: Path) -> ImageCheck:
    """What is seen in the train images, in those of a sample where there are many.

    Args:
        paths: of the train rows' images.
        scratch: where images are unpacked that lie in zip archives; those in others are not looked at.
    """
    return ImageCheck.of(dict(_iter_inspected(_sample(paths, layout), layout, scratch)))


def group_near_duplicates(paths: Sequence[str], check: ImageCheck) -> NDArray[np.int64]:
    """(rows,) groups of near-duplicates, -1 for images that are not looked at."""
    found = np.full(len(paths), -1, dtype=np.int64)
    places = {path: place for place, path in enumerate(check.paths)}
    rows = [row for row, path in enumerate(paths) if path in places]
    if rows:
        found[rows] = find_near_duplicates(check.signatures[np.array([places[paths[row]] for row in rows])])
    return found


def describe_odd_images(check: ImageCheck, train_images: int) -> str:
    """What `fetch` would say of the images that were looked at; nothing where they are as usual."""
    said = describe_check(check, Image())
    if not said:
        return ""
    return " ".join([f"{len(check.paths):,} of {train_images:,} train images were opened.", *said])


def choose_duplicates(near_duplicates: NDArray[np.int64], group: NDArray[np.int64] | None) -> Guess | None:
    """That near-duplicates belong in one fold; None where they are few, or all in one group anyway.

    Args:
        group: (rows,) that of the facts, -1: none.
    """
    looked_at = near_duplicates[near_duplicates >= 0]
    if not len(looked_at):
        return None
    sizes = np.bincount(looked_at)
    copies = int(sizes[sizes > 1].sum())
    share = copies / len(looked_at) * len(near_duplicates) / len(looked_at)  # of a sample few have their copy in it
    if copies < MIN_NEAR_DUPLICATES or share < MIN_NEAR_SHARE:
        return None
    if group is not None and _lie_in(near_duplicates, group):
        return None
    what = "the train images" if len(looked_at) == len(near_duplicates) else f"{len(looked_at):,} train images by lot"
    return Guess("group", f"{copies:,} of {what} are near-duplicates of another one", ("group", "keep"))


def _lie_in(near_duplicates: NDArray[np.int64], group: NDArray[np.int64]) -> bool:
    """Whether nearly all near-duplicates of an image lie in its group."""
    known = (near_duplicates >= 0) & (group >= 0)
    pairs = np.unique(np.stack([near_duplicates[known], group[known]]), axis=1)
    return bool(pairs.shape[1] <= 1.05 * len(np.unique(near_duplicates[known])))


def _sample(paths: Sequence[str], layout: Layout) -> list[str]:
    known = sorted({path for path in paths if path in layout.files and suffix_of(path) in PLAIN_SUFFIXES})
    if len(known) <= MAX_IMAGES:
        return known
    chosen = np.random.default_rng(0).choice(len(known), MAX_IMAGES, replace=False)
    return [known[place] for place in sorted(chosen.tolist())]


def _iter_inspected(paths: Sequence[str], layout: Layout, scratch: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What is seen in each, until enough bytes are read; what cannot be read is left to `fetch`, which says so."""
    left = MAX_BYTES
    for path, place in _iter_places(paths, layout, scratch):
        left -= place.stat().st_size
        if left < 0:
            return
        try:
            yield path, _inspect(place)
        except ValueError:
            continue


def _iter_places(paths: Sequence[str], layout: Layout, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Where each image lies, one after the other; each zip is opened once."""
    packed: dict[str, list[str]] = {}
    for path in paths:
        where = layout.files[path]
        if where is None:
            yield path, layout.raw / path
        elif where.archive.lower().endswith(".zip"):
            packed.setdefault(where.archive, []).append(path)
    for archive, members in packed.items():
        yield from _unpack(archive, members, layout, scratch)


def _unpack(archive: str, paths: Sequence[str], layout: Layout, scratch: Path) -> Iterator[tuple[str, Path]]:
    place = scratch / "lookalikes"
    try:
        with archive_errors(archive), zipfile.ZipFile(layout.raw / archive) as file:
            for path in paths:
                where = layout.files[path]
                assert where is not None
                target = place.with_suffix(suffix_of(path))
                target.write_bytes(file.read(where.member))
                yield path, target
                target.unlink()
    except KitsolveError:
        return  # `fetch` says what is wrong with it


def _inspect(place: Path) -> tuple[Any, ...]:
    """What is seen in one; a large JPEG, in which nothing is odd, is decoded at a quarter of its size: much quicker.

    Raises:
        ValueError: it cannot be read.
    """
    if suffix_of(place.name) in (".jpg", ".jpeg") and place.stat().st_size > LARGE_BYTES:
        image = cv2.imread(str(place), cv2.IMREAD_REDUCED_COLOR_4)
        if image is not None:
            return record_image(np.ascontiguousarray(image[..., ::-1]))
    return inspect_file(place, Image())
