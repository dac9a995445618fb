"""Paths in a table that were written on another machine: what has to be cut from them to find the images here."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from kitsolve.data.sampling import sample_cells
from kitsolve.proposing.layout import Layout
from kitsolve.proposing.sources import Source

FEW = 20


def cut_foreign_paths(source: Source, layout: Layout) -> Source | None:
    """The table with the paths of one column cut, `cut` says which and by what; None where no cut finds images."""
    for name in source.rows:
        cells = source.rows[name].str.replace("\\", "/")
        prefix = _find_prefix(cells, layout)
        if prefix and bool(cells.str.startswith(prefix).all()):
            rows = source.rows.assign(**{str(name): cells.str.removeprefix(prefix)})
            return replace(source, rows=rows, cut=(str(name), prefix))
    return None


def describe_cut(source: Source) -> str:
    """What has to be done to the table before its facts are true."""
    assert source.cut is not None
    name, prefix = source.cut
    return (
        f"the column {name!r} of {source.path} has paths of another machine: write a copy of the table in which "
        f"{prefix!r} is cut from them, by hand or in the fetch(raw) of a prepare.py, and let train.rows name it."
    )


def _find_prefix(cells: pd.Series, layout: Layout) -> str:
    """What stands before the part of the paths that is found here, the same in a few rows; else nothing."""
    prefixes = set()
    for cell in sample_cells(cells, FEW):
        tails = [cell[place + 1 :] for place, letter in enumerate(cell) if letter == "/"]
        known = next(
            (tail for tail in tails if tail and f"/{tail}\n" in layout.text or f"\n{tail}\n" in layout.text), ""
        )
        prefixes.add(cell.removesuffix(known) if known else "")
    return prefixes.pop() if len(prefixes) == 1 else ""
