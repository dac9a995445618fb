"""Train rows without a table: the class is in the images' folder or in their name."""

from __future__ import annotations

import glob
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import pandas as pd

from kitsolve.data.labels import is_number
from kitsolve.proposing.layout import Layout

# Folders of these names tell splits and formats apart, not classes.
NO_CLASSES = re.compile(
    r"(?:train|training|test|testing|val|valid|validation|eval|holdout|images?|imgs?|photos?|pictures?|frames?|masks?"
    r"|annotations?|labels?|jpe?gs?|pngs?|dicoms?|tiffs?|npy|data|datasets?|raw|old|new|parts?|folds?|batch(?:es)?"
    r"|stages?|sets?|splits?)",
    re.IGNORECASE,
)
SPLITS = re.compile(r"(?:train|training|test|testing|val|valid|validation|eval|holdout|unlabell?ed)", re.IGNORECASE)
MOST_ODD = 0.25
"""A class may have such a name, "train" among vehicles: a greater share of the folders may not."""
WORD_FIRST = r"(?P<{}>[A-Za-z][A-Za-z _-]*?)[ ._-]*\(?\d+\)?\.\w+$"
NUMBER_FIRST = r"\d+[ ._-]+(?P<{}>[A-Za-z][A-Za-z _-]*)\.\w+$"
FEWEST_A_CLASS = 2
FEW = 5


@dataclass(frozen=True)
class Classes:
    """Train rows read off paths: the glob, the pattern with the class as its group, and each class's number of images.

    `known`: the share of the classes that the sample submission names, or the competition's words.
    """

    glob: str
    pattern: str
    column: str
    counts: Mapping[str, int]
    known: float
    where: str

    @property
    def fact(self) -> dict[str, str]:
        """The value of `rows` in competition.toml."""
        return {"glob": self.glob, "pattern": self.pattern}


def find_classes(
    layout: Layout, *, taken: Collection[str], wanted: Sequence[str], column: str, words: str
) -> list[Classes]:
    """Ways to read classes off paths, the best first.

    Args:
        taken: images of the test set.
        wanted: labels that the sample submission shows.
        column: what to call the class.
        words: of the slug and the pages.
    """
    images = [path for path in layout.images if path not in taken]
    found = [*_from_folders(images, column), *_from_names(images, column)]
    known = [_with_known(classes, wanted, words.lower()) for classes in found]
    # One column of fractions asks for the probability of one of two classes.
    two = len(wanted) > 0 and all(is_number(label) and "." in label for label in wanted)

    def rank(classes: Classes) -> tuple[object, ...]:
        folder, size = classes.glob.lower(), sum(classes.counts.values())
        fits = two and len(classes.counts) == 2
        return classes.known > 0.5, fits, "train" in folder, classes.where == "folder", size, -len(folder)

    ranked = sorted(known, key=rank, reverse=True)
    return [classes for place, classes in enumerate(ranked) if not _is_part(classes, ranked[:place])]


def _is_part(classes: Classes, better: Sequence[Classes]) -> bool:
    """Whether a better one reads the same from more images."""
    folder = classes.glob.split("*")[0]
    return any(folder.startswith(one.glob.split("*")[0]) and one.pattern == classes.pattern for one in better)


def read_classes(classes: Classes, layout: Layout) -> pd.DataFrame:
    """The rows that the facts will give: the class and the path."""
    prefix = re.match(r"[^*\[?]*", classes.glob)
    assert prefix is not None
    rows = []
    for path in layout.images:
        match = re.search(classes.pattern, path) if path.startswith(prefix[0]) else None
        if match:
            rows.append((match[1], path))
    return pd.DataFrame(rows, columns=[classes.column, "path"])


def _with_known(classes: Classes, wanted: Collection[str], words: str) -> Classes:
    """The classes with the share of them that others speak of; a number says nothing."""
    names = list(classes.counts)
    telling = {label for label in wanted if not is_number(label)}
    share = len(set(names) & telling) / len(telling) if telling else 0.0
    if share == 0 and len(names) <= FEW and all(len(name) > 2 and name.lower() in words for name in names):
        share = 1.0
    return replace(classes, known=share)


def _from_folders(images: Sequence[str], column: str) -> Iterator[Classes]:
    """Folders whose folders may be classes."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    direct: Counter[str] = Counter()
    below: dict[str, list[str]] = defaultdict(list)
    for path in images:
        parts = path.split("/")
        direct["/".join(parts[:-1])] += 1
        for depth in range(len(parts) - 1):
            base = "/".join(parts[:depth])
            counts[base][parts[depth]] += 1
            below[base].append(path)
    for base, classes in counts.items():
        if _look_like_classes(classes) and not direct[base]:
            wanted = _glob_below(base, below[base])
            start = f"{_escape(base)}/" if base else ""
            yield Classes(wanted, f"^{start}(?P<{column}>[^/]+)/", column, classes, 0.0, "folder")


def _look_like_classes(counts: Mapping[str, int]) -> bool:
    odd = sum(map(is_no_class, counts))
    enough = len(counts) >= 2 and sum(counts.values()) >= FEWEST_A_CLASS * len(counts)
    return enough and odd <= MOST_ODD * len(counts) and not _are_parts(list(counts))


def is_no_class(name: str) -> bool:
    """Whether a folder's name speaks of a split (train_photos), or of nothing but what all folders hold (images_2)."""
    words = re.findall(r"[A-Za-z][a-z]*|[A-Z]+", name)
    if not words:
        return False
    said = any(SPLITS.fullmatch(word) for word in words) and len(words) < 3
    return said or NO_CLASSES.fullmatch(name.rstrip("0123456789_-. ")) is not None or all(map(_is_plain, words))


def _is_plain(word: str) -> bool:
    return NO_CLASSES.fullmatch(word) is not None


def _are_parts(names: Sequence[str]) -> bool:
    """Whether the names differ in a number alone, after a word that names no class: images_part_1, images_part_2."""
    heads = {re.sub(r"[\d\W_]+$", "", name) for name in names}
    words = [word for head in heads for word in re.findall(r"[A-Za-z]+", head)]
    return len(heads) == 1 and any(map(_is_plain, words))


def _ending(paths: Iterable[str]) -> str:
    suffixes = {PurePosixPath(path).suffix for path in paths}
    return f"*{suffixes.pop()}" if len(suffixes) == 1 else "*"


def _from_names(images: Sequence[str], column: str) -> Iterator[Classes]:
    """Folders whose images, those of folders below too, have a number and one of a few words as their names."""
    below: dict[str, list[str]] = defaultdict(list)
    for path in images:
        folder = path.rpartition("/")[0]
        for base in {folder, folder.partition("/")[0]}:
            below[base].append(path)
    for base, paths in below.items():
        for form in (WORD_FIRST, NUMBER_FIRST):
            pattern = f"(?:^|/){form.format(column)}"
            matches = [re.search(pattern, path) for path in paths]
            counts = Counter(match[1] for match in matches if match)
            whole = sum(counts.values()) == len(paths)
            if whole and 2 <= len(counts) <= len(paths) / FEWEST_A_CLASS and min(counts.values()) > 1:
                yield Classes(_glob_below(base, paths), pattern, column, counts, 0.0, "name")
                break


def _glob_below(base: str, paths: Sequence[str]) -> str:
    """What lists these images, which lie in the folder or below it."""
    depths = {path.count("/") - base.count("/") - bool(base) for path in paths}
    middle = "*/" * next(iter(depths)) if len(depths) == 1 else "**/"
    return f"{glob.escape(base)}/{middle}{_ending(paths)}" if base else f"{middle}{_ending(paths)}"


def _escape(text: str) -> str:
    """For a regular expression; re.escape would also escape what needs none."""
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)
