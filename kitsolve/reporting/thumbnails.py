"""Images inside of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kitsolve.errors import translated
from kitsolve.inference.images import read_image
from kitsolve.pictures.drawing import letterbox, tile_channels
from kitsolve.pictures.summary import TrainSet
from kitsolve.reporting.html import Html, element

SIDE, SMALL = 224, 96
QUALITY = 82


def read_thumbnails(train: TrainSet, rows: Iterable[int], *, side: int = SMALL) -> list[Html]:
    """The images of some rows."""
    return draw_files([train.paths[row] for row in rows], train, side=side)


def draw_files(paths: list[Path], train: TrainSet, *, side: int = SMALL) -> list[Html]:
    """The images of some files of the competition.

    Raises:
        KitsolveError: one cannot be read.
    """
    read = partial(_read, reading=train.competition.image.reading, side=side)
    with translated(f"run `kitsolve fetch {train.competition.slug} --force`."), ThreadPoolExecutor() as pool:
        return list(pool.map(read, paths))


def _read(path: Path, reading: dict[str, Any], side: int) -> Html:
    return embed(read_image(path, **reading), side=side, says=path.name)


def embed(image: NDArray[np.uint8], *, side: int = SIDE, says: str) -> Html:
    """An <img> that holds the image as JPEG, at most `side` px wide and high.

    Args:
        image: (height, width, channels); see pictures.drawing.tile_channels for other than 1 or 3 channels.
        says: what it is, for those who cannot see it.
    """
    fitted = letterbox(tile_channels(image), side, side)
    file = io.BytesIO()
    fitted.save(file, format="JPEG", quality=QUALITY)
    data = base64.b64encode(file.getvalue()).decode()
    return element(
        "img", src=f"data:image/jpeg;base64,{data}", alt=says, width=fitted.width, height=fitted.height, loading="lazy"
    )
