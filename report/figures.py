"""The comparison's figures. Every head is a dot; lines and bands are means over predictors with
their 95% intervals.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from numpy.typing import NDArray

from report.answer import name
from report.answer import written as with_interval
from report.bimodality import heaps
from report.drawing import FAINT, INK, PAPER, RULE, STYLE, Dots, Drawing, new
from report.intervals import Mean, by_prior, mean
from report.lines import KINDS, written
from report.plots import COLOURS

BINS = 90
"""Of a strip, from 0 to 1: dots in one bin stand upon each other in its middle, so that heaps look
like heaps.
"""


def strip(heads: pd.DataFrame, among: int) -> Drawing:
    """Draws the heads of one prior on a line from 0 (imitates the human) to 1 (reads X), with their
    mean and its interval.
    """
    drawing, axes = new(6.0, 0.62, 1.9)
    _strip(drawing, axes[0, 0], heads, among)
    drawing.figure.set_layout_engine("none")
    axes[0, 0].set_position((0.01, 0.02, 0.98, 0.96))
    return drawing


def strips(rows: list[tuple[str, pd.DataFrame]]) -> Drawing:
    """Draws the strips of several priors below each other, with their names and figures."""
    drawing, axes = new(8.6, 0.75 + 0.62 * len(rows), 1.9, nrows=len(rows), ncols=1, sharex=True)
    with rc_context(STYLE):
        for (label, heads), axis in zip(rows, axes[:, 0], strict=True):
            said = _strip(drawing, axis, heads, len(rows))
            share = mean(
                heads["translator"].to_numpy(bool),
                heads["predictor"].to_numpy(object),
                len(rows),
                (0.0, 1.0),
            )
            axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
            axis.text(
                1.02,
                0.62,
                f"follows X {with_interval(said)}",
                transform=axis.transAxes,
                fontsize=7.5,
                va="center",
            )
            axis.text(
                1.02,
                0.28,
                f"translators {with_interval(share)}",
                transform=axis.transAxes,
                fontsize=7.5,
                va="center",
                color=FAINT,
            )
            axis.tick_params(length=0)
        last = axes[-1, 0]
        last.set_xticks(
            [0, 0.25, 0.5, 0.75, 1], ["0\nimitates the human", "0.25", "0.5", "0.75", "1\nreads X"]
        )
        last.set_xlabel("share of disputed episodes on which the head follows X")
        _legend(drawing, pd.concat([heads for _, heads in rows]))
    return drawing


def panels(
    heads: pd.DataFrame, table: pd.DataFrame, key: str, whole: bool
) -> list[tuple[str, str, Drawing]]:
    """Draws whom heads follow against their strength or level: of each reporter and prior a panel,
    or all in one drawing.

    Args:
        heads: those that `comparison.heads_of` chose; `index` is the number of each on the page.
        table: `comparison.lines` of them.
        key: strength or level.
        whole: whether all panels are in one drawing, for a file of its own.
    """
    table = table[table[key].notna()]
    shown = [
        (r, p)
        for (r, p), group in by_prior(table, by_name=False)
        if key == "level" or p != "none" or len(group) > 1
    ]
    if not shown:
        return []
    drawn = []
    columns = min(4, len(shown))
    if whole:
        drawing, grid = new(
            3.1 * columns,
            2.5 * -(-len(shown) // columns) + 0.4,
            1.2,
            nrows=-(-len(shown) // columns),
            ncols=columns,
        )
        cells = [(drawing, axis) for axis in grid.ravel()]
        for axis in grid.ravel()[len(shown) :]:
            axis.set_visible(False)
    else:
        cells = [(one, axes[0, 0]) for one, axes in (new(2.6, 2.0, 1.05) for _ in shown)]
    for (reporter, prior), (one, axis) in zip(shown, cells, strict=False):
        with rc_context(STYLE):
            _panel(
                one,
                axis,
                heads[heads["reporter"] == reporter],
                table[table["reporter"] == reporter],
                prior,
                key,
            )
            if whole:
                axis.set_title(name(reporter, prior, table["reporter"].nunique() > 1))
        drawn.append((reporter, prior, one))
    if whole:
        _legend(drawing, heads)
        return drawn[:1]
    return drawn


def _strip(drawing: Drawing, axis: Axes, heads: pd.DataFrame, among: int) -> Mean:
    follows, names = heads["follows_concept"].to_numpy(float), heads["predictor"].to_numpy(object)
    bin_N = np.clip((follows * BINS).astype(int), 0, BINS - 1)
    order = np.lexsort((follows, _rank(heads), bin_N))
    height_N = np.empty(len(heads))
    height_N[order] = pd.Series(bin_N[order]).groupby(bin_N[order]).cumcount()
    step = min(0.13, 0.66 / max(height_N.max(), 1))
    drawing.dots.append(
        (
            axis,
            Dots(
                (bin_N + 0.5) / BINS,
                0.25 + step * height_N,
                heads["verdict"].to_numpy(object),
                heads["index"].to_numpy(),
            ),
        )
    )
    said = mean(follows, names, among, (0.0, 1.0))
    two = heaps(follows, names) is not None
    axis.plot([0, 1], [0.2, 0.2], color=RULE, linewidth=0.7, zorder=0)
    if not np.isnan(said.low):
        axis.plot(
            [said.low, said.high],
            [0.09, 0.09],
            color=INK,
            linewidth=2.2,
            alpha=0.35 if two else 0.9,
            solid_capstyle="butt",
        )
    axis.plot(
        [said.value],
        [0.09],
        marker="D",
        markersize=5,
        color=INK,
        markerfacecolor=PAPER if two else INK,
        markeredgewidth=0.9,
    )
    axis.set(xlim=(-0.015, 1.015), ylim=(0, 1), yticks=[], xticks=[])
    axis.spines[:].set_visible(False)
    return said


def _panel(
    drawing: Drawing, axis: Axes, heads: pd.DataFrame, table: pd.DataFrame, prior: str, key: str
) -> None:
    priced = table if key == "level" else table[table["prior"] != "none"]
    places = sorted(float(value) for value in priced[key].dropna().unique())
    mine, theirs = (
        table[table["prior"] == prior],
        heads[(heads["prior"] == prior) & heads[key].notna()],
    )
    for other, points in priced.groupby("prior", sort=False):
        if other != prior:
            line = _over(points, key, places)
            axis.plot(line["x"], line["follows_concept"], color=RULE, linewidth=0.9, zorder=0)
    none = table[(table["prior"] == "none")] if key == "strength" else table[:0]
    if len(none) and prior != "none":
        axis.axhline(
            none["follows_concept"].iloc[0],
            color=FAINT,
            linewidth=0.9,
            linestyle=(0, (4, 3)),
            zorder=0.5,
        )
        axis.annotate(
            "no prior",
            (len(places) - 0.38, none["follows_concept"].iloc[0]),
            fontsize=6.5,
            color=FAINT,
            va="center",
            annotation_clip=False,
        )
    slot = np.searchsorted(places, theirs[key].to_numpy(float))
    x_N = slot + _sideways(slot, theirs["follows_concept"].to_numpy(float))
    drawing.dots.append(
        (
            axis,
            Dots(
                x_N,
                theirs["follows_concept"].to_numpy(float),
                theirs["verdict"].to_numpy(object),
                theirs["index"].to_numpy(),
            ),
        )
    )
    line = _over(mine, key, places)
    axis.fill_between(
        line["x"],
        line["follows_concept_low"],
        line["follows_concept_high"],
        color=INK,
        alpha=0.14,
        linewidth=0,
        zorder=2,
    )
    axis.plot(line["x"], line["follows_concept"], color=INK, linewidth=1.4, zorder=3)
    two = line[line["two_heaps"].fillna("") != ""]
    axis.plot(line["x"], line["follows_concept"], "o", color=INK, markersize=3, zorder=3)
    axis.plot(
        two["x"],
        two["follows_concept"],
        "o",
        color=INK,
        markerfacecolor=PAPER,
        markersize=4.2,
        markeredgewidth=0.9,
        zorder=4,
    )
    axis.set(xlim=(-0.6, len(places) - 0.4), ylim=(-0.03, 1.03), yticks=[0, 0.25, 0.5, 0.75, 1])
    axis.set_yticklabels(["0", "", "0.5", "", "1"])
    every = 1 if len(places) < 8 else 2
    axis.set_xticks(range(0, len(places), every), [written(value) for value in places[::every]])
    axis.set_xlabel("strength of the prior" if key == "strength" else "level that the head reads")
    axis.set_ylabel("follows X")


def _over(line: pd.DataFrame, key: str, places: list[float]) -> pd.DataFrame:
    line = line[line[key].notna()].sort_values(key)
    return line.assign(x=np.searchsorted(places, line[key].to_numpy(float)))


def _sideways(slot_N: NDArray[np.int64], value_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how far aside each dot stands: the more heads of a slot share its value, the wider
    they stand, up to 0.36 of a slot.
    """
    frame = pd.DataFrame({"slot": slot_N, "bin": (value_N * 40).astype(int)})
    group = frame.groupby(["slot", "bin"])
    nth, count = group.cumcount(), group["bin"].transform("size")
    widest = count.groupby(frame["slot"]).transform("max")
    return (((nth + 0.5) / count - 0.5) * 0.72 * count / widest).to_numpy(float)


def _rank(heads: pd.DataFrame) -> NDArray[np.int64]:
    return np.array([KINDS.index(kind) for kind in heads["verdict"]], np.int64)


def _legend(drawing: Drawing, heads: pd.DataFrame) -> None:
    kinds = [kind for kind in KINDS if (heads["verdict"] == kind).any()]
    axis = drawing.figure.axes[0]
    marks = [
        axis.plot([], [], "o", color=COLOURS[kind], markersize=4, label=kind.replace("_", " "))[0]
        for kind in kinds
    ]
    drawing.figure.legend(
        handles=marks,
        loc="outside lower center",
        ncols=len(kinds),
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
        columnspacing=1.4,
    )
