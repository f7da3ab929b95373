"""Heads that have settled and heads that have not: claims are made of settled heads alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

SAME_OBJECTIVE = ("predictor", "reporter", "strength", "levels")
"""Columns that are equal for heads of the same objective, beside their prior."""
FEW = 0.5
"""Share of settled heads below which a report names the cure."""
CURE = (
    "To settle more: more starts (seeds=N), or, of heads that an optimizer trains by steps, longer"
    " training (training.epochs=N)."
)
APART = 0.1
"""Nats by which a head may be worse than the best of the same objective, for it to have settled:
as in training/settling.py, which reports do not import because it needs torch.
"""
LEAST_GAP = 0.001
"""Gap in nats below which no digits are shown."""


def add_settled(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns heads with plain flags: `settled`, and `settled_known`, whether the run measured it.

    Runs of earlier versions stopped heads early and did not measure it: their heads count as not
    settled.
    """
    if "settled_known" in heads:
        return heads
    measured = heads.reindex(columns=["settled", "gap"])
    settled = measured["settled"].astype("boolean")
    return heads.assign(
        settled=settled.fillna(False).to_numpy(bool),
        settled_known=settled.notna().to_numpy(bool),
        gap=measured["gap"].to_numpy(float),
    )


def compare_across_arms(heads: pd.DataFrame, objectives: pd.Series) -> pd.DataFrame:
    """Returns heads with `gap` and `settled` as all arms of the same objective show them.

    A run compares its own restarts. Another arm, which started with another bonus or took other
    steps, may have found heads that pay less: then those of this run have missed the optimum.

    Args:
        objectives: what each head was charged, in words that are equal where the charge is. Heads
            are compared if their predictor, reporter, strength and levels are equal too.
    """
    if "objective" not in heads:
        return heads
    keys = [objectives, *(heads[name] for name in SAME_OBJECTIVE)]
    missed = heads["objective"] - heads["objective"].groupby(keys).transform("min")
    has_missed = missed > heads["gap"]
    return heads.assign(
        gap=heads["gap"].where(~has_missed, missed),
        settled=heads["settled"].astype("boolean") & ~(missed > APART),
    )


def keep_settled(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns the heads that have settled."""
    return heads[heads["settled"]]


def format_gap(gap: float) -> str:
    """Returns a gap in nats of the whole training set with two figures.

    >>> [format_gap(gap) for gap in (0.0000001, 0.0123, 4.56, 123.4, float("nan"))]
    ['<0.001', '0.012', '4.6', '123', '–']
    """
    if pd.isna(gap):
        return "–"
    if gap < LEAST_GAP:
        return f"<{LEAST_GAP}"
    return f"{gap:,.0f}" if gap >= 10 else f"{gap:.2g}"


def compute_median_gap(heads: pd.DataFrame) -> float:
    """Returns the median gap of heads in nats; NaN where none is known."""
    gap = heads["gap"].dropna()
    return float(gap.median()) if len(gap) else np.nan


def compute_settled_share(heads: pd.DataFrame) -> float:
    """Returns the share of heads that have settled; NaN where it was not measured."""
    return float(heads["settled"].mean()) if heads["settled_known"].any() else np.nan


def format_settled(share: float, n: int) -> str:
    """Returns how many of n heads have settled.

    >>> format_settled(31 / 32, 32), format_settled(float("nan"), 32)
    ('31 of 32', 'not known')
    """
    return "not known" if pd.isna(share) else f"{round(share * n):,} of {n:,}"


def explain_unsettled(share: float) -> str:
    """Returns why nothing is claimed of a line of heads, in two words.

    Args:
        share: of its heads that have settled: 0, or NaN where that was not measured.

    >>> explain_unsettled(0.0), explain_unsettled(float("nan"))
    ('not settled', 'stopped early')
    """
    return "stopped early" if pd.isna(share) else "not settled"


def explain_gap(gap: float) -> str:
    """Returns the gap of a line of heads with its unit.

    >>> explain_gap(12.3), explain_gap(float("nan"))
    ('N·gap 12 nats', '–')
    """
    return "–" if pd.isna(gap) else f"N·gap {format_gap(gap)} nats"


def count_with_settled(groups: Iterable[pd.DataFrame]) -> int:
    """Returns how many of these groups hold settled heads."""
    return sum(bool(group["settled"].any()) for group in groups)


def count_settled(heads: pd.DataFrame) -> str:
    """Returns how many heads have settled, as "31 of 32"."""
    return format_settled(compute_settled_share(heads), len(heads))


def describe_unsettled(heads: pd.DataFrame) -> str:
    """Returns why nothing is claimed of heads of which none has settled, in few words."""
    reason, gap = explain_unsettled(compute_settled_share(heads)), compute_median_gap(heads)
    return reason if np.isnan(gap) else f"{reason}: {explain_gap(gap)}"


def describe_settled(heads: pd.DataFrame) -> str:
    """Returns in one line how many heads have settled, with the cure where few have."""
    known, n_old = heads[heads["settled_known"]], int((~heads["settled_known"]).sum())
    sentences = []
    if len(known):
        sentences.append(_describe_known(known))
    if n_old:
        sentences.append(
            f"{_count_judged(n_old)} by an earlier version, which stopped training early: how far"
            " they are from their optimum is not known, and nothing is claimed from them. To settle"
            " them, train again."
        )
    return " ".join(sentences)


def _describe_known(heads: pd.DataFrame) -> str:
    n, n_settled = len(heads), int(heads["settled"].sum())
    if n_settled == n:
        return f"All of {_count_judged(n)} have settled."
    gap = compute_median_gap(heads[~heads["settled"]])
    whose = "of the others" if n_settled else "of all"
    gap_words = "" if np.isnan(gap) else f" (median N·gap {whose}: {format_gap(gap)} nats)"
    sentence = f"{n_settled:,} of {_count_judged(n)} have settled{gap_words}"
    if n_settled:
        sentence = f"{sentence}; claims are of settled heads."
    else:
        sentence = f"{sentence}: nothing is claimed from them."
    return f"{sentence} {CURE}" if n_settled < FEW * n else sentence


def _count_judged(n: int) -> str:
    return "1 head judged" if n == 1 else f"{n:,} heads judged"
