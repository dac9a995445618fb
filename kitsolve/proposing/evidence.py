"""What a raw folder holds, as far as it was found: what its refusal is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kitsolve.data.labels import is_number
from kitsolve.proposing.findings import Sample, TrainRows
from kitsolve.proposing.layout import Layout
from kitsolve.proposing.sources import Source


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
