"""How far the values of a regression are off."""

from __future__ import annotations

import numpy as np

from kitsolve.data.sampling import sample_rows
from kitsolve.pictures.summary import histogram_edges
from kitsolve.reporting.html import element
from kitsolve.reporting.outcome import Outcome
from kitsolve.reporting.page import Section
from kitsolve.reporting.svg import draw_bars, draw_dots

MOST_DOTS, BINS = 3000, 40


def show_residuals(outcome: Outcome) -> Section:
    """Predicted against true values, and a histogram of the differences."""
    true, predicted, name = outcome.targets.values, outcome.predicted, outcome.targets.names[0]
    residuals = predicted - true
    rows = sample_rows(true, MOST_DOTS, seed=0)
    edges = histogram_edges(residuals, at_most=BINS)
    charts = [
        draw_dots(true[rows], predicted[rows], names=(f"true {name}", f"predicted {name}")),
        draw_bars(np.histogram(residuals, edges)[0], edges, names=(f"predicted − true {name}", "rows")),
    ]
    thinned = f" The first chart shows {len(rows):,} of them, drawn by lot." if len(rows) < len(true) else ""
    return Section(
        "errors",
        "Errors",
        f"Predicted and true values of {len(true):,} rows; predicted − true has the mean {residuals.mean():.4g}, the "
        f"standard deviation {residuals.std():.4g}, and is {np.abs(residuals).mean():.4g} off on average.{thinned}",
        "Dots below the line at its right end mean that great values are underrated: the model draws to the mean, and "
        "longer training, larger images or another loss may help.",
        element("div", *charts, class_="charts"),
    )
