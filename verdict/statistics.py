"""Rates and their intervals, for K heads at once; a perfect score still has an interval with a
width.

K: heads, N: episodes.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEW = 10
"""If hits or misses occur in fewer clusters than this, the data do not show how similar the
episodes of one cluster are.
"""


class Interval(NamedTuple):
    """A measured number, with the limits of its interval."""

    value: float
    low: float
    high: float


class Estimate(NamedTuple):
    """A measured number of each head, with the limits of its interval; arrays of shape (K,)."""

    value: Floats
    low: Floats
    high: Floats


def take_interval(estimate: Estimate, k: int) -> Interval:
    """Returns the k-th number of an estimate."""
    return Interval(*(float(end_K[k]) for end_K in estimate))


def select_head(result: Any, k: int) -> Any:
    """Returns the part of a result of K heads that belongs to head k.

    Arrays lose their first axis, tuples and dataclasses are rebuilt, and anything else is returned
    as it is.
    """
    if isinstance(result, np.ndarray):
        return result[k]
    if is_dataclass(result) and not isinstance(result, type):
        parts = [getattr(result, field.name) for field in fields(result)]
    elif isinstance(result, tuple):
        parts = list(result)
    else:
        return result
    return type(result)(*(select_head(part, k) for part in parts))


def estimate_share(hit_KN: Bools, cluster_N: Ints, level: float) -> Estimate:
    """Returns the share of hits, with the exact interval of Clopper and Pearson (1934) at this
    level.

    If a cluster holds several episodes, the number of episodes is divided by the design effect
    (Korn and Graubard 1998). If hits or misses occur in fewer than FEW clusters, each cluster
    counts at most once.
    """
    assert hit_KN.shape[1] > 0
    value_K = hit_KN.mean(axis=1)
    n_K = _compute_effective_size(hit_KN, value_K, cluster_N)
    return compute_exact_interval(value_K, n_K, level)


def compute_exact_interval(value_K: Floats, n_K: Floats, level: float) -> Estimate:
    """Returns shares of n episodes each, with their intervals of Clopper and Pearson."""
    hits_K = value_K * n_K
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low_K = betaincinv(hits_K, n_K - hits_K + 1, tail)
        high_K = betaincinv(hits_K + 1, n_K - hits_K, 1 - tail)
    low_K = np.where(value_K == 0, 0.0, low_K)
    high_K = np.where(value_K == 1, 1.0, high_K)
    return Estimate(value_K, low_K, high_K)


def estimate_mean_of_shares(
    hit_KN: Bools, stratum_N: Ints, cluster_N: Ints, level: float
) -> Estimate:
    """Returns the mean over strata of the share of hits in each, with the interval of Clopper and
    Pearson for the number of equally weighted episodes that would carry as much information (Korn
    and Graubard 1998).

    >>> hits, strata = np.array([[True, True, True, False]]), np.array([0, 0, 1, 1])
    >>> value, low, high = estimate_mean_of_shares(hits, strata, np.arange(4), 0.95)
    >>> value.tolist()
    [0.75]
    """
    _, stratum_N, size = np.unique(stratum_N, return_inverse=True, return_counts=True)
    weight_N = 1 / (len(size) * size[stratum_N])
    share_KS = compute_shares(hit_KN, stratum_N)
    value_K = share_KS.mean(axis=1)
    residual_KN = weight_N * (hit_KN - share_KS[:, stratum_N])
    _, cluster = np.unique(cluster_N, return_inverse=True)
    variance_K = np.square(sum_by_cluster(residual_KN, cluster)).sum(axis=1)
    most = 1 / np.square(sum_by_cluster(weight_N[None], cluster)).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        n_K = np.fmin(value_K * (1 - value_K) / variance_K, most)
    return compute_exact_interval(value_K, n_K, level)


def compute_shares(hit_KN: Bools, stratum_N: Ints) -> Floats:
    """Returns the share of hits in each stratum, shape (K, S).

    Args:
        stratum_N: numbers from 0 to S - 1, each at least once.
    """
    is_in_NS = stratum_N[:, None] == np.arange(stratum_N.max() + 1)
    return (hit_KN.astype(float) @ is_in_NS) / is_in_NS.sum(axis=0)


def estimate_worst_share(
    hit_KN: Bools, stratum_N: Ints, cluster_N: Ints, level: float
) -> tuple[Estimate, Ints]:
    """Returns the smallest share of hits in any of S strata, and the stratum of each head.

    Its low limit is the smallest of all low limits: that every share lies above a bound is shown
    only if each is (Berger 1982, "Multiparameter hypothesis testing and acceptance sampling"), and
    that needs no correction. Its high limit is the smallest of all high limits at a level that is
    corrected for the S strata.

    Args:
        stratum_N: numbers from 0 to S - 1, each at least once.
    """
    n_strata = int(stratum_N.max()) + 1
    corrected = 1 - (1 - level) / n_strata
    shares, lows, highs = [], [], []
    for stratum in range(n_strata):
        rows_N = stratum_N == stratum
        share = estimate_share(hit_KN[:, rows_N], cluster_N[rows_N], level)
        wider = estimate_share(hit_KN[:, rows_N], cluster_N[rows_N], corrected)
        shares.append(share.value)
        lows.append(share.low)
        highs.append(wider.high)
    worst = Estimate(*(np.min(values, axis=0) for values in (shares, lows, highs)))
    return worst, np.argmin(shares, axis=0)


def estimate_difference(change_KN: Ints, cluster_N: Ints, level: float) -> Estimate:
    """Returns the mean of changes that are -1, 0 or 1: the share of rises minus the share of falls.

    Each share has an exact interval at half the error rate.
    """
    half = 1 - (1 - level) / 2
    rise = estimate_share(change_KN == 1, cluster_N, half)
    fall = estimate_share(change_KN == -1, cluster_N, half)
    return Estimate(rise.value - fall.value, rise.low - fall.high, rise.high - fall.low)


def _compute_effective_size(hit_KN: Bools, value_K: Floats, cluster_N: Ints) -> Floats:
    """Returns how many independent episodes carry as much information as these: their number
    divided by the design effect, and never more than their number.
    """
    n = hit_KN.shape[1]
    _, cluster = np.unique(cluster_N, return_inverse=True)
    n_clusters = int(cluster.max()) + 1
    if n_clusters == n:
        return np.full(len(hit_KN), float(n))
    residual_sums = sum_by_cluster(hit_KN - value_K[:, None], cluster)
    variance_of_mean_K = np.square(residual_sums).sum(axis=1) / n**2
    with np.errstate(divide="ignore", invalid="ignore"):
        n_K = np.clip(value_K * (1 - value_K) / variance_of_mean_K, 1, n)
    with_hits_K = _count_clusters(hit_KN, cluster)
    with_misses_K = _count_clusters(~hit_KN, cluster)
    enough_K = np.minimum(with_hits_K, with_misses_K) >= FEW
    return np.where(enough_K, n_K, np.fmin(n_K, n_clusters))


def _count_clusters(marked_KN: Bools, cluster_N: NDArray[np.intp]) -> Floats:
    """Returns in how many clusters at least one episode is marked."""
    return (sum_by_cluster(marked_KN.astype(float), cluster_N) > 0).sum(axis=1)


def sum_by_cluster(value_KN: Floats, cluster_N: NDArray[np.intp]) -> Floats:
    """Returns the sums over the episodes of each cluster."""
    if int(cluster_N.max()) + 1 == len(cluster_N):
        return value_KN
    order_N = np.argsort(cluster_N, kind="stable")
    starts = np.flatnonzero(np.diff(cluster_N[order_N], prepend=-1))
    return np.add.reduceat(value_KN[:, order_N], starts, axis=1)
