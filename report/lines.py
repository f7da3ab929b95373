"""Which heads stand for their prior and strength, and how strengths and levels are written."""

from __future__ import annotations

from typing import Any

import pandas as pd

from report.columns import VERDICT_NAMES

KINDS = tuple(VERDICT_NAMES)
GROUP = ["world", "core_model", "reporter", "prior", "strength"]


def select_compared(heads: pd.DataFrame, each_level: bool) -> pd.DataFrame:
    """Returns the heads that stand for their prior and strength.

    `prior=none` charges nothing at any strength: only its first strength stays, written as 0. Of
    heads that read one level, only those of the level with the least error on held-out easy
    episodes stay, unless each_level. The error is against the human's answers: nothing is chosen on
    the episodes that judge.
    """
    has_prior = heads["prior"] != "none"
    is_first = heads["strength"] == heads.groupby("run")["strength"].transform("first")
    heads = heads.assign(strength=heads["strength"].where(has_prior, 0.0))[has_prior | is_first]
    if each_level:
        return heads
    return heads[heads["level"].isna() | (heads["level"] == _find_best_level(heads))]


def format_strength(value: float) -> str:
    """Returns a strength as people write it: powers of two below 1 as fractions.

    >>> format_strength(0.015625), format_strength(0.3), format_strength(4.0)
    ('1/64', '0.3', '4')
    """
    if 0 < value < 1:
        inverse = 1 / value
        is_power_of_two = inverse.is_integer() and int(inverse).bit_count() == 1
        if is_power_of_two:
            return f"1/{int(inverse)}"
    return f"{value:g}"


def format_level(level: Any) -> str:
    """Returns a level as tables show it: a head without one may read all."""
    return "all" if pd.isna(level) else str(int(level))


def _find_best_level(heads: pd.DataFrame) -> pd.Series:
    """Returns for each head the level of least mean error under its prior and strength."""
    error = heads.groupby([*GROUP, "level"])["validation_nll"].transform("mean")
    ordered = heads.assign(error=error).sort_values("error", kind="stable")
    best = ordered.groupby(GROUP)["level"].first().rename("best")
    return heads.join(best, on=GROUP)["best"]
