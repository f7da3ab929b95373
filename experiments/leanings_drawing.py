"""The figure of `leanings`: how well heads rank X, by price, level and context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from report.drawing import FAINT, Drawing, create_drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#440154", "#31688e", "#35b779", "#d9a400")
"""Of levels, shallowest first; repeated where there are more."""


def draw(heads: pd.DataFrame) -> Drawing:
    """Returns the figure: a row for each context, a column for each prior, a curve for each level.
    Thin lines are adapters, the mean over their resamplings.
    """
    contexts, priors = heads["context"].unique(), heads["prior"].unique()
    drawing, axes = create_drawing(
        1 + 3.4 * len(priors),
        0.8 + 2.4 * len(contexts),
        nrows=len(contexts),
        ncols=len(priors),
        sharex="col",
        sharey=True,
    )
    settled = heads[heads["settled"]]
    for i, context in enumerate(contexts):
        for j, prior in enumerate(priors):
            own = settled[(settled["context"] == context) & (settled["prior"] == prior)]
            draw_curves(axes[i, j], own)
            axes[i, j].set_title(f"{context}, {prior}", fontsize=9)
        axes[i, 0].set_ylabel("AUROC for X on disputed\nstatements that are known")
    for axis in axes[-1]:
        axis.set_xlabel("strength of the prior")
    axes[0, 0].legend(frameon=False, fontsize=7, title="level", title_fontsize=7)
    return drawing


def draw_curves(axis: Axes, heads: pd.DataFrame) -> None:
    """Draws the curves of one context and prior."""
    axis.axhline(0.5, color=FAINT, linewidth=0.5, zorder=0)
    for number, (level, own) in enumerate(heads.groupby("level")):
        colour = COLOURS[number % len(COLOURS)]
        curves = own.groupby(["strength", "adapter"])["ranks_concept"].mean().unstack()
        axis.plot(curves.index, curves.to_numpy(), color=colour, linewidth=0.4, alpha=0.5)
        axis.plot(curves.index, curves.mean(axis=1), color=colour, linewidth=1.6, label=str(level))
    axis.set_ylim(-0.03, 1.03)
    axis.set_xscale("log")
