"""What a competition asks for that is no label or number of a whole image, in words; empty where it is not so."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from kitsolve.proposing.answers import name_answers as name_several_answers
from kitsolve.proposing.evidence import Evidence
from kitsolve.proposing.keys import find_bags, find_composite, find_pairs
from kitsolve.proposing.regions import (
    BOX_NAMES,
    MASK_NAMES,
    RUN_NAMES,
    find_corners,
    hold_boxes,
    hold_polygons,
    hold_runs,
)
from kitsolve.proposing.roles import find_id_column
from kitsolve.proposing.sources import Source

LEAST_NUMBERS = 32
"""So many numbered lines an image are a vector, not answers that have names."""
MASK_FILES = ("mask", "segm", "label", "annot", "gt", "truth")


def name_segmentation(evidence: Evidence) -> str:
    """Masks, run lengths or polygons."""
    for name in evidence.asked:
        if BOX_NAMES.search(name):
            continue
        if RUN_NAMES.search(name) or (MASK_NAMES.search(name) and _shows_regions(evidence.sample_cells(name))):
            return f"the sample submission asks for {name!r}, runs of pixels or outlines: this is segmentation"
    for source in evidence.tables:
        for name in source.rows:
            outlined = hold_polygons(source.rows[name])
            if (outlined or hold_runs(source.rows[name])) and evidence.lacks(source, [name]):
                what = "polygons" if outlined else "run lengths of pixels"
                return f"the column {name!r} of {source.path} holds {what}: this is segmentation"
    return ""


def _shows_regions(cells: pd.Series) -> bool:
    """Whether the sample's cells are runs of pixels or outlines."""
    filled = cells[cells.str.strip() != ""]
    return len(filled) > 0 and (bool(filled.str.fullmatch(r"(?:\d+ \d+ ?)+").all()) or hold_polygons(filled))


def name_detection(evidence: Evidence) -> str:
    """Boxes."""
    boxes = [name for name in evidence.asked if BOX_NAMES.search(name)]
    if boxes:
        return f"the sample submission asks for {boxes[0]!r}, boxes: this is detection"
    for source in evidence.tables:
        found = _find_boxes(source)
        wanted = bool(evidence.asked) and set(evidence.asked) <= set(found)
        if wanted or (found and _repeats_images(evidence, source) and evidence.lacks(source, found)):
            return f"{source.path} has boxes ({', '.join(found)}), several an image: this is detection"
    return _find_listed_boxes(evidence)


def _find_boxes(source: Source) -> list[str]:
    """The columns or the keys of JSON lists that hold boxes."""
    cells = [str(name) for name in source.rows if hold_boxes(source.rows[name])]
    keys = [key for key in source.lists if BOX_NAMES.search(key)]
    return cells[:1] or keys[:1] or find_corners(list(map(str, source.rows)))


def _repeats_images(evidence: Evidence, source: Source) -> bool:
    fields = [name for name in evidence.train.fields if name in source.rows]
    return bool(fields) and bool(source.rows.duplicated(fields).any())


def _find_listed_boxes(evidence: Evidence) -> str:
    """Boxes in a text or XML file beside each image, where nothing else is a label."""
    if evidence.has_labels:
        return ""
    stems = {_stem(path) for path in evidence.layout.images}
    beside = [path for path in evidence.layout.files if path.endswith((".txt", ".xml")) and _stem(path) in stems]
    if len(beside) >= max(2, len(stems) / 2):
        return f"{len(beside):,} images have a file of boxes or outlines of their own, first: {min(beside)}"
    return ""


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def name_masks(evidence: Evidence) -> str:
    """Images that are the masks of other images, where there are no labels."""
    if evidence.has_labels:
        return ""
    images = evidence.layout.images
    masks = [path for path in images if any(word in path.lower() for word in MASK_FILES)]
    plain = {_stem(path) for path in set(images) - set(masks)}
    paired = [path for path in masks if any(_stem(path).startswith(stem) for stem in _heads(_stem(path), plain))]
    if paired and len(paired) >= len(plain) / 2:
        return f"{len(paired):,} images are masks of other images, first: {paired[0]}: this is segmentation"
    return ""


def _heads(stem: str, plain: set[str]) -> Iterator[str]:
    """The names among `plain` with which a name begins."""
    return (stem[:end] for end in range(len(stem), 0, -1) if stem[:end] in plain)


def name_pairs(evidence: Evidence) -> str:
    """Rows of two images."""
    return find_pairs(evidence.layout, evidence.sample.rows, [source.rows for source in evidence.tables])


def name_embedding(evidence: Evidence) -> str:
    """A vector for each image, a line for each of its numbers."""
    ids = find_composite(evidence.layout, evidence.sample.rows)
    if ids is None or not ids.is_numbered or ids.lines < LEAST_NUMBERS:
        return ""
    return f"the sample submission asks for {ids.lines:,} numbers an image, a line each ({ids.example}): an embedding"


def name_long_rows(evidence: Evidence) -> str:
    """Lines for each image and answer, where the train rows find no image either."""
    ids = find_composite(evidence.layout, evidence.sample.rows)
    if ids is None or evidence.sample.rows is None:
        return ""
    names = list(evidence.sample.rows.iloc[:, 0])
    rest = [source for source in evidence.sources if source.path not in evidence.sample.paths]
    if any(find_id_column(source, names) for source in rest):
        return ""
    return (
        f"the sample submission has {ids.lines} lines an image: an id is an image and the name of an answer "
        f"({ids.example})"
    )


def name_answers(evidence: Evidence) -> str:
    """Several answers for each image."""
    if evidence.train.source is None or evidence.sample.rows is None:
        return ""
    return name_several_answers(evidence.train.source.rows, evidence.asked)


def name_bags(evidence: Evidence) -> str:
    """Labels of several images together."""
    rest = [source for source in evidence.sources if source.path not in evidence.sample.paths]
    return find_bags(evidence.layout, rest, evidence.asked)
