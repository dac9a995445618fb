"""Out-of-fold outputs: written by a fold, read again for the score, the decoder and the blend.

A model with thousands of outputs would fill a disk with numbers next to zero: of more than `WIDE` outputs only the
largest of a row are kept, in a sparse matrix, and oof.csv has a line for each of them. That is enough for labels and
rankings. Where every output counts (`whole`, see Judge.needs_all) all are kept, however many they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.fold_files import OOF, check_fold_file, retrain_hint
from kitsolve.evaluation.runs import Run
from kitsolve.inference.bundle import Decoder
from kitsolve.inference.decode import decode
from kitsolve.workspace import write_csv

PROB = "prob_"
WIDE = 1000
FEWEST, MOST, SMALLEST = 5, 32, 1e-3
"""How many outputs of a row are kept where there are more than WIDE: the first FEWEST, more from this size on."""
SPARSE = ("image_id", "output", "prob")
"""The columns of a file that holds a sparse matrix."""
PART = 4_000_000
"""Numbers that a part of a sparse matrix has when it is made dense."""

Outputs: TypeAlias = NDArray[Any] | csr_array
"""(rows, outputs) activated, float32."""


@dataclass(frozen=True)
class Oof:
    """Rows that were predicted by a model that never saw them: id and fold of each row of `outputs`."""

    image_ids: pd.Index
    folds: NDArray[np.int64]
    outputs: Outputs


def compress(outputs: NDArray[Any]) -> csr_array:
    """The largest outputs of every row, as a sparse matrix: the first FEWEST, and up to MOST that reach SMALLEST.

    A model that has learned little gives all of thousands of classes less than that, and one of them the most.
    """
    kept = min(MOST, outputs.shape[1])
    columns = np.argpartition(-outputs, kept - 1, axis=1)[:, :kept]
    values = np.take_along_axis(outputs, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    columns, values = (np.take_along_axis(own, order, axis=1) for own in (columns, values))
    rows, places = np.nonzero((values >= SMALLEST) | (np.arange(kept) < FEWEST))
    return csr_array((values[rows, places], (rows, columns[rows, places])), shape=outputs.shape)


def spread_rest(part: NDArray[Any], activation: str) -> NDArray[Any]:
    """Rows of a sparse matrix, made dense, with a guess in the place of each output that was not kept.

    Of a softmax the probability that a row lacks, spread evenly over them: the loss of a model that has learned nothing
    is ln(classes). Of sigmoids, which nothing binds together, SMALLEST / 2.
    """
    left = part == 0
    if activation != "softmax":
        return np.where(left, np.float32(SMALLEST / 2), part)
    lacking = (1 - part.sum(axis=1, keepdims=True)).clip(min=0)
    return np.where(left, lacking / left.sum(axis=1, keepdims=True).clip(min=1), part)


def iter_dense(outputs: Outputs) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Parts of the rows as dense arrays: all at once where they are dense already."""
    if not isinstance(outputs, csr_array):
        yield slice(0, len(outputs)), outputs
        return
    step = max(1, PART // outputs.shape[1])
    for start in range(0, outputs.shape[0], step):
        part = slice(start, start + step)
        yield part, outputs[part].toarray()


def decode_rows(outputs: Outputs, decoder: Decoder, form: str) -> NDArray[Any]:
    """See inference.decode, also of a sparse matrix."""
    return np.concatenate([decode(part, decoder, form) for _, part in iter_dense(outputs)])


def write_oof(path: Path, oof: Oof, names: tuple[str, ...]) -> None:
    """image_id and a column prob_NAME for each output; of a sparse matrix a line (image_id, output, prob) a number.

    float32 survives the way through CSV.
    """
    if isinstance(oof.outputs, csr_array):
        entries = oof.outputs.tocoo()
        ids, outputs = oof.image_ids.to_numpy()[entries.row], np.array(names, dtype=object)[entries.col]
        table = pd.DataFrame(dict(zip(SPARSE, (ids, outputs, entries.data), strict=True)))
    else:
        table = pd.DataFrame(oof.outputs, columns=[PROB + name for name in names])
        table.insert(0, "image_id", oof.image_ids.to_numpy())
    write_csv(path, table)


def read_oof(
    run: Run, train: pd.DataFrame, names: tuple[str, ...], *, whole: bool, places: Mapping[int, Path] | None = None
) -> Oof:
    """The outputs of all folds that are done.

    Args:
        train: image_id and fold of all rows.
        names: of the outputs.
        whole: every output counts; else they are sparse where there are more than WIDE.
        places: fold -> the file that holds its outputs; None: oof.csv in the folder of each.

    Raises:
        KitsolveError: no fold is done, an oof.csv is not what the training left, or it has the largest outputs alone
            where every one counts.
    """
    parts, lacking = [], []
    for fold in sorted(train.fold.unique().tolist()):
        if run.fold_is_done(fold):
            ids = pd.Index(train.image_id[train.fold == fold])
            path = check_fold_file(run, fold, places[fold].name if places else OOF)
            _, outputs = read_outputs(path, names, ids, hint=retrain_hint(run, fold))
            if not whole and len(names) > WIDE and not isinstance(outputs, csr_array):
                outputs = compress(outputs)
            lacking += [fold] if whole and isinstance(outputs, csr_array) else []
            parts.append(Oof(ids, np.full(len(ids), fold, dtype=np.int64), outputs))
    if not parts:
        slug = run.competition.slug
        raise KitsolveError(
            f"run {run.name} has no finished fold.", hint=f"run `kitsolve train {slug} --run {run.name}`."
        )
    if lacking:
        raise _refuse_sparse(run, lacking)
    ids = reduce(lambda one, other: one.append(other), (part.image_ids for part in parts))
    return Oof(ids, np.concatenate([part.folds for part in parts]), stack_parts([part.outputs for part in parts]))


def _refuse_sparse(run: Run, folds: Sequence[int]) -> KitsolveError:
    """To take what was not kept as 0 would make the score, and the clip that is fitted to it, wrong."""
    which = "".join(f" --fold {fold}" for fold in folds)
    return KitsolveError(
        f"the oof.csv of run {run.name} keeps the largest of a row's outputs alone, as an older version wrote it, and "
        f"{run.competition.metric} scores all of them.",
        hint=f"train anew: `kitsolve train {run.competition.slug} --run {run.name}{which} --force`.",
    )


def read_outputs(
    path: Path, names: tuple[str, ...], ids: pd.Index | None = None, *, hint: str = "run the command that wrote it."
) -> tuple[pd.Index, Outputs]:
    """What `write_oof` wrote: the ids, in the order of `ids` where it is given, and (rows, outputs) by `names`.

    The file's header tells whether they are sparse.

    Args:
        hint: what repairs a damaged file.

    Raises:
        KitsolveError: it cannot be read, its rows are not those of `ids`, once each, or an output is no finite number.
    """
    try:
        read = _read_sparse if tuple(pd.read_csv(path, nrows=0).columns) == SPARSE else _read_dense
        own, outputs = read(path, names, ids)
    except (ValueError, KeyError, AttributeError, OSError) as error:
        raise KitsolveError(f"{path} is damaged: {str(error).splitlines()[0]}.", hint) from error
    values = outputs.data if isinstance(outputs, csr_array) else outputs
    if not np.isfinite(values).all():
        raise KitsolveError(f"{path} is damaged: {int((~np.isfinite(values)).sum())} outputs are no numbers.", hint)
    return own, outputs


def _read_dense(path: Path, names: tuple[str, ...], ids: pd.Index | None) -> tuple[pd.Index, Outputs]:
    dtypes = {PROB + name: "float32" for name in names} | {"image_id": str}
    table = pd.read_csv(path, dtype=dtypes, keep_default_na=False).set_index("image_id")
    ids = _check_ids(table.index, ids)
    return ids, np.asarray(table.loc[ids, [PROB + name for name in names]])


def _read_sparse(path: Path, names: tuple[str, ...], ids: pd.Index | None) -> tuple[pd.Index, Outputs]:
    """A row may have no output that is large enough to be kept, and then no line."""
    table = pd.read_csv(path, dtype={"image_id": str, "output": str, "prob": "float32"}, keep_default_na=False)
    ids = pd.Index(table.image_id.unique()) if ids is None else ids
    rows, columns = ids.get_indexer(table.image_id), pd.Index(names).get_indexer(table.output)
    odd = table[(rows < 0) | (columns < 0) | table.duplicated(["image_id", "output"])]
    if len(odd):
        first = odd.iloc[0]
        raise ValueError(f"{len(odd)} lines are doubled or of no row, first: {first.image_id!r}, {first.output!r}")
    return ids, csr_array((table.prob.to_numpy(), (rows, columns)), shape=(len(ids), len(names)))


def _check_ids(own: pd.Index, ids: pd.Index | None) -> pd.Index:
    """The ids in the wanted order; raises ValueError where the file's rows are not these, once each."""
    if own.has_duplicates:
        raise ValueError(f"id {own[own.duplicated()][0]!r} stands twice")
    odd = own.symmetric_difference(own if ids is None else ids)
    if len(odd):
        raise ValueError(f"{len(odd)} rows are missing or of no row of this fold, first: id {odd[0]!r}")
    return own if ids is None else ids


def stack_parts(parts: list[Outputs]) -> Outputs:
    """The rows of all parts, one after the other."""
    if any(isinstance(part, csr_array) for part in parts):
        return csr_array(vstack(parts, format="csr"))
    return np.concatenate(parts)


def stack_outputs(batches: Iterator[NDArray[Any]], *, whole: bool) -> Outputs:
    """All rows of the batches; sparse where there are more than WIDE outputs and not every one counts."""
    return stack_parts([batch if whole or batch.shape[1] <= WIDE else compress(batch) for batch in batches])


def align_oofs(oofs: Sequence[Oof]) -> tuple[pd.Index, NDArray[np.int64], list[Outputs]]:
    """Ids and folds of the rows that all of them have, in the order of the first, and the outputs of each."""
    first, *others = oofs
    shared = reduce(lambda ids, oof: ids[ids.isin(oof.image_ids)], others, first.image_ids)
    folds = first.folds[first.image_ids.get_indexer(shared)]
    return shared, folds, [oof.outputs[oof.image_ids.get_indexer(shared)] for oof in oofs]
