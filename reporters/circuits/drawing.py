"""A circuit as a picture: inputs at the left, a column for every level of depth, what it says at
the right.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reporters.circuits.wiring import reads

if TYPE_CHECKING:
    from reporters.circuits.circuit import Circuit

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
"""Of every gate: its word, and which of its operands is taken as its opposite."""
COLOURS = {
    "input": "#F0F0F0",
    "AND": "#CFE5F3",
    "NAND": "#CFE5F3",
    "OR": "#FBE3CC",
    "NOR": "#FBE3CC",
    "XOR": "#D5EFE3",
    "XNOR": "#D5EFE3",
    "says": "#FFFFFF",
}
LINE = "#555555"
ACROSS, DOWN = 2.0, 0.75
"""Inches between two columns, and between two boxes of one."""
HALF, SIDE = 0.3, 0.16
"""Half the width of a box, and how far from its middle an operand enters, in columns and rows."""
SWEEPS = 12
"""How often columns are put in the order of what they are joined to."""


Point = tuple[int, int]
"""A place, and the column in which it is met: its own, or one that a line from it passes through."""


def draw(circuit: Circuit, path: Path) -> None:
    """Draws a simplified circuit; a ring at a box's edge is a NOT. A line that passes a column has
    a free spot there.
    """
    from matplotlib.figure import Figure

    ends = [edge for place in circuit.live for edge in _edges_into(circuit, place)]
    steps = {
        step
        for source, place, _ in ends
        for step in _passes(circuit, source, circuit.depths[place] - 1)
    }
    last = {
        ((source, circuit.depths[place] - 1), (place, circuit.depths[place])): negated
        for source, place, negated in ends
    }
    heights = _laid_out({(place, circuit.depths[place]) for place in circuit.live}, [*steps, *last])
    depth, tallest = circuit.depth, max(map(abs, heights.values()), default=0.0)
    figure = Figure(figsize=(ACROSS * (depth + 2), DOWN * (2 * tallest + 1.6)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.6, depth + 1.6), ylim=(-tallest - 0.8, tallest + 0.8))
    axes.axis("off")
    for (source, x), (_, beyond) in steps:
        _line(
            axes,
            (_leaves(circuit, source, x), heights[source, x]),
            (beyond, heights[source, beyond]),
        )
    for (start, end), negated in last.items():
        rivals = [heights[other] for other, to in last if to == end]
        side = SIDE if heights[start] == max(rivals) else -SIDE
        _line(
            axes,
            (_leaves(circuit, *start), heights[start]),
            (end[1] - HALF, heights[end] + side),
            negated,
        )
    names = circuit.names()
    for place in circuit.live:
        x = circuit.depths[place]
        _box(
            axes,
            x,
            heights[place, x],
            _label(circuit, place, names[place]),
            COLOURS[_kind(circuit, place)],
        )
    said = "says"
    if circuit.output is None:
        said = "says yes" if circuit.negated else "says no"
    else:
        _line(axes, (depth + HALF, 0), (depth + 1 - HALF, 0), circuit.negated)
    _box(axes, depth + 1, 0, said, COLOURS["says"])
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _leaves(circuit: Circuit, place: int, x: int) -> float:
    """Returns where a line from a place goes on from a column: at the box's edge if the box stands
    there.
    """
    return x + HALF if x == circuit.depths[place] else x


def _edges_into(circuit: Circuit, place: int) -> list[tuple[int, int, bool]]:
    """Returns, for each operand of a gate: it, the gate, and whether it is taken as its opposite."""
    if place < len(circuit.inputs):
        return []
    gate = circuit.nodes[place - len(circuit.inputs)]
    assert all(reads(gate.function)), "only simplified circuits are drawn"
    _, *negations = SYMBOLS[gate.function]
    return [
        (operand, place, word == "NOT")
        for operand, word in zip((gate.a, gate.b), negations, strict=True)
    ]


def _passes(circuit: Circuit, source: int, until: int) -> list[tuple[Point, Point]]:
    """Returns the steps of a line from its box to a column."""
    return [((source, x), (source, x + 1)) for x in range(circuit.depths[source], until)]


def _laid_out(points: set[Point], lines: list[tuple[Point, Point]]) -> dict[Point, float]:
    """Returns heights: each column in the order of what its points are joined to, spread evenly
    about 0.
    """
    joined: dict[Point, list[Point]] = {point: [] for point in points}
    for start, end in sorted(lines):
        joined.setdefault(start, []).append(end)
        joined.setdefault(end, []).append(start)
    columns: dict[int, list[Point]] = {}
    for point in sorted(joined):
        columns.setdefault(point[1], []).append(point)
    heights = {point: float(i) for column in columns.values() for i, point in enumerate(column)}
    for sweep in range(SWEEPS):
        for x in sorted(columns, reverse=bool(sweep % 2)):
            column = columns[x]
            column.sort(
                key=lambda point: (
                    sum(heights[other] for other in joined[point]) / max(len(joined[point]), 1)
                )
            )
            heights |= {point: i - (len(column) - 1) / 2 for i, point in enumerate(column)}
    return heights


def _kind(circuit: Circuit, place: int) -> str:
    return (
        "input"
        if place < len(circuit.inputs)
        else SYMBOLS[circuit.nodes[place - len(circuit.inputs)].function][0]
    )


def _label(circuit: Circuit, place: int, name: str) -> str:
    return (
        str(circuit.inputs[place])
        if place < len(circuit.inputs)
        else f"{name}: {_kind(circuit, place)}"
    )


def _box(axes: Any, x: float, y: float, text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.08"
    axes.add_patch(
        FancyBboxPatch(
            (x - HALF, y - 0.28),
            2 * HALF,
            0.56,
            boxstyle=shape,
            facecolor=colour,
            edgecolor=LINE,
            zorder=2,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=10, zorder=3)


def _line(
    axes: Any, start: tuple[float, float], end: tuple[float, float], negated: bool = False
) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    (x0, y0), (x1, y1) = start, end
    bend = (x1 - x0) / 2
    curve = Curve(
        [(x0, y0), (x0 + bend, y0), (x1 - bend, y1), (x1, y1)],
        [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4],
    )
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=LINE, linewidth=1.2, zorder=1))
    if negated:
        axes.plot(
            [x1 - 0.025],
            [y1],
            marker="o",
            markersize=7,
            markerfacecolor="white",
            markeredgecolor=LINE,
            zorder=4,
        )
