"""The digits that come with scikit-learn, written as the files of a Kaggle competition.

1,797 real digits of 43 people, 8 x 8 pixels with 17 grey levels (E. Alpaydin and C. Kaynak, Optical Recognition of
Handwritten Digits, UCI 1998). A stratified fifth is the test set.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def fetch(raw: Path) -> None:
    """Write train.csv, train/, test/ and sample_submission.csv below `raw`."""
    images = load_digits().images
    train, test = _split()
    _write_images(raw / "train", train, images)
    _write_images(raw / "test", test, images)
    train.to_csv(raw / "train.csv", index=False)
    test.assign(digit=0).to_csv(raw / "sample_submission.csv", index=False)


def answers() -> pd.DataFrame:
    """The digits of the test set, in the form of a submission."""
    return _split()[1]


def _split() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test rows (image_id, digit); the index is the row of scikit-learn's array."""
    digits = load_digits().target
    table = pd.DataFrame({"image_id": [f"{row:04d}" for row in range(len(digits))], "digit": digits})
    train, test = train_test_split(table, test_size=0.2, stratify=table.digit, random_state=42)
    return train.sort_index(), test.sort_index()


def _write_images(folder: Path, rows: pd.DataFrame, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for row, image_id in rows.image_id.items():
        grey = np.rint(images[row] * (255 / 16)).astype(np.uint8)
        if not cv2.imwrite(str(folder / f"{image_id}.png"), grey):
            raise OSError(f"{folder / image_id}.png could not be written")
