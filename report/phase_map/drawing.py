"""Draws a plane: a panel for each arm, in which each cell shows the shares of its verdicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from report.drawing import FAINT, INK, PAPER, RULE, STYLE
from report.lines import KINDS
from report.phase_map.planes import WINNERS, Cell, Plane, name_axis
from report.plots import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 4
"""Panels in a row."""
SIZE = 0.46
"""Inches of a cell at least."""
AROUND = 0.75
"""Inches beside and below the cells of a panel."""
NARROWEST = 5.6
"""Inches of a figure at least, for its legend."""
GAP = 0.04
"""The gap between cells, as a share of a cell."""
LINE_WIDTH = 2.2


LINE = 0.2
"""Inches of a second line of titles."""
WIDEST = 26
"""Letters of a panel's title in one line at most."""


def wrap_name(arm: str) -> str:
    r"""Returns the name of an arm with its options on a line of their own, where it is long.

    >>> wrap_name("speed (bonus 0, strength 0.125)"), wrap_name("none (adamw)")
    ('speed\n(bonus 0, strength 0.125)', 'none (adamw)')
    """
    return arm.replace(" (", "\n(", 1) if len(arm) > WIDEST else arm


def draw_plane(plane: Plane) -> Figure:
    """Returns a figure of a plane. Cells are linked to their anchors on the page."""
    rows, columns = (len(values) for values in plane.values)
    across = min(ACROSS, len(plane.arms))
    down = math.ceil(len(plane.arms) / across)
    size = max(SIZE, (NARROWEST / across - AROUND) / columns)
    title = LINE * any("\n" in wrap_name(arm) for arm in plane.arms)
    width = across * (columns * size + AROUND)
    height = down * (rows * size + AROUND + title) + AROUND
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False)
        for i, panel in enumerate(axes.flat):
            if i >= len(plane.arms):
                panel.set_visible(False)
                continue
            draw_arm(panel, plane, plane.arms[i])
        axes[-1, 0].set_xlabel(name_axis(plane.axes[1]))
        for panel in axes[:, 0]:
            panel.set_ylabel(name_axis(plane.axes[0]))
        _draw_legend(figure)
    return figure


def draw_arm(panel: Axes, plane: Plane, arm: str) -> None:
    """Draws the cells of one arm, and over them the boundary of what was predicted."""
    rows, columns = (len(values) for values in plane.values)
    for y, first in enumerate(plane.values[0]):
        for x, second in enumerate(plane.values[1]):
            cell = plane.cells.get(((first, second), arm))
            if cell is None:
                panel.text(x + 0.5, y + 0.5, "–", ha="center", va="center", color=FAINT)
            else:
                _draw_cell(panel, cell, x, y, find_anchor(plane, cell))
    for kind in WINNERS:
        _draw_boundary(panel, plane, arm, kind)
    panel.set(xlim=(0, columns), ylim=(0, rows), title=wrap_name(arm), aspect="equal")
    panel.set_xticks([x + 0.5 for x in range(columns)], plane.values[1])
    panel.set_yticks([y + 0.5 for y in range(rows)], plane.values[0])
    panel.tick_params(length=0)
    panel.spines[["left", "bottom"]].set_visible(False)


def find_anchor(plane: Plane, cell: Cell) -> str:
    """Returns the name of a cell's place on the page."""
    place = "-".join((*cell.place, cell.arm))
    return f"{plane.name}-{''.join(c if c.isalnum() or c in '.-' else '_' for c in place)}"


def _draw_cell(panel: Axes, cell: Cell, x: int, y: int, anchor: str) -> None:
    """Draws the shares of the verdicts as bands, from translators at the bottom."""
    bottom, size = y + GAP, 1 - 2 * GAP
    shares = cell.shares
    for kind in KINDS:
        height = size * shares[kind]
        band = Rectangle((x + GAP, bottom), size, height, color=COLOURS[kind], linewidth=0)
        band.set_url(f"#{anchor}")
        panel.add_patch(band)
        bottom += height
    if cell.missed:
        hatched = Rectangle((x + GAP, y + GAP), size, size, fill=False, hatch="////", linewidth=0)
        hatched.set_edgecolor(PAPER)
        panel.add_patch(hatched)


def _draw_boundary(panel: Axes, plane: Plane, arm: str, kind: str) -> None:
    """Draws the edges between cells in which a kind is predicted and their neighbours in which it
    is not.
    """
    style = "solid" if kind == "direct_translator" else "dotted"
    rows, columns = (len(values) for values in plane.values)

    def differ(place: tuple[int, int], neighbour: tuple[int, int]) -> bool:
        kinds = []
        for x, y in (place, neighbour):
            cell = None
            if x < columns and y < rows:
                cell = plane.cells.get(((plane.values[0][y], plane.values[1][x]), arm))
            if cell is None:
                return False
            kinds.append(cell.predicted == kind)
        return kinds[0] != kinds[1]

    for y in range(rows):
        for x in range(columns):
            if differ((x, y), (x + 1, y)):
                panel.plot([x + 1, x + 1], [y, y + 1], color=INK, lw=LINE_WIDTH, ls=style)
            if differ((x, y), (x, y + 1)):
                panel.plot([x, x + 1], [y + 1, y + 1], color=INK, lw=LINE_WIDTH, ls=style)


def _draw_legend(figure: Figure) -> None:
    entries: list[Patch | Line2D] = []
    for kind in KINDS:
        entries.append(Patch(color=COLOURS[kind], label=kind.replace("_", " ")))
    entries.append(Patch(facecolor=RULE, edgecolor=PAPER, hatch="////", label="optimum missed"))
    words = {"solid": "edge of predicted translators", "dotted": "edge of predicted imitators"}
    for style, label in words.items():
        entries.append(Line2D([], [], color=INK, lw=LINE_WIDTH, ls=style, label=label))
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=7.5,
    )
