"""Layouts that no facts can say: each kind is found by its content and refused with the cause and a way out.

A kind stands before another one where its cause is the nearer: what the competition asks for, then where its images
are. Invented facts would only hide the cause, so that a refused layout gets no competition.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kitsolve.errors import KitsolveError
from kitsolve.proposing import containers
from kitsolve.proposing.asked import (
    name_answers,
    name_bags,
    name_detection,
    name_embedding,
    name_long_rows,
    name_masks,
    name_pairs,
    name_segmentation,
)
from kitsolve.proposing.evidence import Evidence
from kitsolve.proposing.layout import Layout
from kitsolve.proposing.regions import BOX_NAMES


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
        name_segmentation,
        WHOLE_IMAGES + "take a library for masks (segmentation_models.pytorch, nnU-Net), or make a table with a label "
        "for each image.",
    ),
    Kind(
        name_detection,
        WHOLE_IMAGES + "take a library for boxes (ultralytics, torchvision.models.detection), or make a table with a "
        "label for each image or each cut-out box.",
    ),
    Kind(name_masks, WHOLE_IMAGES + "take a library for masks (segmentation_models.pytorch, nnU-Net)."),
    Kind(
        name_pairs,
        WHOLE_IMAGES + "write each pair as one image (side by side, or as channels of a .npy) with a table of its "
        "labels, and run `kitsolve new` with --from that folder.",
    ),
    Kind(
        name_embedding,
        "kitsolve predicts labels or one number for an image: train a model of your own for the vectors.",
    ),
    Kind(
        name_bags,
        "kitsolve predicts one image a row: write the images of a row as one (a montage, or channels of a .npy) with a "
        "table of its labels, and run `kitsolve new` with --from that folder.",
    ),
    Kind(
        name_answers,
        "kitsolve predicts one answer an image: make a folder for each answer whose sample submission has its column "
        "alone, run `kitsolve new` with --from it, and join the submissions.",
    ),
    Kind(
        name_long_rows,
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
