"""A circuit as a picture: inputs on the left, one column for each level of depth, and the output on
the right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from reporters.circuits.circuit import Circuit
from reporters.circuits.wiring import depends_on

SYMBOLS = {
    1: ("NOR", "", ""),
    2: ("AND", "NOT", ""),
    4: ("AND", "", "NOT"),
    6: ("XOR", "", ""),
    7: ("NAND", "", ""),
    8: ("AND", "", ""),
    9: ("XNOR", "", ""),
    11: ("OR", "NOT", ""),
    13: ("OR", "", "NOT"),
    14: ("OR", "", ""),
}
"""For every gate: its word, and NOT for an operand that is taken as its opposite."""
COLOURS = {
    "input": "#F0F0F0",
    "AND": "#CFE5F3",
    "NAND": "#CFE5F3",
    "OR": "#FBE3CC",
    "NOR": "#FBE3CC",
    "XOR": "#D5EFE3",
    "XNOR": "#D5EFE3",
    "output": "#FFFFFF",
}
LINE = "#555555"
ACROSS, DOWN = 2.0, 0.75
"""Inches between two columns, and between two boxes of one column."""
HALF, SIDE = 0.3, 0.16
"""Half the width of a box in columns, and in rows how far from its middle an operand enters."""
SWEEPS = 12
"""How often the columns are sorted by the heights of their neighbours."""

Point = tuple[int, int]
"""A place, and a column: the place's own, or one that a line from the place passes through."""


class Edge(NamedTuple):
    """An operand of a gate."""

    source: int
    """The place of the operand."""
    gate: int
    """The place of the gate."""
    negated: bool
    """Whether the gate takes the operand as its opposite."""


class Segment(NamedTuple):
    """The part of a line between two neighbouring columns."""

    start: Point
    end: Point


def draw(circuit: Circuit, path: Path) -> None:
    """Draws a simplified circuit. A ring at the edge of a box is a NOT. A line that passes through
    a column has a free position there.
    """
    from matplotlib.figure import Figure

    passing: set[Segment] = set()
    entering: dict[Segment, bool] = {}
    for place in circuit.live:
        for edge in _find_edges(circuit, place):
            last_column = circuit.depths[edge.gate] - 1
            passing.update(_find_segments(circuit, edge.source, last_column))
            end = (edge.gate, circuit.depths[edge.gate])
            entering[Segment((edge.source, last_column), end)] = edge.negated
    boxes = {(place, circuit.depths[place]) for place in circuit.live}
    heights = _compute_heights(boxes, [*passing, *entering])
    depth, tallest = circuit.depth, max(map(abs, heights.values()), default=0.0)

    figure = Figure(figsize=(ACROSS * (depth + 2), DOWN * (2 * tallest + 1.6)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.6, depth + 1.6), ylim=(-tallest - 0.8, tallest + 0.8))
    axes.axis("off")
    for segment in passing:
        start = (_find_line_start(circuit, segment.start), heights[segment.start])
        _draw_line(axes, start, (segment.end[1], heights[segment.end]))
    for segment, negated in entering.items():
        start = (_find_line_start(circuit, segment.start), heights[segment.start])
        operands = [heights[other.start] for other in entering if other.end == segment.end]
        side = SIDE if heights[segment.start] == max(operands) else -SIDE
        middle = heights[segment.end]
        _draw_line(axes, start, (segment.end[1] - HALF, middle + side), negated)
    names = circuit.name_places()
    for place, column in sorted(boxes):
        label = _format_label(circuit, place, names[place])
        colour = COLOURS[_get_kind(circuit, place)]
        _draw_box(axes, column, heights[place, column], label, colour)
    if circuit.output is None:
        output = "output = yes" if circuit.negated else "output = no"
    else:
        output = "output"
        _draw_line(axes, (depth + HALF, 0), (depth + 1 - HALF, 0), circuit.negated)
    _draw_box(axes, depth + 1, 0, output, COLOURS["output"])
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _find_line_start(circuit: Circuit, point: Point) -> float:
    """Returns the x at which a line leaves a column: the edge of the box if the box is in this
    column.
    """
    place, column = point
    return column + HALF if column == circuit.depths[place] else column


def _find_edges(circuit: Circuit, place: int) -> list[Edge]:
    """Returns the edges into a place; an input has none."""
    if place < len(circuit.inputs):
        return []
    gate = circuit.nodes[place - len(circuit.inputs)]
    assert all(depends_on(gate.function)), "only simplified circuits can be drawn"
    _, not_a, not_b = SYMBOLS[gate.function]
    return [Edge(gate.a, place, not_a == "NOT"), Edge(gate.b, place, not_b == "NOT")]


def _find_segments(circuit: Circuit, source: int, until: int) -> list[Segment]:
    """Returns the segments of a line from its box to a column."""
    columns = range(circuit.depths[source], until)
    return [Segment((source, column), (source, column + 1)) for column in columns]


def _compute_heights(boxes: set[Point], segments: list[Segment]) -> dict[Point, float]:
    """Returns heights that keep lines short: each column is sorted by the mean height of its
    points' neighbours, and spread evenly about 0.
    """
    neighbours: dict[Point, list[Point]] = {point: [] for point in boxes}
    for start, end in sorted(segments):
        neighbours.setdefault(start, []).append(end)
        neighbours.setdefault(end, []).append(start)
    columns: dict[int, list[Point]] = {}
    for point in sorted(neighbours):
        columns.setdefault(point[1], []).append(point)
    heights: dict[Point, float] = {}
    for column in columns.values():
        heights |= {point: float(i) for i, point in enumerate(column)}

    def compute_mean_height(point: Point) -> float:
        near = neighbours[point]
        return sum(heights[neighbour] for neighbour in near) / max(len(near), 1)

    for sweep in range(SWEEPS):
        for x in sorted(columns, reverse=bool(sweep % 2)):
            column = columns[x]
            column.sort(key=compute_mean_height)
            heights |= {point: i - (len(column) - 1) / 2 for i, point in enumerate(column)}
    return heights


def _get_kind(circuit: Circuit, place: int) -> str:
    if place < len(circuit.inputs):
        return "input"
    return SYMBOLS[circuit.nodes[place - len(circuit.inputs)].function][0]


def _format_label(circuit: Circuit, place: int, name: str) -> str:
    if place < len(circuit.inputs):
        return str(circuit.inputs[place])
    return f"{name}: {_get_kind(circuit, place)}"


def _draw_box(axes: Any, x: float, y: float, text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch(
        (x - HALF, y - 0.28),
        2 * HALF,
        0.56,
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=colour,
        edgecolor=LINE,
        zorder=2,
    )
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=10, zorder=3)


def _draw_line(
    axes: Any, start: tuple[float, float], end: tuple[float, float], negated: bool = False
) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    (x0, y0), (x1, y1) = start, end
    bend = (x1 - x0) / 2
    points = [(x0, y0), (x0 + bend, y0), (x1 - bend, y1), (x1, y1)]
    curve = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=LINE, linewidth=1.2, zorder=1))
    if negated:
        ring = {"marker": "o", "markersize": 7, "markerfacecolor": "white"}
        axes.plot([x1 - 0.025], [y1], markeredgecolor=LINE, zorder=4, **ring)
