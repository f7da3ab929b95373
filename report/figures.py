"""The figures of the comparison. Every head is a dot, a hollow one if it has not settled; lines and
bands are means of settled heads over predictors with their 95% intervals.

K: heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from numpy.typing import NDArray

from report.answer import format_mean, format_prior
from report.arms import has_no_prior, is_without_prior
from report.bimodality import find_two_modes
from report.columns import get_heading
from report.drawing import FAINT, INK, PAPER, RULE, STYLE, Dots, Drawing, create_drawing
from report.intervals import N_CLAIMS, Mean, estimate_column, group_by_prior
from report.lines import KINDS, format_strength
from report.plots import COLOURS
from report.settling import count_with_settled, describe_unsettled, keep_settled

LABEL_GAP = 0.065
"""Least distance of two labels beside a panel, as a share of its height."""
BINS = 90
"""Number of bins of a strip from 0 to 1. Dots in one bin are stacked in its middle, so that modes
are visible.
"""


@dataclass(frozen=True)
class Panel:
    """The heads of one reporter and prior against their strength or level."""

    reporter: str
    prior: str
    drawing: Drawing


def draw_strip(heads: pd.DataFrame, n_strips: int) -> Drawing:
    """Draws the heads of one prior on a line from 0 (imitates the human) to 1 (reads X), with their
    mean and its interval.

    Args:
        heads: settled ones, and hollow ones that have not settled and count in no mean.
        n_strips: number of strips for which the intervals hold together.
    """
    drawing, axes = create_drawing(6.0, 0.62, 1.9)
    _fill_strip(drawing, axes[0, 0], heads, n_strips)
    drawing.figure.set_layout_engine("none")
    axes[0, 0].set_position((0.01, 0.02, 0.98, 0.96))
    return drawing


def draw_strips(rows: list[tuple[str, pd.DataFrame]]) -> Drawing:
    """Draws the strips of several priors below each other, with their names and means."""
    n = len(rows)
    n_settled = count_with_settled(heads for _, heads in rows)
    drawing, axes = create_drawing(8.6, 0.75 + 0.62 * n, 1.9, nrows=n, ncols=1, sharex=True)
    with rc_context(STYLE):
        for (label, heads), axis in zip(rows, axes[:, 0], strict=True):
            follows = _fill_strip(drawing, axis, heads, n_settled)
            translators = estimate_column(keep_settled(heads), "translator", N_CLAIMS * n_settled)
            axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
            first = f"{get_heading('follows_concept')} {format_mean(follows)}"
            second = f"{get_heading('translators')} {format_mean(translators)}"
            if follows.heads == 0:
                first, second = describe_unsettled(heads), ""
            _write_beside(axis, 0.62, first, INK)
            _write_beside(axis, 0.28, second, FAINT)
            axis.tick_params(length=0)
        ticks = {
            0.0: "0\nimitates the human",
            0.25: "0.25",
            0.5: "0.5",
            0.75: "0.75",
            1.0: "1\nreads X",
        }
        axes[-1, 0].set_xticks(list(ticks), list(ticks.values()))
        axes[-1, 0].set_xlabel("share of disputed episodes on which the head follows X")
        _add_legend(drawing, pd.concat([heads for _, heads in rows]))
    return drawing


def draw_panels(heads: pd.DataFrame, table: pd.DataFrame, key: str) -> list[Panel]:
    """Draws whom heads follow against their strength or level: one panel in its own drawing for
    each reporter and prior.

    Args:
        heads: those that `comparison.choose_heads` selects; `index` numbers them on the page.
        table: `comparison.build_lines` of these heads.
        key: strength or level.
    """
    table = table[table[key].notna()]
    panels = []
    for reporter, prior in _choose_panels(table, key):
        drawing, axes = create_drawing(2.6, 2.0, 1.05)
        own_heads, own_table = _select(heads, reporter), _select(table, reporter)
        _fill_panel(drawing, axes[0, 0], own_heads, own_table, prior, key)
        panels.append(Panel(reporter, prior, drawing))
    return panels


def draw_panel_grid(heads: pd.DataFrame, table: pd.DataFrame, key: str) -> Drawing | None:
    """Draws the same panels in one drawing for a separate file; None where there are no panels."""
    table = table[table[key].notna()]
    panels = _choose_panels(table, key)
    if not panels:
        return None
    columns = min(4, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, height = 3.1 * columns, 2.5 * rows + 0.4
    drawing, grid = create_drawing(width, height, 1.2, nrows=rows, ncols=columns)
    for axis in grid.ravel()[len(panels) :]:
        axis.set_visible(False)
    several = table["reporter"].nunique() > 1
    for (reporter, prior), axis in zip(panels, grid.ravel(), strict=False):
        own_heads, own_table = _select(heads, reporter), _select(table, reporter)
        _fill_panel(drawing, axis, own_heads, own_table, prior, key)
        with rc_context(STYLE):
            axis.set_title(format_prior(reporter, prior, several))
    _add_legend(drawing, heads)
    return drawing


def _choose_panels(table: pd.DataFrame, key: str) -> list[tuple[str, str]]:
    """Returns the reporters and priors with a panel. Heads without a prior have only one strength,
    so they have no panel against strength.
    """
    groups = group_by_prior(table, by_name=False)
    return [
        (reporter, prior)
        for (reporter, prior), group in groups
        if key == "level" or not is_without_prior(prior) or len(group) > 1
    ]


def _select(frame: pd.DataFrame, reporter: str) -> pd.DataFrame:
    return frame[frame["reporter"] == reporter]


def _fill_strip(drawing: Drawing, axis: Axes, heads: pd.DataFrame, n_strips: int) -> Mean:
    """Draws a strip into an axis and returns the mean share that settled heads follow X."""
    _add_dots(drawing, axis, heads, *_stack_dots(heads))
    settled = keep_settled(heads)
    follows_K = settled["follows_concept"].to_numpy(float)
    mean = estimate_column(settled, "follows_concept", N_CLAIMS * n_strips)
    has_two_modes = find_two_modes(follows_K, settled["predictor"].to_numpy(object)) is not None
    axis.plot([0, 1], [0.2, 0.2], color=RULE, linewidth=0.7, zorder=0)
    if not np.isnan(mean.low):
        (bar,) = axis.plot([mean.low, mean.high], [0.09, 0.09], color=INK, linewidth=2.2)
        bar.set(alpha=0.35 if has_two_modes else 0.9, solid_capstyle="butt")
    (diamond,) = axis.plot([mean.value], [0.09], marker="D", color=INK, markersize=5)
    diamond.set(markerfacecolor=PAPER if has_two_modes else INK, markeredgewidth=0.9)
    axis.set(xlim=(-0.015, 1.015), ylim=(0, 1), yticks=[], xticks=[])
    axis.spines[:].set_visible(False)
    return mean


def _stack_dots(heads: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the positions of a strip's dots: in the middle of their bins, each on top of the one
    before, settled ones first, sorted by verdict.
    """
    follows_K = heads["follows_concept"].to_numpy(float)
    is_hollow_K = ~heads["settled"].to_numpy(bool)
    bin_K = np.clip((follows_K * BINS).astype(int), 0, BINS - 1)
    order = np.lexsort((follows_K, _rank_verdicts(heads), is_hollow_K, bin_K))
    height_K = np.empty(len(heads))
    height_K[order] = pd.Series(bin_K[order]).groupby(bin_K[order]).cumcount()
    step = min(0.13, 0.66 / max(height_K.max(), 1))
    return (bin_K + 0.5) / BINS, 0.25 + step * height_K


def _fill_panel(
    drawing: Drawing,
    axis: Axes,
    heads: pd.DataFrame,
    table: pd.DataFrame,
    prior: str,
    key: str,
) -> None:
    """Draws a panel into an axis: the other priors, the heads without a prior, the heads as dots,
    and their mean.

    Args:
        heads: of one reporter.
        table: the lines of these heads.
    """
    is_plain = has_no_prior(table["prior"])
    lines = table if key == "level" else table[~is_plain]
    values = sorted(float(value) for value in lines[key].dropna().unique())
    with rc_context(STYLE):
        _draw_other_priors(axis, lines[lines["prior"] != prior], key, values)
        if key == "strength" and not is_without_prior(prior):
            plain = table[is_plain].dropna(subset="follows_concept")
            _draw_no_priors(axis, plain.sort_values("follows_concept"), len(values))
        own_heads = heads[(heads["prior"] == prior) & heads[key].notna()]
        follows_K = own_heads["follows_concept"].to_numpy(float)
        slot_K = np.searchsorted(values, own_heads[key].to_numpy(float))
        x_K = slot_K + _spread_sideways(slot_K, follows_K)
        _add_dots(drawing, axis, own_heads, x_K, follows_K)
        _draw_mean(axis, _add_slots(table[table["prior"] == prior], key, values))
        _set_panel_axes(axis, key, values)


def _draw_other_priors(axis: Axes, lines: pd.DataFrame, key: str, values: list[float]) -> None:
    """Draws the means of other priors as grey lines, all at once: a gap lies between priors."""
    lines = _add_slots(lines, key, values).sort_values("prior", kind="stable")
    is_first = lines["prior"].ne(lines["prior"].shift())
    starts = np.flatnonzero(is_first)
    x = np.insert(lines["x"].to_numpy(float), starts, np.nan)
    y = np.insert(lines["follows_concept"].to_numpy(float), starts, np.nan)
    axis.plot(x, y, color=RULE, linewidth=0.9, zorder=0)


def _draw_no_priors(axis: Axes, lines: pd.DataFrame, n_slots: int) -> None:
    """Draws the means of arms without a prior as dashed lines, each with its name beside it.

    Args:
        lines: from the least mean to the largest.
    """
    follows = lines["follows_concept"].to_numpy(float)
    for height, mean, (_, line) in zip(
        spread_labels(follows), follows, lines.iterrows(), strict=True
    ):
        axis.axhline(mean, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0.5)
        name = format_prior(line["reporter"], line["prior"], False)
        label = axis.annotate(name, (n_slots - 0.38, height), annotation_clip=False)
        label.set(fontsize=6.5, color=FAINT, va="center")


def spread_labels(height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns ascending heights of labels, moved apart so that none hides its neighbour.

    >>> spread_labels(np.array([0.1, 0.62, 0.63])).round(3)
    array([0.1  , 0.62 , 0.685])
    """
    spread = height.copy()
    for i in range(1, len(spread)):
        spread[i] = max(spread[i], spread[i - 1] + LABEL_GAP)
    return spread


def _draw_mean(axis: Axes, line: pd.DataFrame) -> None:
    """Draws the mean over predictors with its band. Points with two modes are hollow."""
    x, follows = line["x"], line["follows_concept"]
    low, high = line["follows_concept_low"], line["follows_concept_high"]
    axis.fill_between(x, low, high, color=INK, alpha=0.14, linewidth=0, zorder=2)
    axis.plot(x, follows, color=INK, linewidth=1.4, zorder=3)
    two = line[line["two_modes"].fillna("") != ""]
    axis.plot(x, follows, "o", color=INK, markersize=3, zorder=3)
    (hollow,) = axis.plot(two["x"], two["follows_concept"], "o", color=INK, markersize=4.2)
    hollow.set(markerfacecolor=PAPER, markeredgewidth=0.9, zorder=4)


def _set_panel_axes(axis: Axes, key: str, values: list[float]) -> None:
    n = len(values)
    axis.set(xlim=(-0.6, n - 0.4), ylim=(-0.03, 1.03), yticks=[0, 0.25, 0.5, 0.75, 1])
    axis.set_yticklabels(["0", "", "0.5", "", "1"])
    every = 1 if n < 8 else 2
    axis.set_xticks(range(0, n, every), [format_strength(value) for value in values[::every]])
    axis.set_xlabel("strength of the prior" if key == "strength" else "level that the head reads")
    axis.set_ylabel(get_heading("follows_concept"))


def _add_dots(
    drawing: Drawing,
    axis: Axes,
    heads: pd.DataFrame,
    x_K: NDArray[np.float64],
    y_K: NDArray[np.float64],
) -> None:
    kind_K = heads["verdict"].to_numpy(object)
    head_K = heads["index"].to_numpy()
    is_settled_K = heads["settled"].to_numpy(bool)
    drawing.dots.append((axis, Dots(x_K, y_K, kind_K, head_K, is_settled_K)))


def _write_beside(axis: Axes, y: float, text: str, colour: str) -> None:
    label = axis.text(1.02, y, text, transform=axis.transAxes, fontsize=7.5)
    label.set(va="center", color=colour)


def _add_slots(line: pd.DataFrame, key: str, values: list[float]) -> pd.DataFrame:
    """Returns a line of a panel with the positions of its points as x."""
    line = line[line[key].notna()].sort_values(key)
    return line.assign(x=np.searchsorted(values, line[key].to_numpy(float)))


def _spread_sideways(
    slot_K: NDArray[np.int64], value_K: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the horizontal offset of each dot, up to 0.36 of a slot. The more heads of a slot
    share a value, the wider they are spread.
    """
    frame = pd.DataFrame({"slot": slot_K, "bin": (value_K * 40).astype(int)})
    group = frame.groupby(["slot", "bin"])
    nth, count = group.cumcount(), group["bin"].transform("size")
    widest = count.groupby(frame["slot"]).transform("max")
    return (((nth + 0.5) / count - 0.5) * 0.72 * count / widest).to_numpy(float)


def _rank_verdicts(heads: pd.DataFrame) -> NDArray[np.int64]:
    return np.array([KINDS.index(kind) for kind in heads["verdict"]], np.int64)


def _add_legend(drawing: Drawing, heads: pd.DataFrame) -> None:
    kinds = [kind for kind in KINDS if (heads["verdict"] == kind).any()]
    axis = drawing.figure.axes[0]
    marks = []
    for kind in kinds:
        label = kind.replace("_", " ")
        marks += axis.plot([], [], "o", color=COLOURS[kind], markersize=4, label=label)
    if not heads["settled"].all():
        hollow = axis.plot([], [], "o", color=INK, markersize=4, label="has not settled")
        hollow[0].set_markerfacecolor(PAPER)
        marks += hollow
    drawing.figure.legend(
        handles=marks,
        loc="outside lower center",
        ncols=len(marks),
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
        columnspacing=1.4,
    )
