"""Compare finished heads: a line for each prior and strength, with intervals over seeds of heads and of predictors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KINDS = ("direct_translator", "human_imitator", "mixture", "neither", "undecided")
GROUP = ["world", "core_model", "reporter", "prior", "strength"]
RESAMPLES = 2_000


def lines(heads: pd.DataFrame, each_level: bool) -> pd.DataFrame:
    """Returns one line a world, predictor, reporter, prior, strength and level, with means over the heads that `compared` keeps."""
    heads = compared(heads, each_level)
    keys = [*GROUP, "level"]
    heads = heads.assign(unpriced=heads["prior"] == "none").sort_values(["unpriced", *keys], ascending=[False] + [True] * len(keys), kind="stable")
    return pd.DataFrame([_line(dict(zip(keys, key, strict=True)), group) for key, group in heads.groupby(keys, dropna=False, sort=False)])


def compared(heads: pd.DataFrame, each_level: bool) -> pd.DataFrame:
    """Returns the heads that stand for their prior and strength.

    `prior=none` charges nothing at any strength: only its first strength stays, written as 0. Of heads that read one level only those of the level
    stay, unless each_level, that err least on held-out easy episodes by the human's answers: nothing is chosen on what judges.
    """
    unpriced = heads["prior"] == "none"
    first = heads["strength"] == heads.groupby(["run"])["strength"].transform("first")
    heads = heads[~unpriced | first]
    heads = heads.assign(strength=heads["strength"].where(heads["prior"] != "none", 0.0))
    return heads if each_level else heads[heads["level"].isna() | (heads["level"] == _best_level(heads))]


def finding(table: pd.DataFrame, heads: pd.DataFrame) -> str:
    """Returns in words what the lines show, and how far it reaches."""
    counts = ", ".join(f"{(heads['verdict'] == kind).sum()} {kind}" for kind in KINDS)
    words = [f"{len(heads)} heads judged: {counts}."]
    if table["level"].nunique() > 1:
        best = table.sort_values("validation_nll", kind="stable").iloc[0]
        said = f"easy AUROC {best['easy_auroc']:.3f}, AUROC for X on disputed ones {best['ranks_concept']:.3f}"
        words.append(f"Held-out easy episodes choose level {best['level']}: {said}.")
    able = table[table["gates_passed"] >= 0.5]
    if able.empty:
        return " ".join([*words, "No prior and strength has half of its heads past the gates: nothing is claimed of whom they follow."])
    able = able.sort_values("follows_concept", kind="stable")
    high, low = able.iloc[-1], able.iloc[0]
    if len(able) == 1:
        words.append(f"On disputed episodes heads follow the concept in {_follow(high)} of cases.")
    else:
        apart = high["low"] > low["high"]
        words.append(f"On disputed episodes heads follow the concept most under {_name(high)}, in {_follow(high)} of cases,")
        words.append(f"and least under {_name(low)}, in {_follow(low)}" + ("." if apart else "; the intervals overlap, so this order may be chance."))
    predictors = heads["predictor"].nunique()
    words.append("One predictor: this says nothing of others." if predictors == 1 else f"Intervals are over {predictors} predictors and their heads.")
    return " ".join(words)


def interval(value_K: NDArray[np.float64], predictor_K: NDArray[np.object_]) -> tuple[float, float]:
    """Returns a 95% bootstrap interval of the mean: predictors are resampled, and heads within them, every predictor counting the same;
    with one predictor, heads alone.
    """
    chance = np.random.default_rng(0)
    groups = [value_K[predictor_K == name] for name in np.unique(predictor_K)]
    means = np.stack([group[chance.integers(0, len(group), (RESAMPLES, len(group)))].mean(axis=1) for group in groups], axis=1)
    picked = np.take_along_axis(means, chance.integers(0, len(groups), (RESAMPLES, len(groups))), axis=1)
    low, high = np.quantile(picked.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def written(value: float) -> str:
    """Returns a number as people write strengths: powers of two below 1 as fractions.

    >>> written(0.015625), written(0.3), written(4.0)
    ('1/64', '0.3', '4')
    """
    below_one = 0 < value < 1 and (1 / value).is_integer() and (int(1 / value) & (int(1 / value) - 1)) == 0
    return f"1/{round(1 / value)}" if below_one else f"{value:g}"


def _line(key: dict[str, Any], heads: pd.DataFrame) -> dict[Any, Any]:
    low, high = interval(heads["follows_concept"].to_numpy(float), heads["predictor"].to_numpy(object))
    means = ["prequential_bits", "variational_bits", "two_part_bits", "flops", "edges", "level_read", "easy_accuracy", "easy_auroc", "validation_nll"]
    means += ["follows_concept", "ranks_concept", "nde", "nie", "swap_concept", "swap_human", "gates_passed"]
    verdicts = {kind: int((heads["verdict"] == kind).sum()) for kind in KINDS}
    ends = {"least": heads["follows_concept"].min(), "most": heads["follows_concept"].max()}
    return key | {"heads": len(heads)} | heads.reindex(columns=means).astype(float).mean().to_dict() | {"low": low, "high": high} | ends | verdicts


def _best_level(heads: pd.DataFrame) -> pd.Series:
    error = heads.groupby([*GROUP, "level"])["validation_nll"].transform("mean")
    best = heads.assign(error=error).sort_values("error", kind="stable").groupby(GROUP)["level"].first().rename("best")
    return heads.join(best, on=GROUP)["best"]


def _name(line: pd.Series) -> str:
    where = "" if pd.isna(line["level"]) else f", level {int(line['level'])}"
    at = "no prior" if line["prior"] == "none" else f"{line['prior']} at strength {written(line['strength'])}"
    return f"{at} ({line['reporter']}{where})"


def _follow(line: pd.Series) -> str:
    return f"{line['follows_concept']:.2f} [{line['low']:.2f}, {line['high']:.2f}]"
