"""Intervals that may be looked at after every episode: confidence sequences for bounded means, by
betting (Waudby-Smith and Ramdas 2023).

The limits cover the mean at every episode at once with the level asked for, so one may stop as soon
as one is sure. What they ask for: whatever came before, the next value has the same mean. Values
come in order of arrival; episodes of one cluster come as one value (`by_cluster`).

K: heads, N: episodes, C: clusters, P: pairs of them, B: values of a chunk, M: candidate means, W:
those still open, G: gamblers, R: heads twice, once with their values and once with one minus them.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from verdict.statistics import Estimate, Floats

CANDIDATES = 1000
"""M. Candidate means lie at sin²(πj/2M) of the range: limits are rounded outwards by at most 0.0016
of it, and by less near its ends.
"""
HORIZONS = (100, 500, 2000)
"""Values after which each gambler's bets are best. The last one's moves on with the values, so that
limits keep closing in.
"""
BOLDEST = 0.95
"""Largest part of its capital that a gambler can lose at once."""
BLOCK = 32
"""Values between two clearances of closed candidates."""


class Bets:
    """Limits of the means of K heads, for values fed in chunks, in order of arrival.

    For each candidate mean m, gamblers bet that the mean is larger: their capital, 1 at first, is
    multiplied by 1 + bet (value - m). If it is not larger, their mean capital ever reaches 2 / (1 -
    level) with a chance of at most (1 - level) / 2 (Ville 1939), so there m is closed for good.
    Likewise from above. Bets depend on earlier values only, and capital falls with m, so limits on
    the candidates cover the means between them too. Memory is 2KGM numbers, however many values
    there are. Capital too small for a number is lost for good, which can only widen limits.

    Args:
        heads: K.
        level: the chance that the limits hold at every episode at once, for each head.
        low: least value there can be.
        high: largest value there can be.

    Example:
        >>> bets = Bets(heads=1, level=0.95)
        >>> bets.take(np.ones((1, 20)))
        >>> bets.take(np.ones((1, 20)))
        >>> value, low, high = bets.estimate
        >>> bool(value[0] == 1.0), bool(0.85 < low[0] < 0.9), bool(high[0] == 1.0)
        (True, True, True)
    """

    def __init__(self, heads: int, level: float, low: float = 0.0, high: float = 1.0) -> None:
        assert heads > 0 and 0 < level < 1 and low < high
        self._low, self._high, self._heads = low, high, heads
        self._enough = 2 / (1 - level)
        self._taken = 0
        self._sum_K = np.zeros(heads)
        self._squares_K = np.zeros(heads)
        self._mean_M = np.sin(np.pi / 2 * np.arange(1, CANDIDATES) / CANDIDATES) ** 2
        self._closed_R = np.zeros(2 * heads, dtype=np.int64)
        self._capital_RGM = np.ones((2 * heads, len(HORIZONS), len(self._mean_M)))

    @property
    def estimate(self) -> Estimate:
        """The mean of all values, and the tightest limits there have been. Before the first value:
        NaN, and the whole range.
        """
        width, edge = self._high - self._low, np.concatenate([[0.0], self._mean_M])
        below_K, above_K = np.split(edge[self._closed_R], 2)
        value_K = self._sum_K / self._taken if self._taken else np.full(self._heads, np.nan)
        return Estimate(
            self._low + width * value_K, self._low + width * below_K, self._high - width * above_K
        )

    def take(self, value_KB: Floats) -> None:
        """Bets on the next values, one after another."""
        assert value_KB.ndim == 2 and len(value_KB) == self._heads, "Values need the shape (K, B)."
        assert ((value_KB >= self._low) & (value_KB <= self._high)).all(), (
            f"Values lie outside [{self._low}, {self._high}]."
        )
        unit_KB = (value_KB - self._low) / (self._high - self._low)
        bet_KGB = self._bets(unit_KB)
        with np.errstate(over="ignore"):
            for start in range(0, unit_KB.shape[1], BLOCK):
                self._play(unit_KB[:, start : start + BLOCK], bet_KGB[:, :, start : start + BLOCK])

    def _bets(self, unit_KB: Floats) -> Floats:
        """Returns each gambler's bet before each value: sqrt(2 ln(2 / (1 - level)) / (variance so
        far * horizon)).
        """
        seen_B = self._taken + np.arange(unit_KB.shape[1] + 1)
        sum_KB = _sums(self._sum_K, unit_KB)
        mean_KB = (0.5 + sum_KB) / (seen_B + 1)
        squares_KB = _sums(self._squares_K, np.square(unit_KB - mean_KB[:, 1:]))
        variance_KB = (0.25 + squares_KB) / (seen_B + 1)
        self._taken, self._sum_K, self._squares_K = (
            int(seen_B[-1]),
            sum_KB[:, -1],
            squares_KB[:, -1],
        )
        horizon_GB = np.repeat(np.array(HORIZONS, dtype=float)[:, None], unit_KB.shape[1], axis=1)
        horizon_GB[-1] = np.maximum(horizon_GB[-1], seen_B[1:])
        return np.sqrt(2 * np.log(self._enough) / (variance_KB[:, None, :-1] * horizon_GB))

    def _play(self, unit_KB: Floats, bet_KGB: Floats) -> None:
        """Moves the capital on and closes candidates, value by value: which side closes one first
        matters, and the cache holds it all.
        """
        where_RW, open_RW = self._open()
        mean_R1W = self._mean_M[where_RW][:, None]
        capital_RGW = np.where(
            open_RW[:, None], np.take_along_axis(self._capital_RGM, where_RW[:, None], axis=2), 0
        )
        most_R1W = BOLDEST / mean_R1W
        unit_BR = np.concatenate([unit_KB, 1 - unit_KB]).T
        bet_BRG = np.concatenate([bet_KGB, bet_KGB]).transpose(2, 0, 1)
        for unit_R, bet_RG in zip(unit_BR, bet_BRG, strict=True):
            gain_RGW = np.minimum(bet_RG[:, :, None], most_R1W)
            gain_RGW *= unit_R[:, None, None] - mean_R1W
            gain_RGW += 1
            capital_RGW *= gain_RGW
            self._close(where_RW, capital_RGW.sum(axis=1) >= self._enough * len(HORIZONS))
        np.put_along_axis(self._capital_RGM, where_RW[:, None], capital_RGW, axis=2)

    def _open(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Returns where the open candidates are, as many for each head as the one with most has,
        and which of these are open.
        """
        end_R = self._end()
        most = max(int((end_R - self._closed_R).max()), 1)
        where_RW = np.minimum(self._closed_R, len(self._mean_M) - most)[:, None] + np.arange(most)
        return where_RW, (where_RW >= self._closed_R[:, None]) & (where_RW < end_R[:, None])

    def _end(self) -> NDArray[np.int64]:
        """Returns where the candidates begin that the other side has closed."""
        return len(self._mean_M) - np.roll(self._closed_R, self._heads)

    def _close(self, where_RW: NDArray[np.int64], rich_RW: NDArray[np.bool_]) -> None:
        """Closes the candidates up to the last one on which enough was won, apart from those that
        the other side has closed.
        """
        upto_R = np.where(rich_RW, where_RW + 1, 0).max(axis=1)
        self._closed_R = np.maximum(self._closed_R, np.minimum(upto_R, self._end()))


def _sums(start_K: Floats, value_KB: Floats) -> Floats:
    """Returns running sums from a start, which comes first."""
    return np.cumsum(np.concatenate([start_K[:, None], value_KB], axis=1), axis=1)


def says(score_KN: Floats, concept_N: NDArray[np.bool_]) -> Floats:
    """Returns 1 where a head says X, 0 where it does not."""
    return ((score_KN > 0) == concept_N).astype(np.float64)


def changes(first_KN: Floats, second_KN: Floats) -> Floats:
    """Returns how the answer to the second twin differs from that to the first: 1 from no to yes,
    -1 from yes to no, 0 the same.
    """
    return (second_KN > 0).astype(np.float64) - (first_KN > 0)


def by_cluster(value_KN: Floats, cluster_N: NDArray[np.int64]) -> Floats:
    """Returns the mean of each cluster, (K, C), in order of the clusters' first arrival.

    Clusters then weigh alike, whatever their size: the limits are for a mean over clusters. Feed a
    cluster when all of it has arrived.

    Example:
        >>> by_cluster(np.array([[1.0, 0.0, 0.0, 1.0]]), np.array([7, 3, 7, 5]))
        array([[0.5, 0. , 1. ]])
    """
    _, first_C, cluster_N = np.unique(cluster_N, return_index=True, return_inverse=True)
    sum_CK = np.zeros((len(first_C), len(value_KN)))
    np.add.at(sum_CK, cluster_N, value_KN.T)
    return (sum_CK.T / np.bincount(cluster_N))[:, np.argsort(first_C)]


def pairs(score_KN: Floats, positive_N: NDArray[np.bool_], cluster_N: NDArray[np.int64]) -> Floats:
    """Returns one value for each two clusters that meet: how often a positive of one scores above a
    negative of the other, ties half.

    Its mean is the AUROC. An arriving cluster meets the one that has waited longest, if one of them
    holds a positive and the other a negative; otherwise it waits. So no episode is used twice;
    where each is a cluster of its own, the nth positive meets the nth negative. Values come in the
    order in which clusters meet: those of the first episodes are the first of the values, if
    clusters arrive whole.

    Example:
        >>> pairs(np.array([[3.0, 1.0, 2.0, 1.0]]), np.array([True, True, False, False]), np.arange(4))
        array([[1. , 0.5]])
    """
    assert not np.isnan(score_KN).any(), "A score is no number."
    waiting: deque[NDArray[np.intp]] = deque()
    value_PK = []
    _, first_C, cluster_N = np.unique(cluster_N, return_index=True, return_inverse=True)
    members = np.split(np.argsort(cluster_N, kind="stable"), np.cumsum(np.bincount(cluster_N))[:-1])
    for c in np.argsort(first_C):
        beaten = _beats(score_KN, positive_N, waiting[0], members[c]) if waiting else None
        if beaten is None:
            waiting.append(members[c])
        else:
            waiting.popleft()
            value_PK.append(beaten.mean(axis=1))
    return np.array(value_PK).reshape(-1, len(score_KN)).T


def _beats(
    score_KN: Floats, positive_N: NDArray[np.bool_], one: NDArray[np.intp], other: NDArray[np.intp]
) -> Floats | None:
    """Returns for every positive of one cluster and negative of the other whether it scores above,
    a half for ties; None if there is no such two.
    """
    grids = [
        np.meshgrid(a[positive_N[a]], b[~positive_N[b]]) for a, b in ((one, other), (other, one))
    ]
    up, down = (np.concatenate([grid[side].ravel() for grid in grids]) for side in (0, 1))
    return (
        (
            (score_KN[:, up] > score_KN[:, down])
            + (score_KN[:, up] >= score_KN[:, down]).astype(np.float64)
        )
        / 2
        if len(up)
        else None
    )
