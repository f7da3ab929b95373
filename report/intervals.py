"""Means over heads and their intervals: predictors are the clusters, head seeds stand within them.

K: heads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from verdict.statistics import difference, share

LEVEL = 0.95


class Mean(NamedTuple):
    """A mean over predictors of the means over their heads, with the limits of its interval; NaN
    limits where one head says nothing of others.
    """

    value: float
    low: float
    high: float
    predictors: int
    heads: int

    @property
    def decided(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def mean(
    value_K: NDArray[np.float64 | np.bool_ | np.int64],
    predictor_K: NDArray[np.object_],
    among: int = 1,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Mean:
    """Returns the mean with the wider of two intervals at 95%, together for all means that are
    asked about.

    Student's interval of the predictors' means, with one degree of freedom less than there are
    predictors: it covers what other predictors would give, but four that happen to agree make it
    too narrow. So it is never narrower than what the heads give as if each stood alone: an exact
    interval of Clopper and Pearson for shares and for differences of shares, Student's for all
    else. One predictor leaves the second alone, which says nothing of other predictors.

    Args:
        value_K: a share's hits as bool, a difference of two as int (-1, 0, 1), any other number as
            float.
        among: how many means are asked about together; the error allowed is shared among them
            (Bonferroni).
        bounds: of what is measured: a share is 0 to 1, a difference of shares -1 to 1.
    """
    level = 1 - (1 - LEVEL) / among
    codes, names = pd.factorize(predictor_K)
    means_P = np.bincount(codes, weights=value_K.astype(float)) / np.bincount(codes)
    ends = [_heads(value_K, level)] + ([_student(means_P, level)] if len(names) > 1 else [])
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return Mean(
        float(means_P.mean()), max(low, bounds[0]), min(high, bounds[1]), len(names), len(value_K)
    )


def paired(first: pd.DataFrame, second: pd.DataFrame, column: str, among: int = 1) -> Mean | None:
    """Returns the mean difference of heads that stand in both frames: of the same predictor, seed
    and level; None where none do.

    Args:
        column: what differs; booleans are differences of shares.
    """
    keys = (
        ["predictor", "seed", "levels"]
        if {"levels"} <= set(first) & set(second) and _alike(first, second)
        else ["predictor", "seed"]
    )
    both = first[[*keys, column]].merge(second[[*keys, column]], on=keys, suffixes=("", "_2"))
    if both.empty:
        return None
    kind = np.int64 if first[column].dtype == bool else np.float64
    return mean(
        both[column].to_numpy(kind) - both[f"{column}_2"].to_numpy(kind),
        both["predictor"].to_numpy(object),
        among,
        (-1.0, 1.0),
    )


def by_prior(
    heads: pd.DataFrame, by_name: bool = True
) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Returns the heads of each reporter and prior, by name, or as they come."""
    return [
        ((str(reporter), str(prior)), group)
        for (reporter, prior), group in heads.groupby(["reporter", "prior"], sort=by_name)
    ]


def _alike(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    return bool(first["levels"].nunique() > 1) and set(first["levels"]) == set(second["levels"])


def _student(value_N: NDArray[np.float64], level: float) -> tuple[float, float]:
    n = len(value_N)
    if n < 2:
        return np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, n - 1) * value_N.std(ddof=1) / np.sqrt(n)
    return float(value_N.mean() - half), float(value_N.mean() + half)


def _heads(value_K: NDArray[np.float64 | np.bool_ | np.int64], level: float) -> tuple[float, float]:
    if value_K.dtype.kind not in "bi":
        return _student(value_K.astype(float), level)
    alone_K = np.arange(len(value_K))
    is_share = value_K.dtype.kind == "b"
    found = (
        share(value_K[None].astype(bool), alone_K, level)
        if is_share
        else difference(value_K[None].astype(np.int64), alone_K, level)
    )
    return float(found.low[0]), float(found.high[0])
