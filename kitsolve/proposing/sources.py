"""The tables among raw files: what the rows of a split, or its sample submission, could be read from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from kitsolve.config import Rows
from kitsolve.data.table import read_train_rows
from kitsolve.errors import KitsolveError
from kitsolve.inference.encodings import PLAIN, guess_encoding
from kitsolve.inference.tables import read_table
from kitsolve.inference.testset import as_text, read_json_text, read_rows
from kitsolve.proposing.layout import Layout, suffix_of

MOST_TABLES = 20
"""A folder with more of them holds data, a file an image, and not tables of images."""
MOST_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Source:
    """A table: `kind` is csv, coco, records, or mapping (a JSON object of plain values: columns key and value).

    `rows` are strings, as the tables of train and test will have them. `on`: the keys that join a coco file.
    `has_categories`: a coco file also names its categories. `lists`: keys of JSON objects that hold lists or objects,
    which are no columns. `cut`: a column of the rows, and what was cut from its paths.
    """

    path: str
    kind: str
    rows: pd.DataFrame
    encoding: str = "utf-8"
    on: tuple[str, str] = ("id", "image_id")
    has_categories: bool = False
    lists: tuple[str, ...] = ()
    cut: tuple[str, str] | None = None

    @property
    def fact(self) -> dict[str, Any]:
        """The value of `rows` in competition.toml."""
        value: dict[str, Any] = {self.kind: self.path}
        if self.kind == "coco" and self.on != ("id", "image_id"):
            value["on"] = list(self.on)
        return value | ({} if self.encoding in PLAIN else {"encoding": self.encoding})

    @property
    def name(self) -> str:
        """The file's name in lower case, without folders."""
        return PurePosixPath(self.path).name.lower()

    @property
    def depth(self) -> int:
        """The number of folders above it."""
        return self.path.count("/")


def read_sources(layout: Layout, scratch: Path) -> tuple[list[Source], list[str]]:
    """The tables of a raw folder, and sentences about those that cannot be read.

    Args:
        scratch: where tables are unpacked that lie in archives.
    """
    paths = [path for path in layout.files if suffix_of(path) in (".csv", ".json")]
    crowds = Counter(str(PurePosixPath(path).parent) for path in paths)
    sources, notes = [], []
    for path in sorted(path for path in paths if crowds[str(PurePosixPath(path).parent)] <= MOST_TABLES):
        try:
            place = layout.place(path, scratch)
            if place.stat().st_size > MOST_BYTES:
                notes.append(f"{path} is too large to be looked into.")
                continue
            found = _read_source(path, place)
        except (ValueError, KitsolveError) as error:
            notes.append(f"{path} cannot be read as a table: {str(error).splitlines()[0]}")
            continue
        sources += [found] if found is not None and len(found.rows) else []
    return sources, notes


def _read_source(path: str, place: Path) -> Source | None:
    """The table of a file; None where JSON holds something else."""
    if suffix_of(path) == ".csv":
        table = read_table(place)
        return Source(path, "csv", table.rows, table.encoding)
    encoding = guess_encoding(place.read_bytes())
    value = read_json_text(place, encoding)
    if isinstance(value, dict) and all(_are_objects(value.get(name)) for name in ("images", "annotations")):
        return _read_coco(path, place, value, encoding)
    if isinstance(value, dict) and not any(isinstance(item, (dict, list)) for item in value.values()):
        rows = as_text([{"key": key, "value": item} for key, item in value.items()])
        return Source(path, "mapping", rows, encoding)
    records = value.get("images", value) if isinstance(value, dict) else value
    if not isinstance(records, (list, dict)) or not _are_records(records):
        return None
    rows = read_rows(place, encoding)
    return Source(path, "records", rows, encoding, lists=_name_lists(records if isinstance(records, list) else []))


def _are_records(value: list[Any] | dict[str, Any]) -> bool:
    """A list of objects, or an object of columns; not an object with an entry for each image."""
    if isinstance(value, list):
        return _are_objects(value)
    if not all(isinstance(item, (list, dict)) for item in value.values()):
        return False
    lengths = {len(item) for item in value.values()}
    return len(lengths) == 1 and len(value) <= min(lengths)


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _read_coco(path: str, place: Path, value: dict[str, Any], encoding: str) -> Source:
    on = _find_keys(value["images"], value["annotations"])
    rows = read_train_rows(place.parent, Rows(coco=place.name, on=list(on), encoding=encoding), slug="")
    lists = _name_lists(value["annotations"])
    return Source(path, "coco", rows, encoding, on, has_categories=bool(value.get("categories")), lists=lists)


def _name_lists(records: list[dict[str, Any]]) -> tuple[str, ...]:
    """The keys whose values are lists or objects in the first objects."""
    nested = [key for record in records[:20] for key, item in record.items() if isinstance(item, (list, dict))]
    return tuple(dict.fromkeys(nested))


def _find_keys(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> tuple[str, str]:
    """The keys of an image and of an annotation that mean the same image.

    Raises:
        ValueError: there are none.
    """
    shared = [(key, key) for key in images[0] if key in annotations[0]]
    for image_key, annotation_key in dict.fromkeys([("id", "image_id"), ("image_id", "image_id"), *shared]):
        names = {image.get(image_key) for image in images}
        known = all(annotation.get(annotation_key) in names for annotation in annotations)
        if known and len(names) == len(images):
            return image_key, annotation_key
    raise ValueError("its images and annotations have no key in common.")
