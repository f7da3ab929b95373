"""Which heads stand for their prior and strength, and how strengths and levels are written."""

from __future__ import annotations

from typing import Any

import pandas as pd

from report.arms import has_no_prior
from report.columns import VERDICT_NAMES

KINDS = tuple(VERDICT_NAMES)
PLACE = ["world", "core_model", "reporter"]
GROUP = [*PLACE, "prior", "strength"]


def select_compared(
    heads: pd.DataFrame, each_level: bool = False, level: int | None = None
) -> pd.DataFrame:
    """Returns the heads that stand for their prior and strength.

    Without a prior nothing is charged at any strength: only the first strength stays, written as 0.
    Of heads that read one level, only those of one level stay, unless each_level.

    Args:
        level: the level that stays; None for the one that `find_level` finds.
    """
    is_plain = has_no_prior(heads["prior"])
    is_first = heads["strength"] == heads.groupby("run")["strength"].transform("first")
    heads = heads.assign(strength=heads["strength"].where(~is_plain, 0.0))[~is_plain | is_first]
    if each_level:
        return heads
    chosen = find_level(heads) if level is None else level
    return heads[heads["level"].isna() | (heads["level"] == chosen)]


def find_level(heads: pd.DataFrame) -> pd.Series:
    """Returns for each head the level at which heads of its reporter are compared: that of the
    prior and strength with the least mean error on held-out easy episodes, among settled heads if
    there are any.

    The error is against the human's answers: nothing is chosen on the episodes that judge.
    """
    groups = heads.groupby([*GROUP, "level"])
    error = heads["calibrated_nll"].where(heads["settled"])
    settled_error = error.groupby([heads[key] for key in (*GROUP, "level")]).transform("mean")
    errors = {"settled": settled_error, "every": groups["calibrated_nll"].transform("mean")}
    ordered = heads[[*PLACE, "level"]].assign(**errors)
    ordered = ordered.sort_values(["settled", "every"], kind="stable")
    best = ordered.groupby(PLACE)["level"].first().rename("best")
    return heads.join(best, on=PLACE)["best"]


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
