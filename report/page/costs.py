"""The page's Pareto fronts."""

from __future__ import annotations

from html import escape

import pandas as pd

from report.answer import name
from report.columns import UNITS
from report.intervals import by_prior
from report.lines import written
from report.page.html import figure, section
from report.pareto import front

FIRST = ("prequential_bits", "flops")
"""Units whose fronts are shown unfolded."""


def fronts(lines: pd.DataFrame, place: str) -> str:
    """Returns the Pareto fronts of each unit of the bill, against error and against following X."""
    cells, several = [], lines["reporter"].nunique() > 1
    for unit in sorted(UNITS, key=lambda unit: unit not in FIRST):
        said, scale = UNITS[unit]
        if unit not in lines or lines[unit].nunique() < 2:
            continue
        both = []
        for against, words in (("validation_nll", "error"), ("follows_concept", "following X")):
            drawing, best = front(lines, unit, said, scale, against)
            named = "".join(f"<li>{escape(_points(group, several))}</li>" for group in best)
            both.append(figure(drawing.svg(), "", f"<ol>{named}</ol>", f"{said} against {words}"))
        cells.append((said, f"<div class='pareto'><h4>{escape(said)}</h4>{''.join(both)}</div>"))
    how = (
        "Each point is a prior at a strength, mean over its heads. Numbered: no other is both"
        " cheaper and better (left: fewer nats of error on held-out easy episodes; right: follows X"
        " on more of the disputed ones). Costs are those of the finished heads."
    )
    return section(f"{place}-fronts", "What it costs: Pareto fronts", how, _unfolding(cells))


def _unfolding(cells: list[tuple[str, str]]) -> str:
    """Returns the first units side by side, and the others one click away."""
    first, others = "".join(cell for _, cell in cells[:2]), cells[2:]
    names, inner = (
        escape(", ".join(said for said, _ in others)),
        "".join(cell for _, cell in others),
    )
    more = (
        f"<details><summary>The other units of the bill: {names}</summary><div"
        f" class='fronts'>{inner}</div></details>"
    )
    return (f'<div class="fronts">{first}</div>' if first else "") + (more if others else "")


def _points(group: pd.DataFrame, several: bool) -> str:
    """Returns the points of one number in words."""
    lines = [
        (name(*key, several), " ".join(written(value) for value in points["strength"] if value))
        for key, points in by_prior(group, by_name=False)
    ]
    return ", ".join(f"{words} {strengths}".strip() for words, strengths in lines)
