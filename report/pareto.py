"""Pareto fronts: the cost of heads in one unit of the bill, against their error or against how
often they follow X.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from report.columns import get_heading
from report.drawing import INK, PAPER, STYLE, Drawing, create_drawing

WIDE_RANGE = 20
"""Ratio of the largest to the smallest value above which an axis has a logarithmic scale."""
MARK_WIDTH = 10
"""Distance in points below which points of the front share a number."""


def draw_front(
    table: pd.DataFrame, unit: str, unit_label: str, scale: float, against: str
) -> tuple[Drawing, list[pd.DataFrame]]:
    """Draws the mean cost of every prior and strength against `against`, and the Pareto front.

    Points of the front that overlap share a number. Also returns the lines of each number.

    Args:
        table: one line for each prior and strength.
        unit: column of the cost.
        scale: factor from the column to the units of the label.
        against: calibrated_nll, of which less is better, or follows_concept, of which more is
            better.
    """
    table = table.loc[np.isfinite(table[[unit, against]].to_numpy(float)).all(axis=1)]
    cost, y = table[unit].to_numpy(float), table[against].to_numpy(float)
    is_error = against == "calibrated_nll"
    best = find_front(cost, y * (1 if is_error else -1))
    drawing, axes = create_drawing(2.6, 1.95)
    axis, x = axes[0, 0], cost * scale
    with rc_context(STYLE):
        axis.scatter(x, y, s=14, color="#9aa3ad", linewidth=0, alpha=0.8)
        axis.step(x[best], y[best], where="post", color=INK, linewidth=0.9)
        axis.scatter(x[best], y[best], s=9, color=INK, linewidth=0, zorder=2)
        if _has_wide_range(x):
            _use_log_scale(axis, "x")
        if is_error and _has_wide_range(y):
            _use_log_scale(axis, "y")
        axis.margins(0.08, 0.1)
        axis.set_xlabel(unit_label)
        axis.set_ylabel(get_heading(against))
        groups = _group_overlapping(drawing, axis, np.stack([x[best], y[best]], axis=1))
        for i, group in enumerate(groups):
            middle = best[group[len(group) // 2]]
            _draw_number(axis, x[middle], y[middle], str(i + 1))
    return drawing, [table.iloc[best[group]] for group in groups]


def find_front(cost: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the points for which no other point is better in both, the cheapest first.

    >>> find_front(np.array([1.0, 2.0, 3.0, 2.5]), np.array([0.5, 0.1, 0.3, 0.05]))
    array([0, 1, 3])
    """
    front, least = [], np.inf
    for i in np.lexsort((loss, cost)):
        if loss[i] < least:
            front.append(i)
            least = loss[i]
    return np.array(front, np.int64)


def _has_wide_range(values: NDArray[np.float64]) -> bool:
    return bool(values.min() > 0 and values.max() > WIDE_RANGE * values.min())


def _draw_number(axis: Axes, x: float, y: float, number: str) -> None:
    (circle,) = axis.plot(x, y, "o", markersize=8.5, markerfacecolor=PAPER, zorder=3)
    circle.set(markeredgecolor=INK, markeredgewidth=0.8)
    axis.annotate(number, (x, y), ha="center", va="center_baseline", fontsize=6.5, zorder=4)


def _group_overlapping(drawing: Drawing, axis: Axes, xy: NDArray[np.float64]) -> list[list[int]]:
    """Returns the points in groups: each point lies close to the first point of its group."""
    drawing.figure.draw_without_rendering()
    points = axis.transData.transform(xy) * 72 / drawing.figure.dpi
    groups = [[0]]
    for i in range(1, len(xy)):
        if np.linalg.norm(points[i] - points[groups[-1][0]]) < MARK_WIDTH:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _use_log_scale(axes: Axes, which: str) -> None:
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
