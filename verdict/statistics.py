"""Rates, rankings and their intervals, for K heads at once. Ties count half; a perfect score still
has an interval with a width.

K: heads, N: episodes.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
FEW = 10
"""Clusters with hits, or with misses, below which they do not show how alike the episodes of a
cluster are.
"""


class Estimate(NamedTuple):
    """A measured number of each head, with the limits of its interval. Every array has shape (K,)."""

    value: Floats
    low: Floats
    high: Floats


def at(found: Any, k: int) -> Any:
    """Returns what was found of head k alone, of anything found of K heads: arrays lose their first
    axis, what holds no array stays.
    """
    if isinstance(found, np.ndarray):
        return found[k]
    if is_dataclass(found) and not isinstance(found, type):
        return type(found)(*(at(getattr(found, field.name), k) for field in fields(found)))
    return type(found)(*(at(part, k) for part in found)) if isinstance(found, tuple) else found


def share(hit_KN: NDArray[np.bool_], cluster_N: NDArray[np.int64], level: float) -> Estimate:
    """Returns the share of hits, with the exact interval of Clopper and Pearson (1934) at this
    level.

    Where a cluster holds several episodes, their number is divided by the design effect (Korn and
    Graubard 1998). Where hits or misses fall in fewer than FEW clusters, too few to show how alike
    those of a cluster are, each cluster counts once at most.
    """
    n = hit_KN.shape[1]
    value_K = hit_KN.mean(axis=1)
    n_K = _effective(hit_KN, value_K, cluster_N)
    hits_K, tail = value_K * n_K, (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low_K = stats.beta.ppf(tail, hits_K, n_K - hits_K + 1)
        high_K = stats.beta.ppf(1 - tail, hits_K + 1, n_K - hits_K)
    assert n > 0
    return Estimate(
        value_K, np.where(value_K == 0, 0.0, low_K), np.where(value_K == 1, 1.0, high_K)
    )


def difference(
    change_KN: NDArray[np.int64], cluster_N: NDArray[np.int64], level: float
) -> Estimate:
    """Returns the mean of changes that are -1, 0 or 1: the share of rises less that of falls, each
    with an exact interval at half the error.
    """
    half = 1 - (1 - level) / 2
    rise, fall = share(change_KN == 1, cluster_N, half), share(change_KN == -1, cluster_N, half)
    return Estimate(rise.value - fall.value, rise.low - fall.high, rise.high - fall.low)


def auroc(
    score_KN: Floats, positive_N: NDArray[np.bool_], cluster_N: NDArray[np.int64], level: float
) -> Estimate:
    """Returns the area under the ROC curve: how often a positive scores above a negative.

    The interval is the wider of two at either end: DeLong, DeLong and Clarke-Pearson (1988) with
    clusters as in Obuchowski (1997); and method 5 of Newcombe (2006), which has a width at 0 and 1
    too, with clusters instead of episodes.
    """
    value_K, place_KN = _placements(score_KN, positive_N)
    z = stats.norm.ppf(1 - (1 - level) / 2)
    influence_KN = np.where(positive_N, 1 / positive_N.sum(), 1 / (~positive_N).sum()) * (
        place_KN - value_K[:, None]
    )
    _, cluster = np.unique(cluster_N, return_inverse=True)
    spread_K = z * np.sqrt(_by_cluster(influence_KN, cluster).var(axis=1) * (cluster.max() + 1))
    low_K, high_K = _newcombe(
        value_K, len(np.unique(cluster[positive_N])), len(np.unique(cluster[~positive_N])), z
    )
    return Estimate(
        value_K,
        np.minimum(low_K, np.maximum(value_K - spread_K, 0)),
        np.maximum(high_K, np.minimum(value_K + spread_K, 1)),
    )


def _placements(score_KN: Floats, positive_N: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Returns the AUROC, and of each episode the share of the other class that it is ranked rightly
    against.
    """
    n_positive, n_negative = int(positive_N.sum()), int((~positive_N).sum())
    rank_KN = stats.rankdata(score_KN, axis=1)
    among_KN = np.empty_like(rank_KN)
    for which_N in (positive_N, ~positive_N):
        among_KN[:, which_N] = stats.rankdata(score_KN[:, which_N], axis=1)
    below_KN = rank_KN - among_KN
    place_KN = np.where(positive_N, below_KN / n_negative, 1 - below_KN / n_positive)
    return place_KN[:, positive_N].mean(axis=1), place_KN


def _newcombe(value_K: Floats, n_positive: int, n_negative: int, z: float) -> tuple[Floats, Floats]:
    """Solves |theta - value| = z sqrt(V(theta)) on either side, V being Hanley and McNeil's (1982)
    with the mean number in its factor.
    """
    mean = (n_positive + n_negative) / 2

    def error(theta_K: Floats) -> Floats:
        inner_K = 1 + (mean - 1) * ((1 - theta_K) / (2 - theta_K) + theta_K / (1 + theta_K))
        return z * np.sqrt(theta_K * (1 - theta_K) * inner_K / (n_positive * n_negative))

    def solve(inside_K: Floats, outside_K: Floats) -> Floats:
        for _ in range(50):
            middle_K = (inside_K + outside_K) / 2
            too_far_K = np.abs(middle_K - value_K) > error(middle_K)
            inside_K, outside_K = (
                np.where(too_far_K, inside_K, middle_K),
                np.where(too_far_K, middle_K, outside_K),
            )
        return outside_K

    return solve(value_K, np.zeros_like(value_K)), solve(value_K, np.ones_like(value_K))


def _effective(hit_KN: NDArray[np.bool_], value_K: Floats, cluster_N: NDArray[np.int64]) -> Floats:
    """Returns how many independent episodes are worth as much as these: their number over the
    design effect, never more than their number.
    """
    n = hit_KN.shape[1]
    _, cluster = np.unique(cluster_N, return_inverse=True)
    n_clusters = int(cluster.max()) + 1
    if n_clusters == n:
        return np.full(len(hit_KN), float(n))
    of_mean_K = np.square(_by_cluster(hit_KN - value_K[:, None], cluster)).sum(axis=1) / n**2
    with np.errstate(divide="ignore", invalid="ignore"):
        n_K = np.clip(value_K * (1 - value_K) / of_mean_K, 1, n)
    shown_K = np.minimum(
        *(
            (_by_cluster(which_KN.astype(float), cluster) > 0).sum(axis=1)
            for which_KN in (hit_KN, ~hit_KN)
        )
    )
    return np.where(shown_K >= FEW, n_K, np.fmin(n_K, n_clusters))


def _by_cluster(value_KN: Floats, cluster_N: NDArray[np.intp]) -> Floats:
    """Returns the sums over the episodes of each cluster."""
    if int(cluster_N.max()) + 1 == len(cluster_N):
        return value_KN
    order_N = np.argsort(cluster_N, kind="stable")
    starts = np.flatnonzero(np.diff(cluster_N[order_N], prepend=-1))
    return np.add.reduceat(value_KN[:, order_N], starts, axis=1)
