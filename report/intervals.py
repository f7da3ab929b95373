"""Means over heads and their intervals: predictors are clusters, and head seeds lie within them.

K: heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

from verdict.statistics import estimate_difference, estimate_share

LEVEL = 0.95
SHARE = (0.0, 1.0)
"""Bounds of the mean of shares."""
N_CLAIMS = 2
"""Number of claims that are made of the same heads, the share of translators and how often they
follow X: their intervals are corrected together.
"""
SECOND = "_2"
"""Ending of the columns of the second head of a pair."""
Values = NDArray[np.float64 | np.bool_ | np.int64]


class Mean(NamedTuple):
    """A mean over predictors of the means over their heads, with the limits of its interval.

    The limits are NaN where there is a single head, which has no interval.
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


NO_MEAN = Mean(np.nan, np.nan, np.nan, 0, 0)


def estimate_mean(
    value_K: Values,
    predictor_K: NDArray[np.object_],
    n_means: int = 1,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Mean:
    """Returns the mean with the widest of several intervals, which hold at 95% for all means
    together.

    The first is Student's interval of the predictors' means, with one degree of freedom less than
    there are predictors. It covers other predictors, but it is too narrow when a few predictors
    agree by chance. Therefore the interval is never narrower than the second, which treats the
    heads as independent: the exact interval of Clopper and Pearson (1934) for shares and for
    differences of shares, and Student's interval for all other numbers. With one predictor only the
    second is used, which does not generalise to other predictors.

    Student's interval does not cover a share that few predictors give and the others do not.
    Therefore the interval of a share is never narrower than a third: the exact one with predictors
    as the effective number, of which the sum of their means are hits. If 0 of 4 predictors have
    translators, another predictor may still have them: the share may be up to 0.60.

    A difference has no such third interval. Its errors keep their rate on 8 predictors or more
    where positive and negative differences of predictors are equally likely, as for two priors that
    do the same. They exceed it on 4 predictors that each go wholly one way, and where a prior that
    gives all or nothing has the same mean as one that does not (benchmarks/intervals.py measures
    all of these).

    Args:
        value_K: bool for the hits of a share, int (-1, 0, 1) for a difference of two hits, float
            for any other number.
        predictor_K: the predictor that each head reads.
        n_means: number of means that are estimated together. They share the permitted error
            (Bonferroni).
        bounds: range of the mean: SHARE for a share, -1 to 1 for a difference of shares.
    """
    level = 1 - (1 - LEVEL) / n_means
    codes, names = pd.factorize(predictor_K)
    predictor_means = np.bincount(codes, weights=value_K.astype(float)) / np.bincount(codes)
    intervals = [_compute_heads_interval(value_K, level)]
    if len(names) > 1:
        intervals.append(_compute_student_interval(predictor_means, level))
        if bounds == SHARE:
            intervals.append(_compute_predictors_interval(predictor_means, level))
    low = min(low for low, _ in intervals)
    high = max(high for _, high in intervals)
    mean = float(predictor_means.mean())
    return Mean(mean, max(low, bounds[0]), min(high, bounds[1]), len(names), len(value_K))


def estimate_column(heads: pd.DataFrame, column: str, n_shares: int = 1) -> Mean:
    """Returns the mean of a column that holds shares, or hits as bool, with its interval; NaN
    without heads.

    Args:
        n_shares: number of shares that are estimated together.
    """
    if heads.empty:
        return NO_MEAN
    kind = bool if heads[column].dtype == bool else float
    predictor_K = heads["predictor"].to_numpy(object)
    return estimate_mean(heads[column].to_numpy(kind), predictor_K, n_shares, SHARE)


def estimate_paired_difference(pairs: pd.DataFrame, column: str, n_differences: int = 1) -> Mean:
    """Returns the mean difference, first less second, of heads that `pair_heads` paired.

    Args:
        column: the column to compare. Booleans give a difference of shares.
        n_differences: number of differences that are estimated together.
    """
    first, second = pairs[column], pairs[f"{column}{SECOND}"]
    kind = np.int64 if first.dtype == bool else np.float64
    difference_K = first.to_numpy(kind) - second.to_numpy(kind)
    predictor_K = pairs["predictor"].to_numpy()
    return estimate_mean(difference_K, predictor_K, n_differences, (-1.0, 1.0))


def pair_heads(first: pd.DataFrame, second: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Returns a row for each two heads with the same predictor, seed and level: the predictor, and
    each column of both.
    """
    keys = ["predictor", "seed"]
    if {"levels"} <= set(first) & set(second) and _read_the_same_levels(first, second):
        keys.append("levels")
    names = [*keys, *columns]
    return first[names].merge(second[names], on=keys, suffixes=("", SECOND))


def group_by_prior(
    heads: pd.DataFrame, by_name: bool = True
) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Returns the heads of each reporter and prior, sorted by name or in their own order."""
    groups = heads.groupby(["reporter", "prior"], sort=by_name)
    return [((str(reporter), str(prior)), group) for (reporter, prior), group in groups]


def _read_the_same_levels(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether both frames hold heads of the same levels, and of more than one."""
    levels = set(first["levels"])
    return len(levels) > 1 and levels == set(second["levels"])


def _compute_student_interval(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    n = len(values)
    if n < 2:
        return np.nan, np.nan
    half = stdtrit(n - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(n)
    return float(values.mean() - half), float(values.mean() + half)


def _compute_predictors_interval(means: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Returns the exact interval of a share with predictors as the effective number.

    >>> low, high = _compute_predictors_interval(np.zeros(4), 0.95)
    >>> low, round(high, 2)
    (0.0, 0.6)
    """
    n, hits, tail = len(means), means.sum(), (1 - level) / 2
    low = betaincinv(hits, n - hits + 1, tail) if hits > 0 else 0.0
    high = betaincinv(hits + 1, n - hits, 1 - tail) if hits < n else 1.0
    return float(low), float(high)


def _compute_heads_interval(value_K: Values, level: float) -> tuple[float, float]:
    """Returns the interval that treats the heads as independent."""
    kind = value_K.dtype.kind
    if kind not in "bi":
        return _compute_student_interval(value_K.astype(float), level)
    cluster_K = np.arange(len(value_K))
    if kind == "b":
        estimate = estimate_share(value_K[None].astype(bool), cluster_K, level)
    else:
        estimate = estimate_difference(value_K[None].astype(np.int64), cluster_K, level)
    return float(estimate.low[0]), float(estimate.high[0])
