"""One mode or two: whether heads that were trained alike on one predictor became two kinds of
heads, so that their mean describes neither; and whether predictors differ, so that the mean over
them describes none of them.

K: heads, B: samples, N: heads of a sample, in ascending order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc

LEAST_DISTANCE = 0.2
"""Least distance between the means of two modes, or of two predictors, as a share of episodes, to
report them.
"""
LEAST_HEADS = 8
"""Least number of heads of a predictor to look for two modes."""
MOST_HEADS = 32
"""Number of heads of a predictor that are used. Of more heads, evenly spaced ones are taken after
sorting.
"""
ERROR_RATE = 0.005
"""How often one mode is called two, and predictors that are alike are called different, at most."""
SHOWN_ERROR_RATE = 0.05
"""How often a predictor whose heads have one mode counts among those that show two, at most."""
TIED_SHARE = 0.25
"""Share of heads with exactly the same value in the distribution with one mode that is hardest to
tell from two.
"""
TABLE_SIZE, DRAWS = 1_000, 20_000
"""Numbers of simulated samples of one predictor, and of all predictors together."""

Floats = NDArray[np.float64]


class TwoModes(NamedTuple):
    """Two modes within predictors: the share of heads in the lower one, and the mean of each, over
    the predictors that show both.
    """

    lower_share: float
    lower: float
    upper: float
    n_shown: int
    """Number of predictors that show both modes."""
    n_predictors: int
    """Number of predictors with enough heads to show them."""

    def describe(self) -> str:
        """Returns in words where the modes are, and within how many predictors."""
        if self.n_predictors == 1:
            predictors = "within one predictor"
        elif self.n_shown == self.n_predictors:
            predictors = "within every predictor"
        else:
            predictors = f"within {self.n_shown} of {self.n_predictors} predictors"
        return f"two modes, {self.describe_positions()} ({predictors})"

    def describe_positions(self) -> str:
        """Returns in words how many heads are in each mode, and where it is."""
        lower = f"{self.lower_share:.0%} near {self.lower:.2f}"
        upper = f"{1 - self.lower_share:.0%} near {self.upper:.2f}"
        return f"{lower} and {upper}"


class DifferingPredictors(NamedTuple):
    """Predictors that differ: the least and the largest mean over the heads of a predictor."""

    least: float
    most: float
    n_predictors: int

    def describe(self) -> str:
        """Returns in words how far apart the means of predictors are."""
        return f"means of {self.n_predictors} predictors from {self.least:.2f} to {self.most:.2f}"


def find_two_modes(value_K: Floats, predictor_K: NDArray[np.object_]) -> TwoModes | None:
    """Returns the two modes of heads within predictors; None where one mode explains the heads.

    The dip of Hartigan and Hartigan (1985) of each predictor's heads is multiplied by the square
    root of their number, and the products are added. Two modes are reported where the sum exceeds
    that of predictors whose heads follow the distribution with one mode that gives the largest
    dips: a quarter of the heads at one end of the range, and the others flat over it (a flat
    distribution alone, the usual choice, gives smaller ones). Long tails and single stray heads
    give small dips. Where predictors lie does not matter, for only heads of the same predictor are
    compared.

    At least one predictor must show both modes: its own dip exceeds that of one mode, and the means
    of its two groups lie far enough apart. A mode with fewer than about one head in four is
    seldom found.
    """
    samples = _collect_samples(value_K, predictor_K)
    splits = [_split_samples(value_BN) for value_BN in samples]
    if not any(split.is_wide_B.any() for split in splits):
        return None
    sizes: list[int] = []
    total = 0.0
    shown = []
    for value_BN, split in zip(samples, splits, strict=True):
        n_samples, n_heads = value_BN.shape
        dip_B = np.sqrt(n_heads) * compute_dips(value_BN)
        total += dip_B.sum()
        sizes += [n_heads] * n_samples
        is_shown_B = split.is_wide_B & (dip_B > _find_bound((n_heads,), SHOWN_ERROR_RATE))
        shown.append(np.stack([split.lower_share_B, split.lower_B, split.upper_B])[:, is_shown_B])
    share_B, lower_B, upper_B = np.concatenate(shown, axis=1)
    if len(share_B) == 0 or total <= _find_bound(tuple(sorted(sizes)), ERROR_RATE):
        return None
    means = (float(share_B.mean()), float(lower_B.mean()), float(upper_B.mean()))
    return TwoModes(*means, len(share_B), len(sizes))


def find_differing_predictors(
    value_K: Floats, predictor_K: NDArray[np.object_]
) -> DifferingPredictors | None:
    """Returns how far predictors lie apart; None where chance explains the differences between
    their heads.

    The test is that of Kruskal and Wallis (1952), which compares ranks. The least and the largest
    mean must also lie far enough apart.
    """
    codes, names = pd.factorize(predictor_K)
    count_Q = np.bincount(codes)
    mean_Q = np.bincount(codes, weights=value_K) / count_Q
    least, most = float(mean_Q.min()), float(mean_Q.max())
    if not most - least >= LEAST_DISTANCE:  # also where a mean is not known
        return None
    n = len(value_K)
    rank_K = pd.Series(value_K).rank().to_numpy(float) - (n + 1) / 2
    between = np.square(np.bincount(codes, weights=rank_K)) / count_Q
    statistic = (n - 1) * between.sum() / np.square(rank_K).sum()
    if chdtrc(len(names) - 1, statistic) > ERROR_RATE:
        return None
    return DifferingPredictors(least, most, len(names))


def compute_dips(value_BN: Floats) -> Floats:
    """Returns for each sample the least distance of its empirical distribution to a distribution
    with one mode.

    The closest such distribution is convex to the left of its mode and concave to the right. If
    the mode moves to the right, the fit on the left gets worse and the fit on the right gets
    better. Therefore bisection finds the best mode.

    >>> compute_dips(np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 0.2, 0.4, 0.6]])).tolist()
    [0.25, 0.125]
    """
    value_BN = np.sort(value_BN, axis=1)
    n_samples, n = value_BN.shape
    before_BN = _count_smaller(value_BN) / n
    after_BN = 1 - _count_smaller(-value_BN[:, ::-1])[:, ::-1] / n
    mirrored = (-value_BN[:, ::-1], 1 - after_BN[:, ::-1], 1 - before_BN[:, ::-1])

    def measure_distances(mode_B: NDArray[np.int64]) -> tuple[Floats, Floats]:
        left_B = _measure_distance_to_convex(value_BN, before_BN, after_BN, mode_B)
        right_B = _measure_distance_to_convex(*mirrored, n - 1 - mode_B)
        return left_B, right_B

    low_B, high_B = np.zeros(n_samples, np.int64), np.full(n_samples, n - 1)
    while (high_B - low_B > 1).any():
        middle_B = (low_B + high_B) // 2
        left_B, right_B = measure_distances(middle_B)
        low_B = np.where(left_B < right_B, middle_B, low_B)
        high_B = np.where(left_B < right_B, high_B, middle_B)
    worst_B = np.minimum(
        np.maximum(*measure_distances(low_B)), np.maximum(*measure_distances(high_B))
    )
    return worst_B.round(12)


class _Splits(NamedTuple):
    """Samples, each divided into two groups."""

    lower_share_B: Floats
    lower_B: Floats
    upper_B: Floats

    @property
    def is_wide_B(self) -> NDArray[np.bool_]:
        """Whether the means of the groups lie far enough apart."""
        return self.upper_B - self.lower_B >= LEAST_DISTANCE


def _collect_samples(value_K: Floats, predictor_K: NDArray[np.object_]) -> list[Floats]:
    """Returns the heads of each predictor in ascending order; predictors with the same number of
    heads form one array.
    """
    codes, _ = pd.factorize(predictor_K)
    sorted_K = value_K[np.lexsort((value_K, codes))]
    count_Q = np.bincount(codes)
    start_Q = np.cumsum(count_Q) - count_Q
    used_Q = np.minimum(count_Q, MOST_HEADS)
    samples = []
    for n in np.unique(used_Q[used_Q >= LEAST_HEADS]):
        start_B, count_B = start_Q[used_Q == n, None], count_Q[used_Q == n, None]
        position_BN = ((np.arange(n) + 0.5) * count_B / n).astype(np.int64)
        samples.append(sorted_K[start_B + position_BN])
    return samples


def _split_samples(value_BN: Floats) -> _Splits:
    """Returns the two groups of each sample with the least variance within them."""
    n = value_BN.shape[1]
    n_lower = np.arange(1, n)
    lower_BN = np.cumsum(value_BN, axis=1)[:, :-1]
    upper_BN = value_BN.sum(axis=1, keepdims=True) - lower_BN
    between_BN = lower_BN**2 / n_lower + upper_BN**2 / (n - n_lower)
    between_BN[value_BN[:, 1:] == value_BN[:, :-1]] = -np.inf
    best_B1 = between_BN.argmax(axis=1)[:, None]
    size_B = best_B1[:, 0] + 1
    return _Splits(
        size_B / n,
        np.take_along_axis(lower_BN, best_B1, axis=1)[:, 0] / size_B,
        np.take_along_axis(upper_BN, best_B1, axis=1)[:, 0] / (n - size_B),
    )


@lru_cache(maxsize=4096)
def _find_bound(sizes: tuple[int, ...], error_rate: float) -> float:
    """Returns what the sum over predictors exceeds at this rate where all have one mode.

    Args:
        sizes: number of heads of each predictor.
    """
    rng = np.random.default_rng(0)
    sum_B = np.zeros(DRAWS)
    for size in sizes:
        sum_B += rng.choice(_simulate_dips(size), DRAWS)
    return float(np.quantile(sum_B, 1 - error_rate))


@lru_cache(maxsize=MOST_HEADS)
def _simulate_dips(n: int) -> Floats:
    """Returns dips times the square root of n of samples with one mode."""
    rng = np.random.default_rng(n)
    value_BN = rng.random((TABLE_SIZE, n))
    value_BN[rng.random((TABLE_SIZE, n)) < TIED_SHARE] = 1.0
    return np.sqrt(n) * compute_dips(value_BN)


def _count_smaller(value_BN: Floats) -> NDArray[np.int64]:
    """Returns how many values of the same sample are smaller than each."""
    is_first_BN = np.ones(value_BN.shape, bool)
    is_first_BN[:, 1:] = value_BN[:, 1:] != value_BN[:, :-1]
    position_BN = np.where(is_first_BN, np.arange(value_BN.shape[1]), 0)
    return np.maximum.accumulate(position_BN, axis=1)


def _measure_distance_to_convex(
    value_BN: Floats, before_BN: Floats, after_BN: Floats, mode_B: NDArray[np.int64]
) -> Floats:
    """Returns half of the largest distance between each distribution, up to its mode, and the
    largest convex function below it.

    The slope of that function after a head is the largest, over starts up to this head, of the
    least slope from the start to a later head. At the mode a distribution may jump, so the height
    there does not count.

    Args:
        before_BN, after_BN: the distribution function just before and just after each head.
    """
    index_N = np.arange(value_BN.shape[1])
    is_used_BN = index_N <= mode_B[:, None]
    run_BNN = value_BN[:, None, :] - value_BN[:, :, None]
    rise_BNN = before_BN[:, None, :] - before_BN[:, :, None]
    slope_BNN = np.full(run_BNN.shape, np.inf)
    np.divide(rise_BNN, run_BNN, out=slope_BNN, where=(run_BNN > 0) & is_used_BN[:, None, :])
    least_BNN = np.minimum.accumulate(slope_BNN[:, :, ::-1], axis=2)[:, :, -2::-1]
    is_start_NN = index_N[:, None] <= index_N[:-1]
    slope_BN = np.where(is_start_NN, least_BNN, -np.inf).max(axis=1)
    width_BN = np.diff(value_BN, axis=1)
    step_BN = np.zeros(width_BN.shape)
    np.multiply(slope_BN, width_BN, out=step_BN, where=(width_BN > 0) & is_used_BN[:, 1:])
    convex_BN = np.zeros(value_BN.shape)
    convex_BN[:, 1:] = np.cumsum(step_BN, axis=1)
    mode_value_B1 = np.take_along_axis(value_BN, mode_B[:, None], axis=1)
    distance_BN = np.where(value_BN < mode_value_B1, after_BN - convex_BN, 0.0)
    return distance_BN.max(axis=1) / 2
