"""Rows against images: which rows find none, which share one, and which images no row uses."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from kitsolve.data.image_files import NO_PHOTOS
from kitsolve.proposing.layout import Layout, suffix_of
from kitsolve.proposing.roles import is_of_test

NEARLY_ALL = 0.9
FEW_FOLDERS = 3
MASK_ENDS = re.compile(r"^[ _.-]*(?:mask|segm|label|annot|gt|truth|overlay)", re.IGNORECASE)


@dataclass(frozen=True)
class Coverage:
    """What is wrong between rows and images, a sentence each; folders of images that no row uses -> their number."""

    problems: list[str]
    left_out: dict[str, int]


def compare(train: Sequence[str] | None, test: Sequence[str] | None, layout: Layout) -> Coverage:
    """Hold the images of both splits' rows against all images.

    Args:
        train: a path for each row; None where the rows cannot be read.
        test: the same of the test rows.
    """
    problems = []
    for split, paths in (("train", train or ()), ("test", test or ())):
        problems += [*_say_lost(paths, layout, split), *_say_shared(paths, split), *_say_masks(paths, split)]
    if train is None or test is None:
        return Coverage(problems, {})
    both = set(train) & set(test)
    if both:
        problems.append(f"{len(both):,} images are in both splits, first: {min(both)}.")
    beside_train, beside_test, left_out = _find_unused(set(train), set(test), layout)
    problems += _say_unused(beside_train, set(train), "train")
    if len(beside_test) >= NEARLY_ALL * len(set(test)):
        problems += _say_unused(beside_test, set(test), "test")
    else:
        left_out = dict(Counter(_folder(path) for path in beside_test)) | left_out
    return Coverage(problems, left_out)


def say_repeated(rows: pd.DataFrame, column: str, ids: Collection[str], path: str) -> list[str]:
    """That ids of the test set have several rows, of which facts take the first."""
    counts = rows[column][rows[column].isin(set(ids))].value_counts()
    several = counts[counts > 1]
    if several.empty:
        return []
    return [
        f"{len(several):,} of {len(counts):,} test ids have several rows in {path}, up to {several.max()} (first: "
        f"{sorted(several.index)[0]}), of which facts would take the first: {AS_ONE}"
    ]


AS_ONE = "write the images of a row as one (a montage, or the channels of a .npy) in the fetch(raw) of a prepare.py."


def _say_lost(paths: Sequence[str], layout: Layout, split: str) -> list[str]:
    lost = [path for path in paths if path not in layout.files]
    if not lost:
        return []
    if split == "test" and len(lost) == len(paths):
        return [
            f"none of the {len(paths):,} test images is in these files, first: {lost[0]}; where only the rerun of a "
            "code competition has them, put copies of train images there under these names: fetch, predict and "
            "rehearse need something to read."
        ]
    return [f"{len(lost):,} of {len(paths):,} {split} rows find no image, first: {lost[0]}{_explain(lost, layout)}."]


def _explain(lost: Sequence[str], layout: Layout) -> str:
    """Where the lost images lie, if their names are found in other folders."""
    wanted = {_name(path) for path in lost}
    folders = Counter(_folder(path) for path in layout.images if _name(path) in wanted)
    if sum(folders.values()) < NEARLY_ALL * len(wanted):
        return ""
    shown = ", ".join(sorted(folders)[:FEW_FOLDERS]) + (", …" if len(folders) > FEW_FOLDERS else "")
    return (
        f"; images of these names lie in {len(folders)} other folder{'s' if len(folders) > 1 else ''} ({shown}), which "
        "no column names: move all of them into one folder, or add a column with the folder in the fetch(raw) of a "
        "prepare.py"
    )


def _say_shared(paths: Sequence[str], split: str) -> list[str]:
    counts = Counter(path for path in paths if path)
    shared = [path for path, count in counts.items() if count > 1]
    if not shared:
        return []
    rows = sum(counts[path] for path in shared)
    return [
        f"{rows:,} {split} rows share {len(shared):,} images, up to {max(counts.values())} rows each, first: "
        f"{shared[0]}; make a table with a line for each image and a column for each answer in the fetch(raw) of a "
        "prepare.py, and the competition's own lines in its submission(sample, outputs, class_names)."
    ]


def _say_masks(paths: Sequence[str], split: str) -> list[str]:
    """That rows are masks of other rows' images, which lie in the same folders."""
    stems = {_stem(path) for path in paths}
    masks = sorted(path for path in paths if _is_mask(path, stems))
    return (
        [f"{len(masks):,} of {len(paths):,} {split} rows are masks of other images, first: {masks[0]}."]
        if masks
        else []
    )


def _is_mask(path: str, stems: Collection[str]) -> bool:
    stem = _stem(path)
    return any(MASK_ENDS.match(stem[end:]) and stem[:end] in stems for end in range(len(stem) - 1, 0, -1))


def _find_unused(train: set[str], test: set[str], layout: Layout) -> tuple[list[str], list[str], dict[str, int]]:
    """Unused images beside those of train, beside those of test, and elsewhere by their folder at the top.

    Masks, and images that a row uses in another format or another folder, are no unused ones.
    """
    used = train | test
    stems, names = {_stem(path) for path in used}, {_name(_stem(path)) for path in used}
    train_folders, test_folders = _with_siblings(train, layout), {_folder(path) for path in test}
    beside_train, beside_test, elsewhere = [], [], []
    for path in layout.images:
        if path in used or _stem(path) in stems or _is_mask(path, stems):
            continue
        if _folder(path) in train_folders:
            beside_train.append(path)
        elif _folder(path) in test_folders:
            beside_test.append(path)
        elif _name(_stem(path)) not in names and not any(map(NO_PHOTOS.search, path.split("/")[:-1])):
            elsewhere.append(path)
    return beside_train, beside_test, dict(Counter(map(_folder, elsewhere)))


def _with_siblings(train: set[str], layout: Layout) -> set[str]:
    """The folders of the train images, and those beside them where there are several, as class folders are."""
    folders = {_folder(path) for path in train}
    counts = Counter(folder.rpartition("/")[0] for folder in folders if "/" in folder)
    siblings: dict[str, set[str]] = defaultdict(set)
    for folder in {_folder(path) for path in layout.images}:
        siblings[folder.rpartition("/")[0]].add(folder)
    beside = {folder for parent, count in counts.items() if count > 1 for folder in siblings[parent]}
    return folders | {folder for folder in beside if not NO_PHOTOS.search(_name(folder)) and not is_of_test(folder)}


def _say_unused(unused: Sequence[str], used: Collection[str], split: str) -> list[str]:
    if not unused:
        return []
    suffixes = ", ".join(f"{count:,} {end}" for end, count in Counter(map(suffix_of, unused)).most_common(FEW_FOLDERS))
    several = f"; where a row has several images, {1 + len(unused) / len(used):.1f} in the mean, {AS_ONE}"
    return [
        f"{len(unused):,} of {len(unused) + len(used):,} images in the folders of the {split} images are used by no "
        f"row ({suffixes}), first: {unused[0]}" + (several if len(unused) >= NEARLY_ALL * len(used) else ".")
    ]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    return path[: -len(suffix_of(path))] if suffix_of(path) else path
