"""Layouts that no facts can say: each kind is found by its content and refused with the cause and a way out.

A kind stands before another one where its cause is the nearer: what the competition asks for, then where its images
are. Invented facts would only hide the cause, so that a refused layout gets no competition.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from kitsolve.errors import KitsolveError
from kitsolve.proposing import containers
from kitsolve.proposing.answers import name_answers
from kitsolve.proposing.columns import is_number
from kitsolve.proposing.findings import Sample, TrainRows
from kitsolve.proposing.keys import find_bags, find_composite, find_pairs
from kitsolve.proposing.layout import Layout
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


@dataclass(frozen=True)
class Evidence:
    """What a raw folder holds: its files, tables, sample submission, and the train rows as far as they were found.

    `has_labels`: a column could be the label. `notes`: sentences about archives and tables that cannot be read.
    """

    layout: Layout
    sources: Sequence[Source]
    sample: Sample
    train: TrainRows
    has_labels: bool = False
    notes: Sequence[str] = ()

    @property
    def asked(self) -> list[str]:
        """The columns that the sample submission wants filled."""
        return [] if self.sample.rows is None else [str(name) for name in self.sample.rows.columns[1:]]

    @property
    def tables(self) -> list[Source]:
        """The tables of the train rows: the one they were read from, else all but the sample submissions."""
        if self.train.source is not None:
            return [self.train.source]
        return [source for source in self.sources if source.path not in self.sample.paths]

    def lacks(self, source: Source, columns: Sequence[str]) -> bool:
        """Whether the sample asks for what a table has in these columns alone, and shows no plain value of it."""
        others = set(map(str, source.rows)) - set(columns)
        open_ones = [name for name in self.asked if name not in others]
        shown = {cell for name in open_ones for cell in self.sample_cells(name)}
        return not self.asked or (bool(open_ones) and not any(map(is_number, shown)))

    def sample_cells(self, name: str) -> pd.Series:
        """A column of the sample submission."""
        assert self.sample.rows is not None
        return self.sample.rows[name]


@dataclass(frozen=True)
class Kind:
    """A kind of layout: `find` gives the cause in words, or nothing; `way_out` is what to do instead."""

    find: Callable[[Evidence], str]
    way_out: str


WHOLE_IMAGES = "kitsolve predicts labels or a number for a whole image; "
JOIN = "write one table of the images and their labels, the labels of a cell separated by blanks, and run it again."
AS_IMAGES = (
    "write them as .png or .npy files into a folder, with a table of their names and labels, "
    "and run `kitsolve new` with --from that folder."
)


def refuse(evidence: Evidence) -> None:
    """Give up on a layout that no facts can say.

    Raises:
        KitsolveError: the first kind that it is of: what is asked for, or where its images are.
    """
    readable = bool(evidence.layout.images) and not evidence.train.rows.empty
    # Without images nothing else matters, and what is asked for cannot be seen.
    kinds = TASKS if readable else (*TASKS, *FILES) if evidence.layout.images else FILES
    for kind in kinds:
        if cause := kind.find(evidence):
            raise KitsolveError(f"{cause}.", hint=kind.way_out)
    if not evidence.has_labels:
        raise KitsolveError(f"{_name_unlabelled(evidence)}.", hint=JOIN)


def refuse_packed_test(layout: Layout, problems: Sequence[str]) -> None:
    """Give up where no test image is found because the test set is in a file that nobody reads.

    Raises:
        KitsolveError: it is.
    """
    if not any(problem.startswith("none of the") for problem in problems):
        return
    parts = next((whole for whole in containers.find_parts(layout) if "test" in whole.lower()), "")
    found = f"parts of {parts}" if parts else containers.name_containers(layout, split="test")
    if found:
        raise KitsolveError(
            f"there are train images, but the test images are in {found}.",
            hint="join them, and run it again."
            if parts
            else f"kitsolve reads image files, .npy and DICOM: {AS_IMAGES}",
        )


def _name_unlabelled(evidence: Evidence) -> str:
    """The table of the train rows, and another one that may have their labels."""
    source = evidence.train.source
    assert source is not None, "classes that are read off paths are labels"
    lists = [key for key in source.lists if not BOX_NAMES.search(key)]
    if lists:
        return f"the labels of {source.path} are lists in JSON ({', '.join(lists)}), which facts cannot name"
    used = (source.path, *evidence.sample.paths)
    there = [one.path for one in evidence.sources if one.path not in used and set(evidence.asked) & set(one.rows)]
    beside = f", but {there[0]} has" if there else ""
    return f"{source.path} names the train images and has no column that could be their label{beside}"


def _find_segmentation(evidence: Evidence) -> str:
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


def _find_detection(evidence: Evidence) -> str:
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


def _find_masks(evidence: Evidence) -> str:
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


def _find_pairs(evidence: Evidence) -> str:
    return find_pairs(evidence.layout, evidence.sample.rows, [source.rows for source in evidence.tables])


def _find_embedding(evidence: Evidence) -> str:
    ids = find_composite(evidence.layout, evidence.sample.rows)
    if ids is None or not ids.is_numbered or ids.lines < LEAST_NUMBERS:
        return ""
    return f"the sample submission asks for {ids.lines:,} numbers an image, a line each ({ids.example}): an embedding"


def _find_long_rows(evidence: Evidence) -> str:
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


def _find_answers(evidence: Evidence) -> str:
    if evidence.train.source is None or evidence.sample.rows is None:
        return ""
    return name_answers(evidence.train.source.rows, evidence.asked)


def _find_bags(evidence: Evidence) -> str:
    rest = [source for source in evidence.sources if source.path not in evidence.sample.paths]
    return find_bags(evidence.layout, rest, evidence.asked)


def _find_parts(evidence: Evidence) -> str:
    parts = containers.find_parts(evidence.layout)
    if not parts:
        return ""
    whole, files = next(iter(parts.items()))
    return (
        f"{whole} came in {len(files)} parts, first: {files[0]}: join them (`cat {files[0]} … > {whole}`, or "
        f"`7z x {files[0]}`)" + (f", and so {', '.join(list(parts)[1:])}" if len(parts) > 1 else "")
    )


def _find_closed_archives(evidence: Evidence) -> str:
    return " ".join(evidence.notes).rstrip(".") if evidence.notes else ""


def _find_containers(evidence: Evidence) -> str:
    found = containers.name_containers(evidence.layout)
    return f"{_begin(evidence)}, but {found}" if found else ""


def _find_sound(evidence: Evidence) -> str:
    found = containers.name_containers(evidence.layout)
    return f"{_begin(evidence)}, but {found}" if containers.are_sound(found) else ""


def _find_pixels(evidence: Evidence) -> str:
    found = containers.name_pixels(evidence.sources)
    return f"{_begin(evidence)}: the images are pixels in {found}" if found else ""


def _begin(evidence: Evidence) -> str:
    return "no table names the image files" if evidence.layout.images else "there are no image files"


def _find_text(evidence: Evidence) -> str:
    found = containers.name_text(evidence.sources)
    return f"there are no image files, but text ({found})" if found else ""


def _find_nothing(evidence: Evidence) -> str:
    if evidence.layout.images:
        return ""
    return f"there are no image files in {evidence.layout.raw}, only {containers.count_files(evidence.layout.files)}"


def _find_no_rows(evidence: Evidence) -> str:
    tables = [source.path for source in evidence.sources if source.path not in evidence.sample.paths]
    return (
        f"no table names the {len(evidence.layout.images):,} images as a template could "
        f"({', '.join(tables[:4]) or 'there is none'}), and no folder is a class"
    )


TASKS = (
    Kind(
        _find_segmentation,
        WHOLE_IMAGES + "take a library for masks (segmentation_models.pytorch, nnU-Net), or make a table with a label "
        "for each image.",
    ),
    Kind(
        _find_detection,
        WHOLE_IMAGES + "take a library for boxes (ultralytics, torchvision.models.detection), or make a table with a "
        "label for each image or each cut-out box.",
    ),
    Kind(_find_masks, WHOLE_IMAGES + "take a library for masks (segmentation_models.pytorch, nnU-Net)."),
    Kind(
        _find_pairs,
        WHOLE_IMAGES + "write each pair as one image (side by side, or as channels of a .npy) with a table of its "
        "labels, and run `kitsolve new` with --from that folder.",
    ),
    Kind(
        _find_embedding,
        "kitsolve predicts labels or one number for an image: train a model of your own for the vectors.",
    ),
    Kind(
        _find_bags,
        "kitsolve predicts one image a row: write the images of a row as one (a montage, or channels of a .npy) with a "
        "table of its labels, and run `kitsolve new` with --from that folder.",
    ),
    Kind(
        _find_answers,
        "kitsolve predicts one answer an image: make a folder for each answer whose sample submission has its column "
        "alone, run `kitsolve new` with --from it, and join the submissions.",
    ),
    Kind(
        _find_long_rows,
        "kitsolve predicts a row for each image: write a prepare.py whose fetch(raw) makes a table and a sample with a "
        "line for each image and a column for each answer, and whose submission(sample, outputs, class_names) makes "
        "the long file of them.",
    ),
)
"""What the competition asks for, in order of precedence."""
FILES = (
    Kind(_find_parts, "run `kitsolve new` again when the archive is whole."),
    Kind(
        _find_sound,
        "kitsolve trains on images: write each recording's spectrogram as a .png or .npy file into a folder, with a "
        "table of their names and labels, and run `kitsolve new` with --from that folder.",
    ),
    Kind(_find_containers, "kitsolve reads image files, .npy and DICOM: " + AS_IMAGES),
    Kind(_find_pixels, "kitsolve reads image files: " + AS_IMAGES),
    Kind(_find_closed_archives, "mend that, and run `kitsolve new` again."),
    Kind(_find_text, "kitsolve trains on images; take a library for text."),
    Kind(_find_nothing, "name the folder that holds the images with --from."),
    Kind(
        _find_no_rows,
        "write a table with a column of the images' paths below the raw folder and one of their labels, and run "
        "`kitsolve new` again.",
    ),
)
"""Where the images are, in order of precedence."""
