"""The Pareto fronts of the page."""

from __future__ import annotations

from html import escape

import pandas as pd

from report.answer import format_prior
from report.columns import COSTS, find_column
from report.intervals import group_by_prior
from report.lines import format_strength
from report.page.html import render_figure, render_section
from report.pareto import draw_front

FIRST = ("prequential_bits", "flops")
"""Units whose fronts are visible at first."""


def render_fronts(lines: pd.DataFrame, anchor: str) -> str:
    """Returns the Pareto fronts of each unit of the bill, against error and against following X."""
    fronts = {}
    for unit in sorted(COSTS, key=lambda unit: unit not in FIRST):
        if unit in lines and lines[unit].nunique() > 1:
            column = find_column(unit)
            fronts[column.heading] = _render_unit(lines, unit, column.heading, column.scale)
    explanation = (
        "Each point is one prior at one strength, averaged over its heads. Numbered points form the"
        " Pareto front: no other point is both cheaper and better (left: fewer nats of error on"
        " held-out easy episodes; right: heads follow X on more of the disputed episodes). Costs"
        " are measured on the finished heads."
    )
    title = "What it costs: Pareto fronts"
    return render_section(f"{anchor}-fronts", title, explanation, _fold(fronts))


def _render_unit(lines: pd.DataFrame, unit: str, unit_label: str, scale: float) -> str:
    """Returns both fronts of one unit side by side."""
    several = lines["reporter"].nunique() > 1
    figures = ""
    for against, words in (("calibrated_nll", "error"), ("follows_concept", "following X")):
        drawing, groups = draw_front(lines, unit, unit_label, scale, against)
        items = "".join(f"<li>{escape(_describe_points(group, several))}</li>" for group in groups)
        label = f"{unit_label} against {words}"
        figures += render_figure(drawing.render_svg(), "", f"<ol>{items}</ol>", label)
    return f"<div class='pareto'><h4>{escape(unit_label)}</h4>{figures}</div>"


def _fold(fronts: dict[str, str]) -> str:
    """Returns the fronts of the first two units side by side, and the others one click away."""
    if not fronts:
        return ""
    cells, labels = list(fronts.values()), list(fronts)
    content = f'<div class="fronts">{"".join(cells[:2])}</div>'
    if len(cells) > 2:
        summary = f"The other units of the bill: {escape(', '.join(labels[2:]))}"
        others = f"<div class='fronts'>{''.join(cells[2:])}</div>"
        content += f"<details><summary>{summary}</summary>{others}</details>"
    return content


def _describe_points(group: pd.DataFrame, several: bool) -> str:
    """Returns the priors and strengths of the points that share one number."""
    points = []
    for key, lines in group_by_prior(group, by_name=False):
        strengths = [format_strength(strength) for strength in lines["strength"] if strength]
        points.append(" ".join([format_prior(*key, several), *strengths]))
    return ", ".join(points)
