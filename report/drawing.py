"""Drawings with thousands of dots: as a PNG, or as an SVG in which all dots of a verdict are one
short path.

K: heads.
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
HOLLOW_EDGE = 0.45
"""Width of the edge of a hollow dot, as a share of the dot's radius."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "elk",
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.labelsize": 8,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Dots:
    """One dot per head."""

    x_K: NDArray[np.float64]
    y_K: NDArray[np.float64]
    kind_K: NDArray[np.object_]
    """Verdicts."""
    head_K: NDArray[np.int64]
    """The number that each head has on the page."""
    is_settled_K: NDArray[np.bool_]
    """Heads that have not settled are hollow."""


@dataclass
class Drawing:
    """A figure and its dots."""

    figure: Figure
    dots: list[tuple[Axes, Dots]] = field(default_factory=list)
    radius: float = 1.6
    """Radius of a dot, in points."""

    def save_png(self, path: Path) -> None:
        """Saves the figure with its dots as a PNG."""
        marks = [self._scatter(axis, dots) for axis, dots in self.dots if len(dots.x_K)]
        with rc_context(STYLE):
            self.figure.savefig(
                path, format="png", dpi=160, facecolor="white", metadata={"Software": None}
            )
        for mark in marks:
            mark.remove()

    def render_svg(self) -> str:
        """Returns the SVG. Its dots are paths with the classes `dots` and the verdict."""
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        self.figure.set_dpi(72)
        with rc_context(STYLE), io.StringIO() as file:
            self.figure.savefig(file, format="svg", transparent=True, metadata=metadata)
            svg = _shorten_svg(file.getvalue())
        paths = "".join(self._render_dots(i) for i in range(len(self.dots)))
        return re.sub(r"(<g>\s*)", lambda match: match.group(1) + paths, svg, count=1)

    def locate_dots(self, i: int) -> NDArray[np.float64]:
        """Returns the positions of the dots of axis i in units of the SVG, shape (K, 2). Call
        render_svg() first.
        """
        axis, dots = self.dots[i]
        xy = axis.transData.transform(np.stack([dots.x_K, dots.y_K], axis=1)) * 72 / self.figure.dpi
        return np.stack([xy[:, 0], self.figure.get_figheight() * 72 - xy[:, 1]], axis=1)

    def _scatter(self, axis: Axes, dots: Dots) -> Any:
        area, colours = (2 * self.radius) ** 2, [COLOURS[kind] for kind in dots.kind_K]
        faces = np.where(dots.is_settled_K, colours, PAPER)
        edge = self.radius * HOLLOW_EDGE
        marks = axis.scatter(dots.x_K, dots.y_K, s=(area**0.5 - edge) ** 2, zorder=1.5)
        marks.set(facecolor=faces, edgecolor=colours, linewidth=edge, alpha=0.75)
        return marks

    def _render_dots(self, i: int) -> str:
        """Returns the dots of axis i as one SVG path for each verdict. Those that have not settled
        are hollow: another path lies on them, in the colour of the paper.
        """
        dots, positions = self.dots[i][1], self.locate_dots(i)
        width, inner = 2 * self.radius, 2 * self.radius * (1 - HOLLOW_EDGE)
        paths = []
        for kind, colour in COLOURS.items():
            is_kind_K = dots.kind_K == kind
            is_hollow_K = is_kind_K & ~dots.is_settled_K
            paths.append(_render_path(f"dots {kind}", positions[is_kind_K], colour, width, 0.75))
            paths.append(_render_path("holes", positions[is_hollow_K], PAPER, inner, 1))
        return "".join(paths)


def create_drawing(
    width: float, height: float, radius: float = 1.6, **grid: Any
) -> tuple[Drawing, NDArray[np.object_]]:
    """Returns an empty drawing of this size in inches, and its axes as a grid."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return Drawing(figure, radius=radius), figure.subplots(squeeze=False, **grid)


def _render_path(
    name: str, xy_K2: NDArray[np.float64], colour: str, width: float, opacity: float
) -> str:
    """Returns dots as one SVG path; empty without dots."""
    if len(xy_K2) == 0:
        return ""
    marks = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in xy_K2)
    style = (
        f"stroke:{colour};stroke-width:{width:.1f};stroke-linecap:round;fill:none;"
        f"stroke-opacity:{opacity:g}"
    )
    return f'<path class="{name}" d="{marks}" style="{style}"/>'


def _shorten_svg(svg: str) -> str:
    """Returns the SVG element without what only a separate file needs, and with its numbers
    rounded to tenths of a point.
    """
    svg = re.sub(r"(?s)^.*?(<svg )", r"\1", svg)
    svg = re.sub(r"(?s)<metadata>.*?</metadata>|<!--.*?-->", "", svg)
    svg = re.sub(r' id="(?!p[0-9a-f]{10}|m[0-9a-f]{10})[^"]*"', "", svg)
    if "width=" in svg[:400]:
        size = r'(<svg [^>]*?)width="[^"]*" height="[^"]*"|(<svg )'
        svg = re.sub(size, r"\1\2", svg, count=1)
    svg = re.sub(r'"[^"]*"', _round_numbers, svg)
    return re.sub(r"\s*\n\s*", " ", svg)


def _round_numbers(value: re.Match[str]) -> str:
    return re.sub(r"-?\d+\.\d{2,}", _round_number, value.group())


def _round_number(number: re.Match[str]) -> str:
    return f"{float(number.group()):.1f}".removesuffix(".0")
