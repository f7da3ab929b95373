"""Drawings with very many dots: a PNG, or an SVG in which all dots of a verdict are one short path.

N: dots.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from report.plots import COLOURS

INK, FAINT, RULE, PAPER = "#1f2328", "#6b7280", "#d0d4da", "#fefefe"
SANS = ["Helvetica Neue", "Arial", "DejaVu Sans", "sans-serif"]
STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "elk", "font.sans-serif": ["DejaVu Sans"], } | {
    "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": FAINT, "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "axes.labelsize": 8, "axes.titlesize": 9, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


@dataclass(frozen=True)
class Dots:
    """One dot a head."""

    x_N: NDArray[np.float64]
    y_N: NDArray[np.float64]
    kind_N: NDArray[np.object_]
    """Verdicts."""
    head_N: NDArray[np.int64]
    """Which head each dot is, as the page counts them."""


@dataclass
class Drawing:
    """A figure and the dots that belong on it."""

    figure: Figure
    dots: list[tuple[Axes, Dots]] = field(default_factory=list)
    radius: float = 1.6
    """Of a dot, in points."""

    def png(self, path: Path) -> None:
        """Writes the picture."""
        marks = [
            axis.scatter(
                dots.x_N,
                dots.y_N,
                s=(2 * self.radius) ** 2,
                c=[COLOURS[kind] for kind in dots.kind_N],
                linewidth=0,
                alpha=0.75,
                zorder=1.5,
            )
            for axis, dots in self.dots
            if len(dots.x_N)
        ]
        with rc_context(STYLE):
            self.figure.savefig(path, dpi=160, facecolor="white", metadata={"Software": None})
        for mark in marks:
            mark.remove()

    def svg(self) -> str:
        """Returns the SVG, its dots in paths of the classes `dots` and the verdict."""
        self.figure.set_dpi(72)
        with rc_context(STYLE), io.StringIO() as file:
            self.figure.savefig(
                file,
                format="svg",
                transparent=True,
                metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
            )
            text = _short(file.getvalue())
        paths = "".join(self._paths(i) for i in range(len(self.dots)))
        return re.sub(r"(<g>\s*)", lambda found: found.group(1) + paths, text, count=1)

    def places(self, which: int) -> NDArray[np.float64]:
        """Returns where the dots of one of its axes lie in the SVG, in its units, shape (N, 2);
        call svg() first.
        """
        axis, dots = self.dots[which]
        xy = axis.transData.transform(np.stack([dots.x_N, dots.y_N], axis=1)) * 72 / self.figure.dpi
        return np.stack([xy[:, 0], self.figure.get_figheight() * 72 - xy[:, 1]], axis=1)

    def _paths(self, which: int) -> str:
        dots, places, out = self.dots[which][1], self.places(which), []
        for kind in COLOURS:
            marks = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places[dots.kind_N == kind])
            style = f"stroke:{COLOURS[kind]};stroke-width:{2 * self.radius:.1f};stroke-linecap:round;fill:none;stroke-opacity:.75"
            out += [f'<path class="dots {kind}" d="{marks}" style="{style}"/>'] if marks else []
        return "".join(out)


def new(
    width: float, height: float, radius: float = 1.6, **grid: Any
) -> tuple[Drawing, NDArray[np.object_]]:
    """Returns a drawing of this size in inches, and its axes as a grid."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return Drawing(figure, radius=radius), figure.subplots(squeeze=False, **grid)


def _short(svg: str) -> str:
    """Returns an SVG without what only matters in a file of its own, with a tenth of a point in its
    numbers.
    """
    svg = re.sub(r"(?s)^.*?(<svg )", r"\1", svg)
    svg = re.sub(r"(?s)<metadata>.*?</metadata>|<!--.*?-->", "", svg)
    svg = re.sub(r' id="(?!p[0-9a-f]{10}|m[0-9a-f]{10})[^"]*"', "", svg)
    svg = (
        re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"|(<svg )', r"\1\2", svg, count=1)
        if "width=" in svg[:400]
        else svg
    )
    svg = re.sub(r'"[^"]*"', lambda value: re.sub(r"-?\d+\.\d{2,}", _tenth, value.group()), svg)
    return re.sub(r"\s*\n\s*", " ", svg)


def _tenth(number: re.Match[str]) -> str:
    return f"{float(number.group()):.1f}".removesuffix(".0")
