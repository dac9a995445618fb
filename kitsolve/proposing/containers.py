"""Raw files that hold images, or what could become images, in a way that kitsolve does not read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from kitsolve.proposing.layout import Layout, suffix_of
from kitsolve.proposing.regions import find_pixels, hold_pixels
from kitsolve.proposing.sources import Source

SOUND = (".wav", ".ogg", ".flac", ".mp3", ".m4a", ".aac", ".opus", ".aif", ".aiff", ".wma")
VIDEO = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".m4v")
VOLUMES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".mrc", ".zarr", ".ply", ".pcd")
CONTAINERS = {
    "TFRecords": (".tfrec", ".tfrecord", ".tfrecords"),
    "HDF5": (".h5", ".hdf5", ".hdf", ".he5"),
    "parquet": (".parquet", ".pq"),
    "npz": (".npz",),
    "BSON": (".bson",),
    "Arrow or Feather": (".arrow", ".feather"),
    "MATLAB": (".mat",),
    "pickle": (".pkl", ".pickle"),
    "LMDB": (".lmdb", ".mdb"),
    "idx": ("-ubyte", ".idx", "-ubyte.gz", ".idx.gz"),
    "RAR": (".rar",),
    "sound": SOUND,
    "video": VIDEO,
    "volume or point cloud": VOLUMES,
}
"""What it is called -> the ends of the files' names."""
PART = re.compile(
    r"(?P<whole>.+\.(?:zip|7z|rar|tar|tar\.gz|tgz))[._-](?:\d{2,4}|part[-_]?\w{1,3}|[a-z]{2})$"
    r"|(?P<volumes>.+)\.z\d\d$",
    re.IGNORECASE,
)
LEAST_WORDS = 6
FEW_TABLES = 3


def name_containers(layout: Layout, *, split: str = "") -> str:
    """The files that may hold the images, with their number and the first; empty where there are none.

    Args:
        split: a word that their names must have.
    """
    for what, ends in CONTAINERS.items():
        found = sorted(path for path in layout.files if path.lower().endswith(ends) and split in path.lower())
        if found:
            return f"{len(found):,} {what} file{'s' if len(found) > 1 else ''}, first: {found[0]}"
    return ""


def are_sound(text: str) -> bool:
    """Whether what name_containers says is sound."""
    return " sound file" in text


def find_parts(layout: Layout) -> dict[str, list[str]]:
    """The archives that came in parts and are not whole: name of the whole -> its parts."""
    parts: dict[str, list[str]] = {}
    for path in sorted(layout.files):
        if found := PART.match(path):
            parts.setdefault(found["whole"] or f"{found['volumes']}.zip", []).append(path)
    return parts


def name_pixels(sources: Iterable[Source]) -> str:
    """The table whose columns or cells are pixels; empty where there is none."""
    for source in sources:
        if names := find_pixels(source.rows):
            return f"the {len(names):,} columns {names[0]}, {names[1]} … of {source.path}"
        for name in source.rows if len(source.rows) else ():
            if hold_pixels(source.rows[name]):
                return f"the cells of the column {name!r} of {source.path}"
    return ""


def name_text(sources: Iterable[Source]) -> str:
    """The table with a column of sentences; empty where there is none."""
    for source in sources:
        for name in source.rows:
            words = source.rows[name].iloc[:100].str.split().str.len()
            if words.median() >= LEAST_WORDS and not hold_pixels(source.rows[name]):
                return f"the column {name!r} of {source.path}"
    return ""


def count_files(paths: Iterable[str]) -> str:
    """The most frequent kinds of files: "3 .csv, 1 .txt"."""
    suffixes = Counter(suffix_of(path) or "without a suffix" for path in paths)
    return ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(FEW_TABLES)) or "none"
