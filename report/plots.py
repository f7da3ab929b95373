"""Plots of finished heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

COLOURS = {
    "direct_translator": "#0072B2",
    "human_imitator": "#D55E00",
    "mixture": "#CC79A7",
    "neither": "#444444",
    "undecided": "#BBBBBB",
}
"""After Okabe and Ito (2008): told apart by readers with any colour vision."""


def follows_by(key: str, heads: pd.DataFrame, path: Path) -> None:
    """Draws every head: the share of disputed episodes on which it follows X, against its level or its strength; a panel for each prior."""
    from matplotlib.figure import Figure

    priors = list(heads["prior"].unique())
    figure = Figure(figsize=(1.2 + 2.9 * len(priors), 3.6), layout="constrained")
    axes = figure.subplots(1, len(priors), sharey=True, squeeze=False)[0]
    places = {value: place for place, value in enumerate(sorted(heads[key].unique()))}
    for axis, prior in zip(axes, priors, strict=True):
        _panel(axis, heads[heads["prior"] == prior], key, places)
        axis.set_title(prior)
    axes[0].set_ylabel("share of disputed episodes\non which the head follows X")
    kinds = [kind for kind in COLOURS if (heads["verdict"] == kind).any()]
    dots = [axes[0].scatter([], [], color=COLOURS[kind], s=18, label=kind) for kind in kinds]
    figure.legend(handles=dots, loc="outside lower center", ncols=len(kinds), frameon=False, fontsize=9)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _panel(axis, heads: pd.DataFrame, key: str, places: dict[float, int]) -> None:  # type: ignore[no-untyped-def]
    chance = np.random.default_rng(0)
    x = heads[key].map(places).to_numpy(float) + chance.uniform(-0.25, 0.25, len(heads))
    axis.scatter(x, heads["follows_concept"], s=14, linewidth=0, alpha=0.85, c=heads["verdict"].map(COLOURS))
    for y, word in ((1, "reads X"), (0, "imitates H")):
        axis.axhline(y, color="#DDDDDD", linewidth=0.8, zorder=0)
        axis.text(len(places) - 0.45, y, word, ha="right", va="bottom" if y == 0 else "top", fontsize=7, color="#888888")
    axis.set_xticks(range(len(places)), [f"{value:g}" for value in places], fontsize=8)
    axis.set_xlim(-0.6, len(places) - 0.4)
    axis.set_ylim(-0.04, 1.04)
    axis.set_xlabel({"level": "level read", "strength": "strength"}[key])
    axis.spines[["top", "right"]].set_visible(False)
