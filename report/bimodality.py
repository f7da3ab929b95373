"""One mode or two: whether heads that were trained alike became two kinds of heads, so that their
mean describes neither.

K: heads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEAST_DISTANCE = 0.2
"""Least distance between the means of two modes, as a share of episodes, to report them."""
LEAST_HEADS = 12
"""Least number of heads to look for two modes."""
DIP_BOUND = 0.62
"""Bound of the dip times the square root of the number of heads. A distribution with one mode, even
a flat one, exceeds it in fewer than 1 of 1,000 samples.
"""
LEAST_GAP = 0.3
"""Least width of a gap, as a share of episodes, that separates two modes."""
LEAST_SIDE = 3
"""Least number of heads on each side of such a gap."""


class TwoModes(NamedTuple):
    """Two modes: the share of heads in the lower one, and the mean of each."""

    lower_share: float
    lower: float
    upper: float
    in_both: int
    """Number of predictors that have heads in both modes."""
    predictors: int

    def describe(self) -> str:
        """Returns in words where the modes are, and under how many predictors both occur."""
        if self.predictors == 1:
            predictors = "one predictor"
        elif self.in_both == self.predictors:
            predictors = "both under every predictor"
        else:
            predictors = f"both under {self.in_both} of {self.predictors} predictors"
        return f"two modes, {self.describe_positions()} ({predictors})"

    def describe_positions(self) -> str:
        """Returns in words how many heads are in each mode, and where it is."""
        lower = f"{self.lower_share:.0%} near {self.lower:.2f}"
        upper = f"{1 - self.lower_share:.0%} near {self.upper:.2f}"
        return f"{lower} and {upper}"


def find_two_modes(
    value_K: NDArray[np.float64], predictor_K: NDArray[np.object_]
) -> TwoModes | None:
    """Returns the two modes of the heads; None where a distribution with one mode explains them.

    Two modes are reported where the dip of Hartigan and Hartigan (1985) exceeds what one mode
    gives, or where a few heads lie beyond a gap that one mode does not have: the dip does not
    detect a mode with fewer than one head in ten. In both cases the means of the two groups must
    lie far enough apart.
    """
    if len(value_K) < LEAST_HEADS:
        return None
    sorted_K = np.sort(value_K)
    start = _find_gap(sorted_K)
    if start is None:
        if compute_dip(value_K) * np.sqrt(len(value_K)) <= DIP_BOUND:
            return None
        start = _find_split(sorted_K)
    is_lower_K = value_K < start
    lower, upper = float(value_K[is_lower_K].mean()), float(value_K[~is_lower_K].mean())
    if upper - lower < LEAST_DISTANCE:
        return None
    modes = pd.Series(is_lower_K).groupby(predictor_K).nunique()
    return TwoModes(float(is_lower_K.mean()), lower, upper, int((modes == 2).sum()), len(modes))


def compute_dip(value_K: NDArray[np.float64]) -> float:
    """Returns the least distance of the empirical distribution to a distribution with one mode.

    The closest such distribution is convex to the left of its mode and concave to the right. If
    the mode moves to the right, the fit on the left gets worse and the fit on the right gets
    better. Therefore bisection finds the best mode.

    >>> compute_dip(np.array([0.0, 0.0, 1.0, 1.0])), compute_dip(np.linspace(0, 1, 50))
    (0.25, 0.01)
    """
    values, counts = np.unique(value_K, return_counts=True)
    after = np.cumsum(counts) / len(value_K)
    before = after - counts / len(value_K)
    mirrored = (-values[::-1], 1 - after[::-1], 1 - before[::-1])

    def measure_distances(mode: int) -> tuple[float, float]:
        left = _measure_distance_to_convex(values, before, after, mode + 1)
        right = _measure_distance_to_convex(*mirrored, len(values) - mode)
        return left, right

    low, high = 0, len(values) - 1
    while high - low > 1:
        middle = (low + high) // 2
        left, right = measure_distances(middle)
        if left < right:
            low = middle
        else:
            high = middle
    return round(min(max(measure_distances(mode)) for mode in (low, high)), 12)


def _measure_distance_to_convex(
    values: NDArray[np.float64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    n: int,
) -> float:
    """Returns half of the largest distance between the first n steps of a distribution and the
    largest convex function below them.

    The last step is the mode, where a distribution may jump, so its height does not count.

    Args:
        before, after: the distribution function just before and just after each step.
    """
    if n < 2:
        return 0.0
    hull: list[int] = []
    for i in range(n):
        while len(hull) > 1 and _is_above_line(values, before, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    convex = np.interp(values[: n - 1], values[hull], before[hull])
    return float((after[: n - 1] - convex).max() / 2)


def _is_above_line(
    x: NDArray[np.float64], y: NDArray[np.float64], start: int, middle: int, end: int
) -> bool:
    """Whether the middle point lies on or above the line from start to end."""
    rise, run = y[middle] - y[start], x[middle] - x[start]
    return bool(rise * (x[end] - x[start]) >= (y[end] - y[start]) * run)


def _find_gap(sorted_K: NDArray[np.float64]) -> float | None:
    """Returns the first value above a gap that separates two modes; None where there is no gap.

    The gap has at least 3 heads on each side, and a flat distribution leaves such a gap in fewer
    than 1 of 1,000 samples.
    """
    n = len(sorted_K)
    gaps = np.diff(sorted_K)[LEAST_SIDE - 1 : n - LEAST_SIDE]
    if len(gaps) == 0 or gaps.max() < LEAST_GAP or n * (1 - gaps.max()) ** n > 0.001:
        return None
    return float(sorted_K[int(gaps.argmax()) + LEAST_SIDE])


def _find_split(sorted_K: NDArray[np.float64]) -> float:
    """Returns the first value of the upper group, where the two groups have the least variance
    within them.
    """
    n = len(sorted_K)
    n_lower = np.arange(1, n)
    lower_sum = np.cumsum(sorted_K)[:-1]
    between = lower_sum**2 / n_lower + (sorted_K.sum() - lower_sum) ** 2 / (n - n_lower)
    between[sorted_K[1:] == sorted_K[:-1]] = -np.inf
    return float(sorted_K[int(between.argmax()) + 1])
