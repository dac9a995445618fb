"""How the folds of a run were trained, epoch by epoch."""

from __future__ import annotations

import pandas as pd

from kitsolve.evaluation.fold_files import HISTORY, check_fold_file, read_fold
from kitsolve.evaluation.runs import ALL, Run, name_fold, parse_folds
from kitsolve.reporting.html import element
from kitsolve.reporting.page import Section
from kitsolve.reporting.svg import Line, draw_lines, legend

CURVES = {"train_loss": "train loss", "val_loss": "validation loss", "score": "", "lr": "learning rate"}
"""Column of history.csv -> its name; the score has the metric's."""
EARLY = 0.2
"""The share of the epochs in which a loss may be so great that the others would not be seen beside it."""


def show_curves(run: Run) -> Section | None:
    """Losses, score and learning rate of every fold that has begun; None where none has."""
    histories = read_histories(run)
    if not histories:
        return None
    metric = run.competition.metric.removeprefix("prepare:")
    charts = [
        draw_lines(
            _make_lines(histories, column),
            names=("epoch", name or f"validation {metric}"),
            early=0.0 if column == "lr" else EARLY,
        )
        for column, name in CURVES.items()
    ]
    names = legend(
        [(name, colour) for colour, name in enumerate(histories)], element("span", "○ the epoch that was kept")
    )
    return Section(
        "curves",
        "Curves",
        "How every fold was trained, epoch by epoch.",
        "Where the validation loss rises while the train loss falls, train fewer epochs or augment more; where the "
        "score still climbs at the end, train more; a fold that stands apart has rows to look at.",
        element("div", names, element("div", *charts, class_="charts")),
    )


def read_histories(run: Run) -> dict[str, pd.DataFrame]:
    """Each fold's history.csv by the fold's name, in their order; the fold of all rows is the last one.

    Of a fold that is done, `best` is the epoch that it has kept, which need not be that of its own best score.

    Raises:
        KitsolveError: what a finished fold has left was changed.
    """
    names = [path.parent.name.removeprefix("fold_") for path in run.folder.glob(f"fold_*/{HISTORY}")]
    folds = sorted(parse_folds(names), key=lambda fold: (fold == ALL, fold))
    return {f"fold {name_fold(fold)}": _read_history(run, fold) for fold in folds}


def _read_history(run: Run, fold: int) -> pd.DataFrame:
    if not run.fold_is_done(fold):
        return pd.read_csv(run.fold(fold) / HISTORY)
    history, kept = pd.read_csv(check_fold_file(run, fold, HISTORY)), read_fold(run, fold).get("epoch")
    return history if kept is None else history.assign(best=history.epoch == kept)


def _make_lines(histories: dict[str, pd.DataFrame], column: str) -> list[Line]:
    known = [(name, history, None if column == "lr" else kept_epoch(history)) for name, history in histories.items()]
    return [
        Line(name, (history.epoch + 1).tolist(), history[column].tolist(), colour, kept)
        for colour, (name, history, kept) in enumerate(known)
    ]


def kept_epoch(history: pd.DataFrame) -> int | None:
    """The row of the epoch whose state_dict was kept: the last that was the best so far."""
    best = history.index[history.best]
    return int(best[-1]) if len(best) else None
