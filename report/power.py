"""How many predictors a comparison of arms needs to detect a difference.

A difference is detected if the interval that report/intervals.py gives it excludes 0. Predictors
are the sample: each gives the mean difference of its paired heads. The means are taken as normal,
except for shares of translators. Where one predictor in five goes far against a difference of 0.2
and the others do not, a planned power of 0.80 is one of 0.72 to 0.80.

R: simulated sweeps, Q: predictors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, stdtrit

from report.intervals import LEVEL, SECOND, SHARE, estimate_mean
from verdict.statistics import compute_exact_interval

LEAST_PREDICTORS = 3
"""Number of predictors below which nothing is said of how much they differ."""
MOST_PREDICTORS = 1_000
"""Number of predictors above which none is named."""
SWEEPS = 2_000
"""Number of simulated sweeps by which the power of differences of shares is measured."""
NODES = 48
"""Number of quantiles that stand for a variance that is not known in advance."""
PRECISION = 0.005
"""Precision of the smallest difference that is detected."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """How much predictors, and the heads of one predictor, differ in the difference of two arms."""

    predictors: int
    heads: int
    """Median number of pairs of heads a predictor."""
    sd: float
    """Standard deviation over predictors of their mean differences."""
    low: float
    high: float
    """Limits of its 95% interval."""
    within: float
    """Standard deviation of the differences of one predictor's pairs of heads."""
    is_share: bool
    """Whether the difference of two heads is -1, 0 or 1."""
    similarity: float
    """Intraclass correlation of the differences of one predictor's pairs of heads: 1 if all are the
    same, 0 if they are independent.
    """

    @property
    def is_known(self) -> bool:
        """Whether predictors differ at all. If none does in a number, its standard deviation
        elsewhere is not known: mostly all heads of both arms are at 0 or at 1.
        """
        return self.is_share or self.sd > 1e-9

    def assume_high(self) -> Spread:
        """Returns the spread with the upper limit of its interval as standard deviation."""
        return replace(self, sd=self.high)


def estimate_spread(pairs: pd.DataFrame, column: str) -> Spread:
    """Returns how much predictors differ in the difference of heads that `pair_heads` paired.

    The interval of the standard deviation is that of normal differences, by the law of chi-squared.
    Differences of shares are not normal: their upper limit is never below the root of that of their
    mean square, by the exact interval with predictors as the number of trials. If 0 of 4 predictors
    differ, another may: the standard deviation may be up to 0.78.
    """
    first, second = pairs[column], pairs[f"{column}{SECOND}"]
    is_share = first.dtype == bool
    difference = first.astype(float) - second.astype(float)
    by_predictor = difference.groupby(pairs["predictor"].to_numpy())
    mean_Q = np.asarray(by_predictor.mean(), dtype=np.float64)
    n_heads = max(round(by_predictor.size().median()), 1)
    sd = float(mean_Q.std(ddof=1)) if len(mean_Q) > 1 else np.nan
    low, high = compute_sd_interval(sd, len(mean_Q))
    if is_share:
        square = estimate_mean(mean_Q**2, np.arange(len(mean_Q)).astype(object), bounds=SHARE)
        high = max(high, float(np.sqrt(square.high)))
    residual = difference - by_predictor.transform("mean")
    degrees = len(residual) - len(mean_Q)
    within = float(np.sqrt((residual**2).sum() / degrees)) if degrees else 0.0
    difference_K = np.asarray(difference, dtype=np.float64)
    similarity = _compute_similarity(difference_K, sd, n_heads)
    limits = min(low, 1.0), min(high, 1.0)
    return Spread(len(mean_Q), n_heads, sd, *limits, within, is_share, similarity)


def compute_sd_interval(sd: float, n: int) -> tuple[float, float]:
    """Returns the 95% interval of the standard deviation of n normal numbers.

    >>> [round(limit, 2) for limit in compute_sd_interval(1.0, 4)]
    [0.57, 3.73]
    """
    degrees, tail = n - 1, (1 - LEVEL) / 2
    # chdtri takes the probability of the upper tail.
    largest, smallest = chdtri(degrees, tail), chdtri(degrees, 1 - tail)
    return float(sd * np.sqrt(degrees / largest)), float(sd * np.sqrt(degrees / smallest))


def compute_power(spread: Spread, difference: float, n_predictors: int, level: float) -> float:
    """Returns the probability that a true difference is detected, in either direction.

    Args:
        n_predictors: at least 2, each with `spread.heads` pairs of heads.
        level: of the interval, such as 0.95; higher where several differences are estimated
            together.
    """
    if spread.is_share:
        return _simulate_power(spread, difference, n_predictors, level)
    return _integrate_power(spread, difference, n_predictors, level)


def find_predictors(spread: Spread, difference: float, power: float, level: float) -> int | None:
    """Returns the least number of predictors that detects a difference with this power; None if it
    is above MOST_PREDICTORS or not known.
    """
    if not spread.is_known:
        return None

    def is_enough(n: int) -> bool:
        return compute_power(spread, difference, n, level) >= power

    high = 2
    while not is_enough(high):
        if high == MOST_PREDICTORS:
            return None
        high = min(2 * high, MOST_PREDICTORS)
    return _bisect(is_enough, max(high // 2, 1), high)


def find_least_difference(
    spread: Spread, n_predictors: int, power: float, level: float
) -> float | None:
    """Returns the smallest difference that this number of predictors detects with this power; None
    if it detects none, or if it is not known.
    """
    if not spread.is_known:
        return None

    def is_enough(steps: int) -> bool:
        return compute_power(spread, steps * PRECISION, n_predictors, level) >= power

    most = round(1 / PRECISION)
    return _bisect(is_enough, 0, most) * PRECISION if is_enough(most) else None


def _bisect(is_enough: Callable[[int], bool], low: int, high: int) -> int:
    """Returns the least number that is enough, above one that is not and up to one that is."""
    while high - low > 1:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return high


def _compute_similarity(difference_K: Floats, sd: float, n_heads: int) -> float:
    """Returns the intraclass correlation that gives the means of a predictor's n heads this
    standard deviation; 1 where nothing differs, for then it is not known.
    """
    variance = difference_K.var()
    if n_heads == 1 or variance == 0:
        return 1.0
    return float(np.clip((n_heads * sd**2 / variance - 1) / (n_heads - 1), 0, 1))


@lru_cache(maxsize=10_000)
def _integrate_power(spread: Spread, difference: float, n_predictors: int, level: float) -> float:
    """Returns the power where predictors, and heads within them, are normal.

    Given both variances, the mean difference is normal and has to exceed the wider of two halves:
    that of Student's interval over predictors and that over heads. Both variances follow laws of
    chi-squared, which NODES quantiles of equal probability stand for.
    """
    n_heads = n_predictors * spread.heads
    tail = 1 - (np.arange(NODES) + 0.5) / NODES
    between = spread.sd**2 * chdtri(n_predictors - 1, tail)[:, None]
    within = np.zeros((1, 1))
    if spread.heads > 1:
        within = spread.within**2 * chdtri(n_heads - n_predictors, tail)[None]
    of_predictors = between / (n_predictors - 1) / n_predictors
    of_heads = (spread.heads * between + within) / (n_heads - 1) / n_heads
    half = np.maximum(
        stdtrit(n_predictors - 1, (1 + level) / 2) * np.sqrt(of_predictors),
        stdtrit(n_heads - 1, (1 + level) / 2) * np.sqrt(of_heads),
    )
    error = spread.sd / np.sqrt(n_predictors)
    return float((ndtr((difference - half) / error) + ndtr((-difference - half) / error)).mean())


@lru_cache(maxsize=10_000)
def _simulate_power(spread: Spread, difference: float, n_predictors: int, level: float) -> float:
    """Returns the power where the differences of heads are -1, 0 or 1, in simulated sweeps.

    The pairs of heads of one predictor are all alike with the probability `spread.similarity`, and
    independent otherwise. A difference of shares has a least standard deviation: if a tenth of
    pairs rises, a tenth differs from the others. Where the planted one is lower, no pair falls.
    """
    n_drawn = 2 ** (n_predictors - 1).bit_length()
    rise_RQ, fall_RQ = _draw_once(spread, difference, n_drawn)
    is_decided_R = decide_shares(
        rise_RQ[:, :n_predictors], fall_RQ[:, :n_predictors], spread.heads, level
    )
    return float(is_decided_R.mean())


@lru_cache(maxsize=2)
def _draw_once(spread: Spread, difference: float, n_predictors: int) -> tuple[Ints, Ints]:
    """Returns the same simulated sweeps for every search that needs as many predictors."""
    return draw_hits(spread, difference, n_predictors, np.random.default_rng(0))


def draw_hits(
    spread: Spread, difference: float, n_predictors: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Returns how many pairs of heads of each predictor rise, and how many fall."""
    n, shape = spread.heads, (SWEEPS, n_predictors)
    inflation = (1 + (n - 1) * spread.similarity) / n
    differing = min(max(spread.sd**2 / inflation + difference**2, abs(difference)), 1.0)
    rise, fall = (differing + difference) / 2, (differing - difference) / 2
    drawn_RQ = rng.random(shape)
    is_alike_RQ = rng.random(shape) < spread.similarity
    rise_RQ = n * (drawn_RQ < rise).astype(int)
    fall_RQ = n * (drawn_RQ > 1 - fall).astype(int)
    n_independent = int((~is_alike_RQ).sum())
    own = rng.binomial(n, rise, n_independent)
    rise_RQ[~is_alike_RQ] = own
    fall_RQ[~is_alike_RQ] = rng.binomial(n - own, fall / max(1 - rise, fall, 1e-12))
    return rise_RQ, fall_RQ


def decide_shares(rise_RQ: Ints, fall_RQ: Ints, heads: int, level: float) -> NDArray[np.bool_]:
    """Returns for each sweep whether the interval of `estimate_mean` excludes 0.

    Args:
        rise_RQ: number of pairs of heads of each predictor whose difference is 1.
        fall_RQ: number of those whose difference is -1.
        heads: number of pairs of heads a predictor.
    """
    n_predictors = rise_RQ.shape[1]
    mean_RQ = (rise_RQ - fall_RQ) / heads
    error_R = mean_RQ.std(axis=1, ddof=1) / np.sqrt(n_predictors)
    half_R = stdtrit(n_predictors - 1, (1 + level) / 2) * error_R
    is_decided_R = np.abs(mean_RQ.mean(axis=1)) > half_R
    rises, falls = rise_RQ[is_decided_R].sum(axis=1), fall_RQ[is_decided_R].sum(axis=1)
    n_K = np.full(len(rises), float(n_predictors * heads))
    tails = 1 - (1 - level) / 2
    rise = compute_exact_interval(rises / n_K, n_K, tails)
    fall = compute_exact_interval(falls / n_K, n_K, tails)
    mean_K = rises - falls
    is_decided_R[is_decided_R] = np.where(mean_K > 0, rise.low > fall.high, fall.low > rise.high)
    return is_decided_R
