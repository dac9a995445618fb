"""What stands for /kaggle/input in a rehearsal: the public test set, and another, larger one in its place."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kitsolve.data.fetch import link_or_copy
from kitsolve.inference.bundle import Bundle, Split
from kitsolve.inference.filetree import ANY_SUFFIX
from kitsolve.inference.tables import table_bytes
from kitsolve.inference.testset import ARRAYS, image_paths, read_sample
from kitsolve.submission.notebook import kaggle_slug
from kitsolve.workspace import Workspace, read_csv

EXTRA_IMAGES = 200
"""Train images that the larger test set has beside all images of the public one."""


def mount_public(workspace: Workspace, bundle: Bundle, inputs: Path) -> None:
    """The competition's files but its train images, and the weights, as /kaggle/input/NAME."""
    slug = bundle.competition
    _link_files(workspace.raw(slug), inputs / slug, without=_paths(workspace, slug, "train.csv"))
    _pack(inputs / slug, bundle.archives)
    _link_files(workspace.bundle(slug, bundle.name), inputs / kaggle_slug(bundle), without=set())


def mount_rerun(workspace: Workspace, bundle: Bundle, inputs: Path) -> pd.DataFrame:
    """The same in Kaggle's newer layout, with another test set: all test images and some train images under new names.

    Returns:
        image_id (new) and origin: the public test image that it is, empty for train images; in the new sample's order.
    """
    slug, raw = bundle.competition, workspace.raw(bundle.competition)
    target = inputs / "competitions" / slug
    _link_files(workspace.bundle(slug, bundle.name), inputs / "datasets" / "owner" / kaggle_slug(bundle), without=set())
    _link_files(raw, target, without=_paths(workspace, slug, "train.csv") | _paths(workspace, slug, "test.csv"))
    sample = read_sample(raw, bundle.submission)
    sources, rows, origins = _make_rerun_rows(workspace, bundle, sample)
    named = image_paths(rows, bundle.test.image)
    paths = [_with_suffix(path, source) for path, source in zip(named, sources, strict=True)]
    for source, path in zip(sources, paths, strict=True):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(raw / source, target / path)
    if not bundle.test.arrays and "" in origins:
        damaged = target / paths[origins.index("")]
        damaged.unlink()  # a hard link, too
        damaged.write_bytes(b"cut off")
    for name in (*bundle.test.files, bundle.submission.sample):
        (target / name).unlink()  # a hard link: writing into it would change the raw file
    spelt = read_sample(raw, bundle.submission, spelt=True)
    hidden = pd.concat([spelt.iloc[:1]] * len(rows), ignore_index=True)
    hidden.iloc[:, 0] = rows.iloc[:, 0].to_numpy()
    (target / bundle.submission.sample).write_bytes(table_bytes(hidden))
    _write_rows(rows, target, bundle.test, arrays=_read_arrays(raw, sources, bundle))
    _pack(target, bundle.archives)
    return pd.DataFrame({"image_id": rows.iloc[:, 0], "origin": origins})


def _with_suffix(path: str, source: str) -> str:
    """The path with the suffix of its source, where the template leaves it open."""
    return path.removesuffix(ANY_SUFFIX) + Path(source).suffix if path.endswith(ANY_SUFFIX) else path


def _make_rerun_rows(
    workspace: Workspace, bundle: Bundle, sample: pd.DataFrame
) -> tuple[list[str], pd.DataFrame, list[str]]:
    """Paths, rows with new ids, and origins of the larger test set, in an order of their own."""
    slug = bundle.competition
    test, train = (read_csv(workspace.tables(slug) / name) for name in ("test.csv", "train.csv"))
    # Every field of the template but the id tells images apart: train images keep theirs.
    extra = train[:EXTRA_IMAGES].reindex(columns=list(test), fill_value="")
    rows = pd.concat([test, extra], ignore_index=True)
    origins = pd.Series([*sample.iloc[:, 0], *[""] * (len(rows) - len(test))])
    order = np.random.default_rng(0).permutation(len(rows))
    suffix = Path(sample.iloc[0, 0]).suffix  # some ids are file names
    further = rows.drop(columns=["image_id", "path"])
    ids = [f"rerun_{number:07d}{suffix}" for number in range(len(rows))]
    names = dict.fromkeys([sample.columns[0], bundle.test.id], ids)
    renamed = pd.concat([pd.DataFrame(names), further], axis=1).iloc[order].reset_index(drop=True)
    return rows.path.iloc[order].tolist(), renamed, origins.iloc[order].tolist()


def _read_arrays(raw: Path, sources: list[str], bundle: Bundle) -> dict[str, list[Any]]:
    """The numbers of the images that JSON records hold, by key; empty where images are files."""
    images = [np.load(raw / source) for source in sources] if bundle.test.arrays else []
    return {key: [image[place].tolist() for image in images] for place, key in enumerate(bundle.test.arrays)}


def _write_rows(rows: pd.DataFrame, folder: Path, test: Split, *, arrays: dict[str, list[Any]]) -> None:
    """The test rows into the first of the split's files, the others without rows."""
    for number, path in enumerate(folder / name for name in test.files):
        part = rows.assign(**arrays) if number == 0 else rows[:0]
        text = json.dumps(part.to_dict("records")) if path.suffix.lower() == ".json" else table_bytes(part).decode()
        path.write_bytes(text.encode(test.encoding))


def _paths(workspace: Workspace, slug: str, table: str) -> set[str]:
    return set(read_csv(workspace.tables(slug) / table).path)


def _link_files(source: Path, target: Path, *, without: set[str]) -> None:
    """All files below `source`, linked into `target`, but those of the relative paths `without`."""
    for folder, _, files in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            if (Path(folder, name).relative_to(source)).as_posix() not in without:
                link_or_copy(Path(folder, name), place / name)


def _pack(folder: Path, archives: Sequence[str]) -> None:
    """Put what was unpacked from nested zips back into them: Kaggle mounts them as they were uploaded."""
    for name in archives:
        place = folder / Path(name).with_suffix("")
        if name.endswith(".zip") and place.is_dir():
            with zipfile.ZipFile(folder / name, "w") as packed:
                for path in sorted(path for path in place.rglob("*") if path.is_file()):
                    packed.write(path, path.relative_to(place.parent))
            shutil.rmtree(place)
    shutil.rmtree(folder / ARRAYS, ignore_errors=True)  # at Kaggle these are in the JSON alone
