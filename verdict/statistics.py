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


class Estimate(NamedTuple):
    """A measured number of each head, with the limits of its interval; arrays of shape (K,)."""

    value: Floats
    low: Floats
    high: Floats


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
    hits_K = value_K * n_K
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low_K = betaincinv(hits_K, n_K - hits_K + 1, tail)
        high_K = betaincinv(hits_K + 1, n_K - hits_K, 1 - tail)
    low_K = np.where(value_K == 0, 0.0, low_K)
    high_K = np.where(value_K == 1, 1.0, high_K)
    return Estimate(value_K, low_K, high_K)


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
