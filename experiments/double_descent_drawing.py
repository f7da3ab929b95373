"""The figure of `double_descent`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from report.drawing import FAINT, Drawing, create_drawing
from report.intervals import estimate_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from experiments.peaks import find_threshold, tabulate

PANELS = {
    "test_nll": "test NLL, nats an episode",
    "test_error": "test error, share of episodes",
    "follows_concept": "follows X, share of disputed episodes",
}
"""What is drawn against the number of parameters."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito (2008), one for each number of training episodes."""

NLL_TICKS = (0.3, 1, 3, 10)


def draw(table: pd.DataFrame) -> Drawing:
    """Returns the figure: a row for each length of training, a column for each panel, a line for
    each number of training episodes.
    """
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    lengths = sorted(table["epochs"].unique())
    drawing, axes = create_drawing(
        10.5,
        0.9 + 2.7 * len(lengths),
        nrows=len(lengths),
        ncols=len(PANELS),
        sharex=True,
        sharey="col",
    )
    for row, epochs in enumerate(lengths):
        of_length = table[table["epochs"] == epochs]
        for axis, (column, title) in zip(axes[row], PANELS.items(), strict=True):
            draw_panel(axis, of_length, column)
            if row == 0:
                axis.set_title(title, fontsize=9)
            if row == len(lengths) - 1:
                axis.set_xlabel("parameters of a head")
        axes[row, 0].set_ylabel(f"{epochs:,} epochs", fontsize=9, fontweight="bold")
        axes[row, 0].set_yscale("log")
        axes[row, 0].yaxis.set_major_formatter(ScalarFormatter())
        axes[row, 0].yaxis.set_minor_formatter(NullFormatter())
        axes[row, 0].set_yticks(NLL_TICKS)
    lines = axes[0, 0].get_legend_handles_labels()
    columns = len(lines[0])
    drawing.figure.legend(
        *lines, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
    return drawing


def draw_panel(axis: Axes, heads: pd.DataFrame, column: str) -> None:
    """Draws one quantity at one length of training."""
    for colour, train in zip(COLOURS, sorted(heads["train"].unique()), strict=False):
        of_size = heads[heads["train"] == train]
        curves = tabulate(of_size, column)
        own = curves.index.to_numpy(object)
        means = [estimate_mean(curves[width].to_numpy(), own) for width in curves]
        x = curves.columns.to_numpy()
        y = np.array([mean.value for mean in means])
        low, high = ([getattr(mean, end) for mean in means] for end in ("low", "high"))
        axis.axvline(float(train), color=colour, linewidth=0.8, linestyle=":", zorder=0)
        axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.plot(x, y, color=colour, linewidth=1.3, label=f"N = {train} episodes")
        threshold = find_threshold(of_size)
        if threshold:
            axis.plot(threshold, y[x == threshold], "o", color=colour, markersize=5)
    axis.plot([], [], "o", color=FAINT, markersize=5, label="all heads fit all N labels")
    axis.plot([], [], ":", color=FAINT, linewidth=0.8, label="N parameters")
    axis.set_xscale("log")
