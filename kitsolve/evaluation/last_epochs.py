"""By how much choosing each fold's epoch on the rows that are scored flatters the CV score.

The last epoch is chosen by nobody: its CV score stands beside that of the chosen epochs.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kitsolve.evaluation.fold_files import HISTORY, check_fold_file, read_fold
from kitsolve.evaluation.runs import Run

LAST_OOF = "oof_last.csv"
"""What a fold's last epoch predicts out of fold, where another one was chosen."""


def find_last_oof(run: Run, fold: int) -> Path | None:
    """Where the out-of-fold outputs of a finished fold's last epoch are.

    None: they were not kept, by an older version, or because the time was over.
    """
    folder = run.fold(fold)
    if (folder / LAST_OOF).is_file():
        return folder / LAST_OOF
    chosen = read_fold(run, fold).get("epoch")
    if run.recipe.soup > 1 or chosen is None or not (folder / HISTORY).is_file():
        return None
    history = check_fold_file(run, fold, HISTORY)
    return folder / "oof.csv" if chosen == pd.read_csv(history).epoch.max() else None
