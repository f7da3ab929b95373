"""Small pieces of HTML."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd

from report.answer import written
from report.drawing import FAINT, INK, PAPER, RULE
from report.intervals import Mean
from report.plots import COLOURS

Cell = str | int | float | tuple[str, float] | None
"""What a table shows: text, or text and the number that it is sorted by."""
Columns = dict[str, list[Cell]]
"""A table's columns by their headings."""


def table(columns: Columns, name: str, search: bool = False) -> str:
    """Returns a table that can be sorted by any column once its script runs.

    Args:
        name: what it is, for those who cannot see it.
        search: whether it has a field that filters its lines.
    """
    numbers = {
        heading: bool(cells) and not isinstance(cells[0], str) for heading, cells in columns.items()
    }
    heads = "".join(
        f'<th scope="col"{" class=n" if is_number else ""}>{escape(heading)}</th>'
        for heading, is_number in numbers.items()
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell) for cell in row) + "</tr>"
        for row in zip(*columns.values(), strict=True)
    )
    hint = escape(f"Show only lines of {name} that hold these words")
    field = (
        f'<input type="search" class="filter" placeholder="filter: any words" aria-label="{hint}">'
        if search
        else ""
    )
    inner = f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return (
        f'{field}<div class="scroll" tabindex="0" role="region"'
        f' aria-label="{escape(name)}">{inner}</div>'
    )


def section(name: str, title: str, said: str, inner: str) -> str:
    """Returns a section with an anchor, a title, a line that says how to read it, and what it
    shows; nothing where there is nothing.
    """
    return (
        f'<section id="{name}"><h3>{escape(title)}</h3><p class="said">{said}</p>{inner}</section>'
        if inner
        else ""
    )


def figure(svg: str, name: str, caption: str, label: str) -> str:
    """Returns a figure whose colours follow the page's, light or dark.

    Args:
        name: by which the page's data know its dots.
        label: what it shows, for those who cannot see it.
    """
    for colour, variable in [
        (INK, "ink"),
        (FAINT, "faint"),
        (RULE, "rule"),
        (PAPER, "paper"),
        *((value, kind) for kind, value in COLOURS.items()),
    ]:
        svg = svg.replace(colour, f"var(--{variable})").replace(
            colour.lower(), f"var(--{variable})"
        )
    svg = svg.replace(
        "<svg ", f'<svg role="img" aria-label="{escape(label)}" data-dots="{name}" ', 1
    )
    return (
        f'<figure class="plot">{svg}'
        + (f"<figcaption>{caption}</figcaption>" if caption else "")
        + "</figure>"
    )


def number(value: Any, digits: int = 2) -> tuple[str, float]:
    """Returns a number as a cell; a dash where there is none.

    >>> number(0.125), number(float("nan"))[0], number(12345.6, 0)
    (('0.12', 0.125), '–', ('12,346', 12345.6))
    """
    if value is None or pd.isna(value):
        return "–", float("-inf")
    value = float(value) if round(float(value), digits) else abs(float(value))
    return f"{value:,.{digits}f}".replace("-", "−"), value


def cost(value: Any) -> tuple[str, float]:
    """Returns a cost as a cell, with three figures where it is small."""
    return number(
        value,
        (
            0
            if not pd.isna(value) and abs(value) >= 100
            else 2
            if not pd.isna(value) and abs(value) < 10
            else 1
        ),
    )


def breakable(words: str) -> str:
    """Returns words as HTML that may break after an underscore.

    >>> breakable("circuit_size")
    'circuit_<wbr>size'
    """
    return escape(words).replace("_", "_<wbr>")


def between(value: Any, low: Any, high: Any) -> tuple[str, float]:
    """Returns a number with its interval as a cell."""
    return written(Mean(float(value), float(low), float(high), 0, 0)), float(value)


def _cell(cell: Cell) -> str:
    if isinstance(cell, tuple):
        sort = "" if cell[1] in (float("-inf"), float("inf")) else f"{cell[1]:.6g}"
        return f'<td class="n" data-v="{sort}">{escape(cell[0])}</td>'
    if isinstance(cell, (int, float)):
        return f'<td class="n" data-v="{cell}">{cell:,}</td>'
    return (
        f"<td>{escape(cell or '')}</td>"
        if not cell or " " in cell
        else f'<td class="w">{escape(cell)}</td>'
    )
