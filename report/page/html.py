"""Renders tables, sections, figures and cells as HTML."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import pandas as pd

from report.answer import format_mean
from report.drawing import FAINT, INK, PAPER, RULE
from report.intervals import Mean
from report.plots import COLOURS

Cell = str | int | float | tuple[str, float] | None
"""Content of a table's cell: text, or text and the number by which it is sorted."""
Columns = dict[str, list[Cell]]
"""The columns of a table by their headings."""
VARIABLES = {INK: "ink", FAINT: "faint", RULE: "rule", PAPER: "paper"} | {
    colour: kind for kind, colour in COLOURS.items()
}
"""Colours of figures and the variables of page.css that replace them."""


def render_table(columns: Columns, name: str, search: bool = False) -> str:
    """Returns a table. The page's script makes it sortable by any column.

    Args:
        name: the table's name for screen readers.
        search: whether the table has a field that filters its rows.
    """
    heads = "".join(_render_heading(heading, cells) for heading, cells in columns.items())
    body = "".join(_render_row(row) for row in zip(*columns.values(), strict=True))
    field = ""
    if search:
        hint = escape(f"Show only rows of {name} that contain these words")
        field = (
            '<input type="search" class="filter" placeholder="filter: any words"'
            f' aria-label="{hint}">'
        )
    table = f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    label = f'role="region" aria-label="{escape(name)}"'
    return f'{field}<div class="scroll" tabindex="0" {label}>{table}</div>'


def render_section(name: str, title: str, explanation: str, content: str) -> str:
    """Returns a section with an anchor, a title, an explanation and its content; empty where there
    is no content.
    """
    if not content:
        return ""
    heading = f'<h3>{escape(title)}</h3><p class="said">{explanation}</p>'
    return f'<section id="{name}">{heading}{content}</section>'


def render_figure(svg: str, name: str, caption: str, label: str) -> str:
    """Returns a figure in the colours of the page, light or dark.

    Args:
        name: the key of the figure's dots in the page's data.
        label: description for screen readers.
    """
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
        svg = svg.replace(colour.lower(), f"var(--{variable})")
    attributes = f'role="img" aria-label="{escape(label)}" data-dots="{name}"'
    svg = svg.replace("<svg ", f"<svg {attributes} ", 1)
    caption = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="plot">{svg}{caption}</figure>'


def format_number(value: Any, digits: int = 2) -> tuple[str, float]:
    """Returns a number as a cell; a dash where there is none.

    >>> format_number(0.125), format_number(float("nan"))[0], format_number(12345.6, 0)
    (('0.12', 0.125), '–', ('12,346', 12345.6))
    """
    if value is None or pd.isna(value):
        return "–", float("-inf")
    value = float(value)
    if not round(value, digits):
        value = abs(value)
    return f"{value:,.{digits}f}".replace("-", "−"), value


def format_interval(value: Any, low: Any, high: Any) -> tuple[str, float]:
    """Returns a number with its interval as a cell."""
    return format_mean(Mean(float(value), float(low), float(high), 0, 0)), float(value)


def allow_breaks(words: str) -> str:
    """Returns words as HTML that may break after an underscore.

    >>> allow_breaks("circuit_size")
    'circuit_<wbr>size'
    """
    return escape(words).replace("_", "_<wbr>")


def _render_heading(heading: str, cells: list[Cell]) -> str:
    is_number = bool(cells) and not isinstance(cells[0], str)
    return f'<th scope="col"{" class=n" if is_number else ""}>{escape(heading)}</th>'


def _render_row(cells: tuple[Cell, ...]) -> str:
    return f"<tr>{''.join(_render_cell(cell) for cell in cells)}</tr>"


def _render_cell(cell: Cell) -> str:
    if isinstance(cell, tuple):
        words, value = cell
        sort = f"{value:.6g}" if math.isfinite(value) else ""
        return f'<td class="n" data-v="{sort}">{escape(words)}</td>'
    if isinstance(cell, (int, float)):
        return f'<td class="n" data-v="{cell}">{cell:,}</td>'
    if not cell or " " in cell:
        return f"<td>{escape(cell or '')}</td>"
    return f'<td class="w">{escape(cell)}</td>'
