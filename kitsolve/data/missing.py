"""What there is in the place of an image that is not found, in words."""

from __future__ import annotations

import os
from bisect import bisect_left
from difflib import get_close_matches
from pathlib import PurePosixPath

from kitsolve.inference.filetree import ANY_SUFFIX, IMAGE_SUFFIXES, FileTree

NEIGHBOURS = 200
"""Of a folder's names, in their order, so many around the missing one are compared with it."""


def lies_outside(path: str) -> bool:
    """Whether a path leads out of the folder that it is relative to."""
    return os.path.isabs(path) or ".." in PurePosixPath(path).parts


def explain_missing(tree: FileTree, path: str) -> str:
    """Why `path` means no file of a tree, as a sentence with the nearest name; empty where it means one."""
    found = tree.find(path)
    if len(found) > 1:
        return (
            f"several files are meant: {', '.join(found[:3])}: write the one suffix that is wanted into the template."
        )
    if found:
        return ""
    if lies_outside(path):
        return "it lies outside of the raw folder."
    folder, _, name = path.replace("\\", "/").rpartition("/")
    if tree.find_folder(folder) is None:
        return _explain_folder(tree, folder)
    return _explain_name(tree, folder, name)


def _explain_folder(tree: FileTree, folder: str) -> str:
    above, _, name = folder.rpartition("/")
    while tree.find_folder(above) is None:
        above, _, name = above.rpartition("/")
    place = f" in {above}/" if above else ""
    near = _nearest(name, tree.names(tree.find_folder(above) or ""))
    return f"there is no folder {name}{place}{f'; the nearest is {near}' if near else ''}."


def _explain_name(tree: FileTree, folder: str, name: str) -> str:
    names = tree.names(tree.find_folder(folder) or "")
    stem = name.removesuffix(ANY_SUFFIX)
    stems = {stem, os.path.splitext(stem)[0]}
    same = sorted(other for other in names if os.path.splitext(other)[0] in stems)
    images = [other for other in same if other.lower().endswith(IMAGE_SUFFIXES)]
    if images:
        return f"{images[0]} is there: a template that ends in {ANY_SUFFIX} takes any suffix of an image."
    near = same[0] if same else _nearest(stem, names)
    return f"the nearest file there is {near}." if near else "no file there has a name like it."


def _nearest(name: str, names: frozenset[str]) -> str | None:
    """The name most like `name`: one that differs in case alone, else of its neighbours in alphabetical order."""
    ordered = sorted(names)
    equal = [other for other in ordered if other.casefold() == name.casefold()]
    place = bisect_left(ordered, name)
    around = ordered[max(0, place - NEIGHBOURS) : place + NEIGHBOURS]
    close = equal or get_close_matches(name, around, n=1, cutoff=0.5)
    return close[0] if close else None
