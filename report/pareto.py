"""Pareto fronts: the exact cost of heads in one unit of the bill, against their error or against
following X.

N: points.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from report.drawing import INK, PAPER, STYLE, Drawing, new


def front(
    table: pd.DataFrame, unit: str, said: str, scale: float, against: str
) -> tuple[Drawing, list[pd.DataFrame]]:
    """Draws mean cost against error, or against following X, of every prior and strength, and the
    front.

    Points of the front that lie upon each other share a number; the lines of each number are
    returned too.
    """
    table = table.loc[np.isfinite(table[[unit, against]].to_numpy(float)).all(axis=1)]
    best = pareto(
        table[unit].to_numpy(float),
        table[against].to_numpy(float) * (1 if against == "validation_nll" else -1),
    )
    drawing, axes = new(2.6, 1.95)
    axis, x, y = axes[0, 0], table[unit].to_numpy(float) * scale, table[against].to_numpy(float)
    with rc_context(STYLE):
        axis.scatter(x, y, s=14, color="#9aa3ad", linewidth=0, alpha=0.8)
        axis.step(x[best], y[best], where="post", color=INK, linewidth=0.9)
        axis.scatter(x[best], y[best], s=9, color=INK, linewidth=0, zorder=2)
        if x.min() > 0 and x.max() > 20 * x.min():
            _log(axis, "x")
        if against == "validation_nll" and y.min() > 0 and y.max() > 20 * y.min():
            _log(axis, "y")
        axis.margins(0.08, 0.1)
        axis.set_xlabel(said)
        axis.set_ylabel("held-out error, nats" if against == "validation_nll" else "follows X")
        groups = _groups(drawing, axis, np.stack([x[best], y[best]], axis=1))
        for i, group in enumerate(groups):
            at = best[group[len(group) // 2]]
            axis.plot(
                x[at],
                y[at],
                "o",
                markersize=8.5,
                markerfacecolor=PAPER,
                markeredgecolor=INK,
                markeredgewidth=0.8,
                zorder=3,
            )
            axis.annotate(
                str(i + 1),
                (x[at], y[at]),
                ha="center",
                va="center_baseline",
                fontsize=6.5,
                zorder=4,
            )
    return drawing, [table.iloc[best[group]] for group in groups]


def pareto(cost_N: NDArray[np.float64], bad_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns which points no other beats in both, the cheapest first.

    >>> pareto(np.array([1.0, 2.0, 3.0, 2.5]), np.array([0.5, 0.1, 0.3, 0.05]))
    array([0, 1, 3])
    """
    kept, least = [], np.inf
    for i in np.lexsort((bad_N, cost_N)):
        if bad_N[i] < least:
            kept.append(i)
            least = bad_N[i]
    return np.array(kept, np.int64)


def _groups(drawing: Drawing, axis: Axes, xy_N2: NDArray[np.float64]) -> list[list[int]]:
    """Returns the points in groups of those that lie within a mark's width of their group's first."""
    drawing.figure.draw_without_rendering()
    places_N2, groups = axis.transData.transform(xy_N2) * 72 / drawing.figure.dpi, [[0]]
    for i in range(1, len(xy_N2)):
        near = np.linalg.norm(places_N2[i] - places_N2[groups[-1][0]]) < 10
        groups[-1].append(i) if near else groups.append([i])
    return groups


def _log(axes: Axes, which: str) -> None:
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
