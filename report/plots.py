"""Plots of finished heads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from report.arms import is_without_prior
from report.lines import format_strength

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "direct_translator": "#0072B2",
    "human_imitator": "#D55E00",
    "mixture": "#CC79A7",
    "neither": "#444444",
    "undecided": "#BBBBBB",
}
"""Colours of Okabe and Ito (2008), which readers with any colour vision can distinguish."""

LEGEND_WIDTH = 1.6
"""Width of an entry of the legend, in inches."""


def plot_follows_concept(key: str, heads: pd.DataFrame, path: Path) -> None:
    """Plots every head: the share of disputed episodes on which it follows X, against its level or
    its strength, with one panel for each prior. Heads that have not settled are hollow.
    """
    from matplotlib.figure import Figure

    priors = sorted(heads["prior"].unique(), key=lambda prior: (not is_without_prior(prior), prior))
    values = {prior: sorted(heads.loc[heads["prior"] == prior, key].unique()) for prior in priors}
    widths = [len(values[prior]) + 1.2 for prior in priors]
    width = 1.2 + 0.55 * sum(widths)
    figure = Figure(figsize=(width, 3.6), layout="constrained")
    axes = figure.subplots(1, len(priors), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axis, prior in zip(axes, priors, strict=True):
        _draw_panel(axis, heads[heads["prior"] == prior], key, values[prior])
        axis.set_title(prior, fontsize=11)
    axes[0].set_ylabel("share of disputed episodes\non which the head follows X")
    for y, label in ((1, "reads X"), (0, "imitates H")):
        text = axes[-1].text(1.02, y, label, transform=axes[-1].get_yaxis_transform())
        text.set(ha="left", va="center", fontsize=8, color="#888888")
    kinds = [kind for kind in COLOURS if (heads["verdict"] == kind).any()]
    dots = [axes[0].scatter([], [], color=COLOURS[kind], s=18, label=kind) for kind in kinds]
    if not heads["settled"].all():
        dots.append(axes[0].scatter([], [], color="white", edgecolor="#444444", s=18))
        dots[-1].set_label("has not settled")
    columns = max(1, min(len(dots), int(width / LEGEND_WIDTH)))
    figure.legend(
        handles=dots, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )
    figure.savefig(path, format="png", dpi=130, metadata={"Software": None})


def _draw_panel(axis: Axes, heads: pd.DataFrame, key: str, values: list[float]) -> None:
    rng = np.random.default_rng(0)
    slots = np.searchsorted(values, heads[key].to_numpy(float))
    x = slots + rng.uniform(-0.25, 0.25, len(heads))
    colours = heads["verdict"].map(COLOURS).to_numpy(object)
    faces = np.where(heads["settled"], colours, "white")
    marks = axis.scatter(x, heads["follows_concept"], s=14, linewidth=0.7, alpha=0.85)
    marks.set(facecolor=faces, edgecolor=colours)
    for y in (0, 1):
        axis.axhline(y, color="#DDDDDD", linewidth=0.8, zorder=0)
    axis.set_xticks(range(len(values)), [format_strength(value) for value in values], fontsize=8)
    axis.set_xlim(-0.6, len(values) - 0.4)
    axis.set_ylim(-0.04, 1.04)
    axis.set_xlabel({"level": "level read", "strength": "strength"}[key])
    axis.spines[["top", "right"]].set_visible(False)
