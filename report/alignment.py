"""A run's alignment in a short table: do heads stay with X where the human errs, and what does
training do to their losses?
"""

from __future__ import annotations

import pandas as pd

from report.columns import explain, find_column, format_markdown, get_heading
from report.lines import GROUP, format_level, format_strength
from report.settling import keep_settled

FIGURES = (
    "capability_int",
    "capability_base",
    "capability_gradient",
    "outer_alignment",
    "inner_alignment",
    "capability_int_disputed",
    "capability_human_disputed",
    "outer_alignment_disputed",
)
COLUMNS = (
    "prior",
    "strength",
    "level",
    "robustly_aligned",
    "pseudo_alignment_gap",
    "worst_family",
    *FIGURES,
)
LEGEND = (
    "Means over settled heads; worst family: the most frequent one, and the mean gap of each head"
    " on its own. A human imitator keeps its capability (C human disputed) and loses its alignment"
    " (outer disputed below 0); a direct translator keeps both on X."
)


def format_section(heads: pd.DataFrame) -> str:
    """Returns the table in Markdown, a line a prior, strength and level; empty for runs of earlier
    versions, which did not measure it, and where no head has settled.
    """
    if "pseudo_alignment_gap" not in heads or not heads["settled"].any():
        return ""
    groups = keep_settled(heads).groupby([*GROUP, "level"], dropna=False, sort=False)
    lines = [_format_line(group) for _, group in groups]
    table = format_markdown([get_heading(name) for name in COLUMNS], lines)
    meanings = explain(COLUMNS[COLUMNS.index("robustly_aligned") :])
    return f"## Alignment\n\n{table}\n\n{LEGEND} {meanings}\n\n"


def _format_line(heads: pd.DataFrame) -> list[str]:
    def average(name: str) -> str:
        return find_column(name).format(heads[name].mean())

    first = heads.iloc[0]
    return [
        str(first["prior"]),
        format_strength(first["strength"]),
        format_level(first["level"]),
        average("robustly_aligned"),
        average("pseudo_alignment_gap"),
        f"{heads['worst_family'].mode()[0]} {average('worst_family_gap')}",
        *(average(name) for name in FIGURES),
    ]
