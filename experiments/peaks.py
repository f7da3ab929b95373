"""Peaks of curves over the width of heads: their place is chosen on half of the predictors, and
measured on the other half.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from report.intervals import Mean, estimate_mean

PEAKS = {"test_nll": "test NLL", "test_error": "test error"}
"""In what a peak is looked for."""

FEWEST_PREDICTORS, FEWEST_WIDTHS = 4, 3

Floats = NDArray[np.float64]


class Peak(NamedTuple):
    """A rise of a curve and its fall after it. Where they are is chosen on half of the predictors;
    how large they are is measured on the other half.
    """

    parameters: tuple[int, int, int]
    """Numbers of parameters: the lowest point before the peak, the peak, the lowest after it."""
    rise: Mean
    fall: Mean
    height: float
    """The curve at the peak, mean of all predictors."""

    @property
    def is_shown(self) -> bool:
        """Whether both intervals are above 0."""
        return self.rise.low > 0 and self.fall.low > 0


def tabulate(heads: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns the mean over the heads of each predictor (row) at each number of parameters."""
    return heads.pivot_table(index="predictor", columns="parameters", values=column)


def find_peak(curves: pd.DataFrame, n_means: int) -> Peak | None:
    """Returns the peak of curves; None where no inner point is above a point on either side.

    >>> rows = [[1.0, 3.0, 2.0, 1.5], [1.0, 3.2, 2.0, 1.6], [1.0, 2.9, 2.2, 1.4], [1.1, 3, 2, 1.5]]
    >>> peak = find_peak(pd.DataFrame(rows, columns=[10, 20, 30, 40]), 1)
    >>> peak.parameters, round(peak.rise.value, 2), round(peak.fall.value, 2)
    ((10, 20, 40), 2.05, 1.55)
    >>> find_peak(pd.DataFrame([[4.0, 3.0, 1.0]] * 4, columns=[10, 20, 30]), 1)

    Args:
        curves: a row for each predictor, a column for each number of parameters.
        n_means: number of means that are estimated together.
    """
    value_PW = curves.to_numpy()
    places = choose_peak(value_PW[::2].mean(axis=0))
    if places is None:
        return None
    before, at, after = places
    measured_PW = value_PW[1::2]
    own = np.arange(len(measured_PW)).astype(object)
    return Peak(
        tuple(int(curves.columns[place]) for place in places),  # type: ignore[arg-type]
        estimate_mean(measured_PW[:, at] - measured_PW[:, before], own, n_means),
        estimate_mean(measured_PW[:, at] - measured_PW[:, after], own, n_means),
        float(value_PW[:, at].mean()),
    )


def choose_peak(value_W: Floats) -> tuple[int, int, int] | None:
    """Returns the places of the lowest point before the peak, of the peak, and of the lowest after
    it: those for which the smaller of rise and fall is largest.
    """
    best, places = 0.0, None
    for at in range(1, len(value_W) - 1):
        before = int(value_W[:at].argmin())
        after = at + 1 + int(value_W[at + 1 :].argmin())
        size = value_W[at] - max(value_W[before], value_W[after])
        if size > best:
            best, places = size, (before, at, after)
    return places


def find_threshold(heads: pd.DataFrame) -> int | None:
    """Returns the fewest parameters with which no head errs on its training labels; None where
    some do at every width.
    """
    worst = heads.groupby("parameters")["train_error"].max()
    fitted = worst.index[worst == 0]
    return int(fitted.min()) if len(fitted) else None
