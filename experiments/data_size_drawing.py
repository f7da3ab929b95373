"""The figure of `data_size`: whom heads follow, and what planted heads pay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from report.drawing import FAINT, INK, Drawing, create_drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from experiments.crossings import PREDICTED, Crossing, Result, summarise_crossings

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

PAID = {
    "cost_imitator": "imitator",
    "cost_translator": "translator, with errors",
    "two_part": "translator without errors + N · h(errors)",
}
"""What is drawn of planted heads."""

STYLES = {
    "cost_imitator": (ORANGE, "-"),
    "cost_translator": (BLUE, "--"),
    "two_part": (GREEN, ":"),
}
"""Colour and line of each."""


def draw(results: Sequence[Result]) -> Drawing:
    """Returns the figure: a column for each prior and strength. Above, how often heads follow X;
    below, what planted heads pay.
    """
    drawing, axes = create_drawing(
        1 + 3.2 * len(results), 5.6, nrows=2, ncols=len(results), sharex=True, sharey="row"
    )
    for i, result in enumerate(results):
        draw_follows(axes[0, i], result)
        draw_costs(axes[1, i], result)
        axes[0, i].set_title(result.name, fontsize=9)
        axes[1, i].set_xlabel("training episodes, N")
    axes[0, 0].set_ylabel("heads of the contest follow X,\nshare of disputed episodes")
    axes[1, 0].set_ylabel("planted heads pay,\nnats of the whole training set")
    axes[1, 0].legend(frameon=False, fontsize=7, loc="lower right")
    return drawing


def draw_follows(axis: Axes, result: Result) -> None:
    """Draws how often the heads of each predictor follow X, their mean, and the measured and
    predicted crossings.
    """
    means = result.contest.groupby(["train", "predictor"])["follows_concept"].mean()
    curves = means.unstack()
    x = curves.index.to_numpy()
    axis.plot(x, curves.to_numpy(), color=FAINT, linewidth=0.4, alpha=0.5)
    axis.plot(x, curves.mean(axis=1), color=INK, linewidth=1.6)
    crossings = [("measured", result.measured_P, (INK, "-"))]
    for column, name in PREDICTED.items():
        crossings.append((name, result.predict(column), STYLES[column]))
    corner: Any = {"transform": axis.transAxes, "fontsize": 7, "ha": "right", "va": "center"}
    axis.text(0.99, 0.96, "imitator from N =", **corner)
    for i, (name, log2_P, (colour, style)) in enumerate(crossings):
        crossing = summarise_crossings(log2_P)
        mark_crossing(axis, crossing, colour, style)
        label = f"{name}:\n{crossing.describe_briefly()}"
        axis.text(0.99, 0.88 - 0.12 * i, label, color=colour, **corner)
    axis.axhline(0.5, color=FAINT, linewidth=0.5, zorder=0)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xscale("log", base=2)


def mark_crossing(axis: Axes, crossing: Crossing, colour: str, style: str) -> None:
    """Draws where curves cross, with its interval; nothing where they do not."""
    if not crossing.mean.predictors:
        return
    value, low, high = (2.0**log2 for log2 in crossing.mean[:3])
    axis.axvline(value, color=colour, linestyle=style, linewidth=1.2)
    if not np.isnan(low):
        axis.axvspan(low, high, color=colour, alpha=0.12, linewidth=0)


def draw_costs(axis: Axes, result: Result) -> None:
    """Draws what planted heads pay, mean of predictors."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    costs = result.predictions.groupby("train")[list(PAID)].mean()
    for column, label in PAID.items():
        colour, style = STYLES[column]
        axis.plot(costs.index, costs[column], style, color=colour, linewidth=1.3, label=label)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())
