"""Ties: heads that are equally good for a prior and follow X on very different shares of episodes,
so that the prior does not choose between them.
"""

from __future__ import annotations

import pandas as pd

from report.lines import format_level, format_strength

WIDE = 0.2
"""Least range of follows X over tied heads to report it."""
TIES = ["tied", "tied_follows_low", "tied_follows_high"]
LINE = ["reporter", "prior", "strength", "level"]


def describe_ties(heads: pd.DataFrame) -> list[str]:
    """Returns a sentence for each line with settled heads in which heads are tied that follow X on
    very different shares of episodes.
    """
    if not set(TIES) <= set(heads):
        return []
    sentences = []
    for _, group in heads.groupby(LINE, dropna=False):
        searches = group.groupby(["predictor", "run"])[TIES].first()
        searches = searches.astype(float).assign(heads=group.groupby(["predictor", "run"]).size())
        is_wide = searches["tied_follows_high"] - searches["tied_follows_low"] >= WIDE
        wide = searches[(searches["tied"] > 1) & is_wide]
        if group["settled"].any() and not wide.empty:
            several = heads["reporter"].nunique() > 1
            sentences.append(_describe_line(group.iloc[0], wide, len(searches), several))
    return sentences


def _describe_line(head: pd.Series, wide: pd.DataFrame, n_searches: int, several: bool) -> str:
    """Returns the sentence of a line.

    Args:
        head: one of its heads.
        wide: a row for each search, that is a run on a predictor, with a wide tie.
        n_searches: number of all searches of the line.
        several: whether there are several reporters.
    """
    where = f"{head['prior']} ({head['reporter']})" if several else str(head["prior"])
    where += f" at strength {format_strength(head['strength'])}" if head["strength"] else ""
    where += "" if pd.isna(head["level"]) else f", level {format_level(head['level'])}"
    tied, of = _format_range(wide["tied"]), _format_range(wide["heads"])
    on = f" on {len(wide)} of {n_searches} predictors" if n_searches > 1 else ""
    on = " on each predictor" if len(wide) == n_searches > 1 else on
    low, high = wide["tied_follows_low"].min(), wide["tied_follows_high"].max()
    return (
        f"{where}: {tied} of {of} heads lie within 1 nat of the best{on}, and follow X on"
        f" {low:.2f} to {high:.2f} of disputed episodes: the prior does not choose between them."
    )


def _format_range(counts: pd.Series) -> str:
    least, most = int(counts.min()), int(counts.max())
    return f"{least}" if least == most else f"{least}–{most}"
