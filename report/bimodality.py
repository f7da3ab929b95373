"""One heap or two: whether heads that were trained alike came out as two kinds of head, so that
their mean describes neither.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

APART = 0.2
"""Least distance between the means of two heaps, as a share of episodes, that is worth a word."""
FEW = 12
"""Heads below which nothing is said."""
BOUND = 0.62
"""Of the dip times the square root of the number of heads: one heap, even a flat one, goes beyond
it in fewer than 1 in 1,000.
"""


GAP, SIDE = 0.3, 3
"""Least width of a gap, as a share of episodes, and heads on either side of it, that make two
heaps.
"""


class Heaps(NamedTuple):
    """Two heaps: the share of heads in the lower one, and the mean of each."""

    lower_share: float
    lower: float
    upper: float
    in_both: int
    """Predictors that have heads in either heap."""
    predictors: int

    def words(self) -> str:
        """Returns the two heaps in words."""
        each = (
            "both under every predictor"
            if self.in_both == self.predictors
            else f"both under {self.in_both} of {self.predictors} predictors"
        )
        where = "one predictor" if self.predictors == 1 else each
        return (
            f"two heaps, {self.lower_share:.0%} about {self.lower:.2f} and"
            f" {1 - self.lower_share:.0%} about {self.upper:.2f} ({where})"
        )


def heaps(value_K: NDArray[np.float64], predictor_K: NDArray[np.object_]) -> Heaps | None:
    """Returns the two heaps that heads make; None where one heap, however flat, could look so.

    Hartigan and Hartigan's dip (1985) must be beyond what one heap gives, and the means of the two
    best groups far enough apart to matter; or a few heads must stand together beyond a gap that a
    heap cannot have, which the dip overlooks where they are fewer than one in ten.
    """
    if len(value_K) < FEW:
        return None
    sorted_K = np.sort(value_K)
    at = _beyond_gap(sorted_K)
    if at is None and dip(value_K) * np.sqrt(len(value_K)) <= BOUND:
        return None
    at = _split(sorted_K) if at is None else at
    low_K = value_K < at
    lower, upper = float(value_K[low_K].mean()), float(value_K[~low_K].mean())
    if upper - lower < APART:
        return None
    sides = pd.Series(low_K).groupby(predictor_K).nunique()
    return Heaps(float(low_K.mean()), lower, upper, int((sides == 2).sum()), len(sides))


def dip(value_K: NDArray[np.float64]) -> float:
    """Returns the least distance of the empirical distribution to one with a single mode.

    Left of its mode the nearest one is convex, right of it concave; the further right the mode, the
    worse the left fits and the better the right, so the best place is found by halving.

    >>> dip(np.array([0.0, 0.0, 1.0, 1.0])), dip(np.linspace(0, 1, 50))
    (0.25, 0.01)
    """
    x_N, count_N = np.unique(value_K, return_counts=True)
    after_N = np.cumsum(count_N) / len(value_K)
    before_N = after_N - count_N / len(value_K)
    turned = (-x_N[::-1], 1 - after_N[::-1], 1 - before_N[::-1])

    def distances(mode: int) -> tuple[float, float]:
        return _convex(x_N, before_N, after_N, mode + 1), _convex(*turned, len(x_N) - mode)

    low, high = 0, len(x_N) - 1
    while high - low > 1:
        middle = (low + high) // 2
        left, right = distances(middle)
        low, high = (middle, high) if left < right else (low, middle)
    return round(min(max(distances(mode)) for mode in (low, high)), 12)


def _convex(
    x_N: NDArray[np.float64], before_N: NDArray[np.float64], after_N: NDArray[np.float64], n: int
) -> float:
    """Returns half of the largest distance from the first n steps, but for the last, down to the
    largest convex line below them all.

    At the last, which is the mode, a distribution may jump.
    """
    if n < 2:
        return 0.0
    hull: list[int] = []
    for i in range(n):
        while len(hull) > 1 and _above(x_N, before_N, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return float((after_N[: n - 1] - np.interp(x_N[: n - 1], x_N[hull], before_N[hull])).max() / 2)


def _above(x_N: NDArray[np.float64], y_N: NDArray[np.float64], a: int, b: int, c: int) -> bool:
    return bool((y_N[b] - y_N[a]) * (x_N[c] - x_N[a]) >= (y_N[c] - y_N[a]) * (x_N[b] - x_N[a]))


def _beyond_gap(sorted_K: NDArray[np.float64]) -> float | None:
    """Returns where the upper heap begins, if there is a gap that a flat heap would leave fewer
    than 1 time in 1,000, with 3 heads on each side.
    """
    n, gap_N = len(sorted_K), np.diff(sorted_K)[SIDE - 1 : len(sorted_K) - SIDE]
    if len(gap_N) == 0 or gap_N.max() < GAP or n * (1 - gap_N.max()) ** n > 0.001:
        return None
    return float(sorted_K[int(gap_N.argmax()) + SIDE])


def _split(sorted_K: NDArray[np.float64]) -> float:
    """Returns the value at which the upper of the two groups begins that lie closest about their
    means.
    """
    n, n_N = len(sorted_K), np.arange(1, len(sorted_K))
    sum_N = np.cumsum(sorted_K)[:-1]
    between_N = sum_N**2 / n_N + (sorted_K.sum() - sum_N) ** 2 / (n - n_N)
    between_N[sorted_K[1:] == sorted_K[:-1]] = -np.inf
    return float(sorted_K[int(between_N.argmax()) + 1])
