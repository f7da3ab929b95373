"""The tables on the terminal: which columns they have room for, and how their cells are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from report.answer import format_mean
from report.columns import find_column, get_heading
from report.intervals import Mean
from report.lines import KINDS, format_level, format_strength
from report.settling import explain_gap, explain_unsettled, format_gap, format_settled

COLUMNS = (
    "reporter",
    "prior",
    "strength",
    "level",
    "settled",
    "median_gap",
    "prequential_bits",
    "variational_bits",
    "flops",
    "edges",
    "level_read",
    "easy_accuracy",
    "easy_auroc",
    "concept_accuracy",
    "concept_accuracy_worst",
    "follows_concept",
    "spread",
    "ranks_concept",
    "nde",
    "nie",
    "swap_concept",
    "swap_human",
    "verdicts",
)
DROPPED_FIRST = (
    "easy_auroc",
    "level_read",
    "median_gap",
    "ranks_concept",
    "spread",
    "edges",
    "swap_human",
    "swap_concept",
    "nie",
    "nde",
    "variational_bits",
    "prequential_bits",
    "flops",
    "easy_accuracy",
    "concept_accuracy_worst",
    "concept_accuracy",
    "settled",
)
"""Columns that a narrow terminal does not show, the first of them first."""
APART = (
    "reporter",
    "prior",
    "strength",
    "level",
    "heads",
    "median_gap",
    "easy_accuracy",
    "concept_accuracy",
    "concept_accuracy_worst",
    "follows_concept",
    "spread",
    "verdicts",
)
"""Columns of heads that are shown apart."""
DROPPED_APART = ("easy_accuracy", "concept_accuracy_worst", "concept_accuracy", "spread")
PLAIN = ("reporter", "prior", "strength", "level")
"""Columns that need no explanation."""
LETTERS = dict(zip(KINDS, "TIMNU", strict=True))


@dataclass(frozen=True)
class Layout:
    """How a table on the terminal is laid out."""

    columns: tuple[str, ...]
    dropped_first: tuple[str, ...]
    """Columns that a narrow terminal does not show, the first of them first."""
    format_cell: Callable[[str, pd.Series], str]
    """From a column and a line to its text."""


def choose_columns(table: pd.DataFrame, out: Console, layout: Layout) -> list[str]:
    """Returns as many of the columns as the terminal has room for; one reporter or level needs
    none.
    """
    same = [name for name in ("reporter", "level") if table[name].nunique(dropna=False) == 1]
    names = [name for name in layout.columns if name not in same]
    unlimited = out.options.update(width=1_000)
    for dropped in layout.dropped_first:
        shown = build_table(table, "", names, layout)
        if Measurement.get(out, unlimited, shown).maximum <= out.width:
            break
        names.remove(dropped)
    return names


def create_table(title: str) -> Table:
    """Returns an empty table in the look of all tables of the report."""
    return Table(
        title=Text(title),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )


def build_table(table: pd.DataFrame, title: str, names: list[str], layout: Layout) -> Table:
    """Returns some columns of lines of a comparison as a table for the terminal."""
    shown = create_table(title)
    for name in names:
        is_text = name in ("reporter", "prior", "verdicts")
        shown.add_column(get_heading(name), justify="left" if is_text else "right", no_wrap=True)
    for _, line in table.iterrows():
        shown.add_row(*(Text(layout.format_cell(name, line)) for name in names))
    return shown


def format_cell(name: str, line: pd.Series) -> str:
    """Returns one column of a line of the comparison as text."""
    if name == "strength":
        return format_strength(line["strength"])
    if name == "level":
        return format_level(line["level"])
    if name == "settled":
        return format_settled(line["settled"], line["heads"])
    if name == "median_gap":
        return format_gap(line["median_gap"])
    if name == "follows_concept":
        if not line["settled"] > 0:
            return explain_unsettled(line["settled"])
        low, high = line["follows_concept_low"], line["follows_concept_high"]
        return format_mean(Mean(line["follows_concept"], low, high, 0, 0))
    if name == "spread":
        is_known = pd.notna(line["least"])
        return f"{line['least']:.2f}–{line['most']:.2f}" if is_known else "–"
    if name == "verdicts":
        if not line["settled"] > 0:
            return explain_gap(line["median_gap"])
        return format_verdicts(line)
    value = line[name]
    return value if isinstance(value, str) else find_column(name).format(value)


def format_cell_apart(name: str, line: pd.Series) -> str:
    """Returns one column of a line of heads that are shown apart as text."""
    if name == "follows_concept":
        return f"{line['follows_concept']:.2f}"
    if name == "verdicts":
        return format_verdicts(line)
    return format_cell(name, line)


def format_verdicts(line: pd.Series) -> str:
    """Returns how many heads of a line have which verdict."""
    return " ".join(f"{line[kind]} {LETTERS[kind]}" for kind in KINDS if line[kind])


LAYOUT = Layout(COLUMNS, DROPPED_FIRST, format_cell)
APART_LAYOUT = Layout(APART, DROPPED_APART, format_cell_apart)
