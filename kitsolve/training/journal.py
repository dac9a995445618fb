"""What a fold leaves to look at: history.csv, and TensorBoard's scalars and pictures."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from kitsolve.training.distributed import Machine
from kitsolve.workspace import write_csv


class Journal:
    """Writes into the folder of one fold; a context manager, so that TensorBoard's file is closed.

    Of several processes the first does.
    """

    def __init__(self, folder: Path, machine: Machine, *, epochs_done: int) -> None:
        self.folder = folder
        # What a killed process wrote after its last checkpoint is hidden in TensorBoard.
        self.board = SummaryWriter(str(folder), purge_step=epochs_done) if machine.leads else None

    def __enter__(self) -> Journal:
        """Nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush and close TensorBoard's file."""
        if self.board is not None:
            self.board.close()

    def write_epoch(
        self, history: list[dict[str, Any]], confusion: np.ndarray | None, class_names: tuple[str, ...]
    ) -> None:
        """Record the newest epoch of `history`.

        Args:
            confusion: (classes, classes) counts, true class by row; None: no picture.
        """
        if self.board is None:
            return
        write_csv(self.folder / "history.csv", pd.DataFrame(history))
        line = history[-1]
        for name in ("lr", "train_loss", "val_loss", "score", "images_per_s"):
            self.board.add_scalar(name, line[name], line["epoch"])
        if confusion is not None:
            self.board.add_image("confusion", draw_confusion(confusion, class_names), line["epoch"], dataformats="HWC")
        self.board.flush()

    def write_images(self, images: Tensor) -> None:
        """Show up to 64 augmented training images, (images, height, width, channels) uint8, as a grid.

        Of other channels than RGB the first is shown.
        """
        assert self.board is not None
        shown = images[:64] if images.shape[-1] == 3 else images[:64, ..., :1]
        grid = make_grid(shown.permute(0, 3, 1, 2), nrow=8, padding=2)
        self.board.add_image("augmented", grid, 0)


def draw_confusion(confusion: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """(side, side, 3) uint8: a cell a class pair, darker where the share of the true class is larger.

    Rows are true classes. Counts and names are written in while there is room, up to 30 classes.
    """
    cell = 40 if len(class_names) <= 30 else max(1, 1200 // len(class_names))
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    shade = (255 * (1 - shares)).astype(np.uint8)
    picture: np.ndarray = np.repeat(np.repeat(shade, cell, axis=0), cell, axis=1)
    picture = np.ascontiguousarray(np.stack([picture, picture, np.full_like(picture, 255)], axis=-1))
    if cell < 40:
        return picture
    picture = cv2.copyMakeBorder(picture, cell, 0, cell, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    for row, name in enumerate(class_names):
        _write(picture, name[:5], column=0, row=row + 1, cell=cell)
        _write(picture, name[:5], column=row + 1, row=0, cell=cell)
        for column, count in enumerate(confusion[row]):
            if count:
                _write(picture, str(count), column=column + 1, row=row + 1, cell=cell, white=shares[row, column] > 0.5)
    return picture


def _write(picture: np.ndarray, text: str, *, column: int, row: int, cell: int, white: bool = False) -> None:
    colour = (255, 255, 255) if white else (0, 0, 0)
    corner = (column * cell + 4, row * cell + cell // 2 + 5)
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
