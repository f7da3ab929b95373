"""Intervals that stay valid when they are read after every episode: confidence sequences for
bounded means, by betting (Waudby-Smith and Ramdas 2023).

The limits cover the mean at every episode at once, with the chosen level, so a user may stop as
soon as the result is clear. One condition must hold: whatever the earlier values are, the next
value has the same mean. Values come in order of arrival; the episodes of one cluster come as one
value (`by_cluster`).

K: heads, N: episodes, C: clusters, P: pairs of clusters, B: values of a chunk, M: candidate means,
W: candidates that are still open, G: gamblers, R: heads twice, once with their values and once with
one minus them.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from verdict.statistics import Bools, Estimate, Floats, Ints

CANDIDATES = 1000
"""Candidate means lie at sin²(πj/2M) of the range, j from 1 to M - 1, where M is this number.
Limits are rounded outwards by at most 0.0016 of the range, and by less near its ends.
"""
HORIZONS = (100, 500, 2000)
"""The number of values for which each gambler's bets are best. The last horizon grows with the
number of values, so that the limits keep shrinking.
"""
BOLDEST = 0.95
"""The largest part of its capital that a gambler can lose at once."""
BLOCK = 32
"""The number of values after which closed candidates are dropped."""


class Bets:
    """Limits of the means of K heads, for values fed in chunks, in order of arrival.

    For each candidate mean m, gamblers bet that the true mean is larger: their capital, 1 at first,
    is multiplied by 1 + bet (value - m). If the true mean is not larger, the mean capital ever
    reaches 2 / (1 - level) with a probability of at most (1 - level) / 2 (Ville 1939), so at that
    point m is closed for good. The other side works the same way. Bets depend on earlier values
    only, and the capital falls with m, so limits on the candidates cover the means between them
    too. Memory is 2KGM numbers, however many values there are. A capital that underflows to zero
    stays zero, which can only widen the limits.

    Args:
        heads: K.
        level: the probability that the limits hold at every episode at once, for each head.
        low: the least possible value.
        high: the largest possible value.

    Example:
        >>> bets = Bets(heads=1, level=0.95)
        >>> bets.take(np.ones((1, 20)))
        >>> bets.take(np.ones((1, 20)))
        >>> value, low, high = bets.estimate
        >>> bool(value[0] == 1.0), bool(0.85 < low[0] < 0.9), bool(high[0] == 1.0)
        (True, True, True)
    """

    def __init__(self, heads: int, level: float, low: float = 0.0, high: float = 1.0) -> None:
        assert heads > 0
        assert 0 < level < 1
        assert low < high
        self._heads = heads
        self._low = low
        self._high = high
        self._enough = 2 / (1 - level)
        self._n_values = 0
        self._sum_K = np.zeros(heads)
        self._squares_K = np.zeros(heads)
        angle_M = np.pi / 2 * np.arange(1, CANDIDATES) / CANDIDATES
        self._mean_M = np.sin(angle_M) ** 2
        self._closed_R = np.zeros(2 * heads, dtype=np.int64)
        self._capital_RGM = np.ones((2 * heads, len(HORIZONS), len(self._mean_M)))

    @property
    def estimate(self) -> Estimate:
        """The mean of all values, and the tightest limits so far. Before the first value: NaN, and
        the whole range.
        """
        width = self._high - self._low
        edges = np.concatenate([[0.0], self._mean_M])
        below_K, above_K = np.split(edges[self._closed_R], 2)
        value_K = np.full(self._heads, np.nan)
        if self._n_values:
            value_K = self._sum_K / self._n_values
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
        bet_KGB = self._compute_bets(unit_KB)
        with np.errstate(over="ignore"):
            for start in range(0, unit_KB.shape[1], BLOCK):
                block = slice(start, start + BLOCK)
                self._play(unit_KB[:, block], bet_KGB[:, :, block])

    def _compute_bets(self, unit_KB: Floats) -> Floats:
        """Returns each gambler's bet before each value: sqrt(2 ln(2 / (1 - level)) / (variance so
        far * horizon)).
        """
        n_B = self._n_values + np.arange(unit_KB.shape[1] + 1)
        sum_KB = _accumulate(self._sum_K, unit_KB)
        mean_KB = (0.5 + sum_KB) / (n_B + 1)
        squares_KB = _accumulate(self._squares_K, np.square(unit_KB - mean_KB[:, 1:]))
        variance_KB = (0.25 + squares_KB) / (n_B + 1)
        self._n_values = int(n_B[-1])
        self._sum_K = sum_KB[:, -1]
        self._squares_K = squares_KB[:, -1]
        horizon_G = np.array(HORIZONS, dtype=float)
        horizon_GB = np.repeat(horizon_G[:, None], unit_KB.shape[1], axis=1)
        horizon_GB[-1] = np.maximum(horizon_GB[-1], n_B[1:])
        variance_before_K1B = variance_KB[:, None, :-1]
        return np.sqrt(2 * np.log(self._enough) / (variance_before_K1B * horizon_GB))

    def _play(self, unit_KB: Floats, bet_KGB: Floats) -> None:
        """Updates the capital and closes candidates, value by value: it matters which side closes a
        candidate first. A block of values fits into the processor's cache.
        """
        index_RW, open_RW = self._find_open()
        mean_R1W = self._mean_M[index_RW][:, None]
        capital_RGW = np.take_along_axis(self._capital_RGM, index_RW[:, None], axis=2)
        capital_RGW = np.where(open_RW[:, None], capital_RGW, 0)
        largest_bet_R1W = BOLDEST / mean_R1W
        unit_BR = np.concatenate([unit_KB, 1 - unit_KB]).T
        bet_BRG = np.concatenate([bet_KGB, bet_KGB]).transpose(2, 0, 1)
        for unit_R, bet_RG in zip(unit_BR, bet_BRG, strict=True):
            gain_RGW = np.minimum(bet_RG[:, :, None], largest_bet_R1W)
            gain_RGW *= unit_R[:, None, None] - mean_R1W
            gain_RGW += 1
            capital_RGW *= gain_RGW
            self._close(index_RW, capital_RGW.sum(axis=1) >= self._enough * len(HORIZONS))
        np.put_along_axis(self._capital_RGM, index_RW[:, None], capital_RGW, axis=2)

    def _find_open(self) -> tuple[Ints, Bools]:
        """Returns the indices of open candidates, and which of the indices are open.

        Every head gets as many indices as the head with the most open candidates has.
        """
        end_R = self._find_end()
        most = max(int((end_R - self._closed_R).max()), 1)
        first_R = np.minimum(self._closed_R, len(self._mean_M) - most)
        index_RW = first_R[:, None] + np.arange(most)
        return index_RW, (index_RW >= self._closed_R[:, None]) & (index_RW < end_R[:, None])

    def _find_end(self) -> Ints:
        """Returns the index of the first candidate that the other side has closed."""
        return len(self._mean_M) - np.roll(self._closed_R, self._heads)

    def _close(self, index_RW: Ints, rich_RW: Bools) -> None:
        """Closes every candidate up to the last one on which the capital is large enough, except
        those that the other side has closed.
        """
        end_R = np.where(rich_RW, index_RW + 1, 0).max(axis=1)
        self._closed_R = np.maximum(self._closed_R, np.minimum(end_R, self._find_end()))


def _accumulate(start_K: Floats, value_KB: Floats) -> Floats:
    """Returns the running sums from a start value, which comes first."""
    terms = np.concatenate([start_K[:, None], value_KB], axis=1)
    return np.cumsum(terms, axis=1)


def match_concept(score_KN: Floats, concept_N: Bools) -> Floats:
    """Returns 1 where a head's answer is X, and 0 elsewhere."""
    return ((score_KN > 0) == concept_N).astype(np.float64)


def compute_changes(first_KN: Floats, second_KN: Floats) -> Floats:
    """Returns how the answer to the second twin differs from the answer to the first: 1 from no to
    yes, -1 from yes to no, 0 if they are the same.
    """
    return (second_KN > 0).astype(np.float64) - (first_KN > 0)


def average_by_cluster(value_KN: Floats, cluster_N: Ints) -> Floats:
    """Returns the mean of each cluster, (K, C), in the order in which the clusters first arrive.

    All clusters then have the same weight, whatever their size: the limits are for a mean over
    clusters. Pass a cluster when all of it has arrived.

    Example:
        >>> average_by_cluster(np.array([[1.0, 0.0, 0.0, 1.0]]), np.array([7, 3, 7, 5]))
        array([[0.5, 0. , 1. ]])
    """
    _, first_C, cluster_N = np.unique(cluster_N, return_index=True, return_inverse=True)
    sum_CK = np.zeros((len(first_C), len(value_KN)))
    np.add.at(sum_CK, cluster_N, value_KN.T)
    return (sum_CK.T / np.bincount(cluster_N))[:, np.argsort(first_C)]


def compare_pairs(score_KN: Floats, positive_N: Bools, cluster_N: Ints) -> Floats:
    """Returns one value for each pair of clusters: how often a positive of one scores above a
    negative of the other. Ties count half.

    The mean of the values is the AUROC. A new cluster is paired with the one that has waited
    longest, if one of them holds a positive and the other a negative; otherwise it waits. So no
    episode is used twice; if each episode is a cluster of its own, the n-th positive is paired with
    the n-th negative. Values come in the order in which the pairs are complete: if clusters arrive
    whole, the values of the first episodes are the first values of all episodes.

    Example:
        >>> positive = np.array([True, True, False, False])
        >>> compare_pairs(np.array([[3.0, 1.0, 2.0, 1.0]]), positive, np.arange(4))
        array([[1. , 0.5]])
    """
    assert not np.isnan(score_KN).any(), "A score is not a number."
    waiting: deque[NDArray[np.intp]] = deque()
    value_PK = []
    _, first_C, cluster_N = np.unique(cluster_N, return_index=True, return_inverse=True)
    ends_C = np.cumsum(np.bincount(cluster_N))
    members = np.split(np.argsort(cluster_N, kind="stable"), ends_C[:-1])
    for c in np.argsort(first_C):
        wins = _compare(score_KN, positive_N, waiting[0], members[c]) if waiting else None
        if wins is None:
            waiting.append(members[c])
        else:
            waiting.popleft()
            value_PK.append(wins.mean(axis=1))
    return np.array(value_PK).reshape(-1, len(score_KN)).T


def _compare(
    score_KN: Floats,
    positive_N: Bools,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
) -> Floats | None:
    """Returns, for every positive of one cluster and every negative of the other, whether the
    positive scores above the negative, and a half for ties. Returns None if there is no such pair.
    """
    grids = [
        np.meshgrid(first[positive_N[first]], second[~positive_N[second]]),
        np.meshgrid(second[positive_N[second]], first[~positive_N[first]]),
    ]
    up = np.concatenate([positive.ravel() for positive, _ in grids])
    down = np.concatenate([negative.ravel() for _, negative in grids])
    if not len(up):
        return None
    above_KP = score_KN[:, up] > score_KN[:, down]
    not_below_KP = score_KN[:, up] >= score_KN[:, down]
    return (above_KP + not_below_KP.astype(np.float64)) / 2
