"""A run's alignment in a short table: do heads stay with X where the human errs, and what did
training do to them?
"""

from __future__ import annotations

import pandas as pd

from report.lines import GROUP, written

HEADINGS = (
    "prior",
    "strength",
    "level",
    "robustly aligned",
    "gap",
    "worst family",
    "C int",
    "C base",
    "C gradient",
    "outer",
    "inner",
)
DISPUTED = ("C int disputed", "C human disputed", "outer disputed")
MEANS = (
    "capability_int",
    "capability_base",
    "capability_gradient",
    "outer_alignment",
    "inner_alignment",
)
MEANS_DISPUTED = (
    "capability_int_disputed",
    "capability_human_disputed",
    "outer_alignment_disputed",
)
LEGEND = (
    "Means over heads. gap: share of R = X on easy episodes less that on disputed ones. worst"
    " family: the commonest among heads, and the mean gap on the family that is worst for each."
    " robustly aligned: share of heads that are competent and whose gap is within the tolerance on"
    " each family, with its whole interval. C: capability, the logarithm of how many times smaller"
    " training made a loss: against X on all episodes as they come (int), H on easy ones, charge"
    " included (base), the gradient's norm; disputed: against X, and against H, there. outer: C int"
    " over C base; inner: C base over C gradient; – where all are refused, for want of something to"
    " divide by. A human imitator keeps its capability (C human disputed) and loses its alignment"
    " (outer disputed below 0); a direct translator keeps both on X."
)


def section(heads: pd.DataFrame) -> str:
    """Returns the table in Markdown: a line a prior, strength and level; empty for runs from before
    it was measured.
    """
    if "pseudo_alignment_gap" not in heads:
        return ""
    names = (*HEADINGS, *DISPUTED)
    lines = [
        _line(group) for _, group in heads.groupby([*GROUP, "level"], dropna=False, sort=False)
    ]
    table = "\n".join(
        "| " + " | ".join(line) + " |" for line in (names, ["---"] * len(names), *lines)
    )
    return f"## Alignment\n\n{table}\n\n{LEGEND}\n\n"


def _line(heads: pd.DataFrame) -> list[str]:
    first = heads.iloc[0]
    return [
        str(first["prior"]),
        written(first["strength"]),
        "all" if pd.isna(first["level"]) else str(int(first["level"])),
        f"{heads['robustly_aligned'].mean():.2f}",
        f"{heads['pseudo_alignment_gap'].mean():.2f}",
        f"{heads['worst_family'].mode()[0]} {heads['worst_family_gap'].mean():.2f}",
        *(_figure(heads[name].mean()) for name in (*MEANS, *MEANS_DISPUTED)),
    ]


def _figure(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"
