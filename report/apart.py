"""Heads of lines without any settled head: their figures are shown apart, without intervals."""

from __future__ import annotations

import pandas as pd

from report.lines import GROUP, KINDS
from report.settling import compute_median_gap

AVERAGED = ("easy_accuracy", "concept_accuracy", "concept_accuracy_worst", "follows_concept")
TITLE = "Not known to have settled: shown apart, and nothing is claimed from these heads"


def build_lines_apart(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns a line for each reporter, prior, strength and level of which no head has settled:
    means over heads, and counts of the verdicts that they would have.
    """
    lines = []
    for key, group in heads.groupby([*GROUP, "level"], sort=False, dropna=False):
        if group["settled"].any():
            continue
        line = dict(zip([*GROUP, "level"], key, strict=True))
        counts = group["verdict"].value_counts()
        line |= {kind: counts.get(kind, 0) for kind in KINDS}
        line |= {name: group[name].mean() for name in AVERAGED}
        line |= {
            "heads": len(group),
            "predictors": group["predictor"].nunique(),
            "median_gap": compute_median_gap(group),
            "least": group["follows_concept"].min(),
            "most": group["follows_concept"].max(),
        }
        lines.append(line)
    return pd.DataFrame(lines)
