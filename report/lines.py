"""Lines of finished heads: one for each prior and strength, with intervals over predictors and
their heads.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from report.intervals import estimate_mean

KINDS = ("direct_translator", "human_imitator", "mixture", "neither", "undecided")
GROUP = ["world", "core_model", "reporter", "prior", "strength"]


def lines(heads: pd.DataFrame, each_level: bool) -> pd.DataFrame:
    """Returns one line a world, predictor, reporter, prior, strength and level, with means over the
    heads that `compared` keeps.
    """
    heads = compared(heads, each_level)
    keys = [*GROUP, "level"]
    heads = heads.assign(unpriced=heads["prior"] == "none").sort_values(
        ["unpriced", *keys], ascending=[False] + [True] * len(keys), kind="stable"
    )
    return pd.DataFrame(
        [
            _line(dict(zip(keys, key, strict=True)), group)
            for key, group in heads.groupby(keys, dropna=False, sort=False)
        ]
    )


def compared(heads: pd.DataFrame, each_level: bool) -> pd.DataFrame:
    """Returns the heads that stand for their prior and strength.

    `prior=none` charges nothing at any strength: only its first strength stays, written as 0. Of
    heads that read one level only those of the level stay, unless each_level, that err least on
    held-out easy episodes by the human's answers: nothing is chosen on what judges.
    """
    unpriced = heads["prior"] == "none"
    first = heads["strength"] == heads.groupby(["run"])["strength"].transform("first")
    heads = heads[~unpriced | first]
    heads = heads.assign(strength=heads["strength"].where(heads["prior"] != "none", 0.0))
    return (
        heads
        if each_level
        else heads[heads["level"].isna() | (heads["level"] == _best_level(heads))]
    )


def written(value: float) -> str:
    """Returns a number as people write strengths: powers of two below 1 as fractions.

    >>> written(0.015625), written(0.3), written(4.0)
    ('1/64', '0.3', '4')
    """
    below_one = (
        0 < value < 1 and (1 / value).is_integer() and (int(1 / value) & (int(1 / value) - 1)) == 0
    )
    return f"1/{round(1 / value)}" if below_one else f"{value:g}"


def _line(key: dict[str, Any], heads: pd.DataFrame) -> dict[Any, Any]:
    follows = estimate_mean(
        heads["follows_concept"].to_numpy(float),
        heads["predictor"].to_numpy(object),
        bounds=(0.0, 1.0),
    )
    means = [
        "prequential_bits",
        "variational_bits",
        "two_part_bits",
        "flops",
        "edges",
        "level_read",
        "easy_accuracy",
        "easy_auroc",
        "validation_nll",
    ]
    means += [
        "follows_concept",
        "ranks_concept",
        "nde",
        "nie",
        "swap_concept",
        "swap_human",
        "gates_passed",
    ]
    verdicts = {kind: int((heads["verdict"] == kind).sum()) for kind in KINDS}
    ends = {"least": heads["follows_concept"].min(), "most": heads["follows_concept"].max()}
    figures = heads.reindex(columns=means).astype(float).mean().to_dict() | {
        "follows_concept": follows.value
    }
    return (
        key
        | {"heads": len(heads)}
        | figures
        | {"low": follows.low, "high": follows.high}
        | ends
        | verdicts
    )


def _best_level(heads: pd.DataFrame) -> pd.Series:
    error = heads.groupby([*GROUP, "level"])["validation_nll"].transform("mean")
    best = (
        heads.assign(error=error)
        .sort_values("error", kind="stable")
        .groupby(GROUP)["level"]
        .first()
        .rename("best")
    )
    return heads.join(best, on=GROUP)["best"]
