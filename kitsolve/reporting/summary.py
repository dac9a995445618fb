"""What a run is and how it scores."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from kitsolve.evaluation.fold_files import read_fold
from kitsolve.evaluation.runs import Run, name_fold
from kitsolve.reporting.html import Fixed, Html, element, join, show, table
from kitsolve.reporting.outcome import Outcome
from kitsolve.reporting.page import Section
from kitsolve.workspace import read_json


def show_summary(outcome: Outcome) -> Section:
    """The score as large as it deserves, that of every fold, and what the run was made with."""
    run, cv = outcome.run, outcome.cv
    missing = cv.train_rows - cv.oof_rows
    rest = f" {missing:,} of {cv.train_rows:,} rows are not predicted yet: `kitsolve train` goes on." if missing else ""
    body = join(
        [
            _draw_tiles(outcome),
            element("div", _list_folds(outcome), _list_facts(run), class_="sides"),
            _list_choices(run),
        ]
    )
    return Section(
        "score",
        "Score",
        "The metric of the competition on rows that the predicting fold has never seen.",
        f"Trust a difference between two runs only where it is larger than what the folds differ by.{rest}",
        body,
    )


def describe_run(run: Run) -> str:
    """The run in a line: its name, recipe, backbone and image size."""
    height, width = run.recipe.size
    return f"run {run.name}  ·  recipe {run.recipe_name}  ·  {run.recipe.backbone}  ·  {width} × {height} px"


def _draw_tiles(outcome: Outcome) -> Html:
    cv = outcome.cv
    tiles = [
        (f"{cv.pooled:.5f}", f"CV {outcome.metric}, all out-of-fold rows together"),
        (f"{cv.mean:.5f} ± {cv.std:.5f}", "mean of the folds and their standard deviation"),
        (f"{cv.oof_rows:,}", "rows predicted out of fold"),
    ]
    if cv.plain != cv.pooled:
        tiles.insert(1, (f"{cv.plain:.5f}", "CV without fitted thresholds"))
    if cv.last_epochs is not None:
        tiles.append(
            (f"{cv.last_epochs:.5f}", "CV of the last epochs, which nobody has chosen on the rows that are scored")
        )
    return element(
        "div", *(element("div", element("b", value), element("span", says), class_="tile") for value, says in tiles),
        class_="tiles",
    )  # fmt: skip


def _list_folds(outcome: Outcome) -> Html:
    run, cv = outcome.run, outcome.cv
    rows: list[list[Any]] = []
    takes: dict[str, None] = {}
    for fold, score in zip(np.unique(outcome.folds).tolist(), cv.folds, strict=True):
        done = read_fold(run, fold)
        takes |= dict.fromkeys(done.get("oof_takes", []))
        count, then = int((outcome.folds == fold).sum()), done.get("epoch_score")
        shown = [Fixed(score, 5), int(done.get("epoch", 0)) + 1, None if then is None else Fixed(then, 5)]
        rows.append([name_fold(fold), count, *shown, Fixed(done.get("seconds", 0.0) / 60, 1)])
    rows.append(["all", cv.oof_rows, Fixed(cv.pooled, 5), None, None, None])
    heads = ["fold", "rows", outcome.metric, "best epoch", "its score then", "minutes"]
    why = list(takes) + (["thresholds and the like of the other folds' rows"] if outcome.judge.fits else [])
    said = (
        [element("p", f"After an epoch one view is scored. The out-of-fold rows take {', '.join(why)}.")] if why else []
    )
    return element("div", element("h3", "Folds"), table(heads, rows, marked=len(rows) - 1), *said)


def _list_facts(run: Run) -> Html:
    made = read_json(run.folder / "run.json")
    facts: dict[str, Any] = {
        "run": run.name,
        "started": f"{datetime.fromisoformat(run.started):%Y-%m-%d %H:%M} UTC",
        "recipe": run.recipe_name,
        "backbone": run.recipe.backbone,
        "image size": " × ".join(str(side) for side in reversed(run.recipe.size)) + " px",
        "task, metric": f"{run.competition.task}, {run.competition.metric}",
        "git commit": made["git_commit"] or "none: not in a repository",
        "versions": ", ".join(f"{package} {number}" for package, number in made["versions"].items()),
    }
    return element("div", element("h3", "Made with"), _list_pairs(facts))


def _list_choices(run: Run) -> Html:
    choices = {name: value for name, value in run.recipe.model_dump(mode="json").items() if name != "backbone"}
    return element("details", element("summary", "All choices of the recipe"), _list_pairs(choices))


def _list_pairs(values: dict[str, Any]) -> Html:
    pairs = [join([element("dt", name), element("dd", show(value))]) for name, value in values.items()]
    return element("dl", *pairs)
