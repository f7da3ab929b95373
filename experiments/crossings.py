"""Where curves of several predictors cross, in training episodes: predicted from planted costs, and
measured.

P: predictors, S: numbers of training episodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from report.intervals import NO_MEAN, Mean, estimate_mean

PREDICTED = {"cost_translator": "planted heads with errors", "two_part": "two-part rule"}
"""The two predictions, by the column of what the translator pays."""

Floats = NDArray[np.float64]


class Crossing(NamedTuple):
    """Where curves of several predictors cross, in training episodes."""

    mean: Mean
    """log2 of the number, over the predictors whose curves cross."""
    before: int
    """How many predictors are past the crossing at the smallest size."""
    never: int
    """How many do not reach it at the largest."""

    def describe(self) -> str:
        """Returns the number with its interval, in words."""
        total = self.mean.predictors + self.before + self.never
        words = []
        if self.mean.predictors:
            words.append(format_sizes(self.mean))
        if self.before:
            words.append(f"before the smallest size for {self.before} of {total}")
        if self.never:
            words.append(f"not up to the largest size for {self.never} of {total}")
        return "; ".join(words)

    def describe_briefly(self) -> str:
        """Returns the number with its interval, or why there is none."""
        if self.mean.predictors:
            return format_sizes(self.mean)
        return "never" if self.never else "always"


def find_crossing(x_S: Floats, y_S: Floats) -> float:
    """Returns where a curve rises through 0 for the last time, on the line between two points;
    -inf where it is above 0 at all points, inf where it ends below.

    >>> find_crossing(np.array([1, 2, 4]), np.array([-3, -1, 3]))
    2.5
    >>> find_crossing(np.array([1, 2]), np.array([1, 2])), find_crossing(np.array([1]), -np.ones(1))
    (-inf, inf)
    """
    below = np.flatnonzero(y_S < 0)
    if not len(below):
        return -math.inf
    last = int(below[-1])
    if last == len(y_S) - 1:
        return math.inf
    share = -y_S[last] / (y_S[last + 1] - y_S[last])
    return float(x_S[last] + share * (x_S[last + 1] - x_S[last]))


def predict_crossings(predictions: pd.DataFrame, column: str) -> pd.Series[float]:
    """Returns log2 of the number of episodes from which on the imitator is cheaper, for each
    predictor: costs are interpolated along N, in which they are nearly linear.
    """
    crossings = {}
    for predictor, own in predictions.sort_values("train").groupby("predictor"):
        difference_S = (own[column] - own["cost_imitator"]).to_numpy()
        n = find_crossing(own["train"].to_numpy(float), difference_S)
        crossings[predictor] = math.log2(n) if n > 0 else -math.inf
    return pd.Series(crossings)


def measure_crossings(contest: pd.DataFrame) -> pd.Series[float]:
    """Returns log2 of the number of episodes from which on the heads of a predictor follow X on
    less than half of disputed episodes, for each predictor.
    """
    crossings = {}
    means = contest.groupby(["predictor", "train"])["follows_concept"].mean()
    for predictor, follows in means.groupby("predictor"):
        log2_S = np.log2(follows.index.get_level_values("train").to_numpy(float))
        crossings[predictor] = find_crossing(log2_S, 0.5 - follows.to_numpy())
    return pd.Series(crossings)


def summarise_crossings(log2_P: pd.Series[float]) -> Crossing:
    """Returns the mean of crossings over predictors, and how many have none."""
    own = log2_P[np.isfinite(log2_P)]
    mean = NO_MEAN
    if len(own):
        mean = estimate_mean(own.to_numpy().astype(np.float64), own.index.to_numpy(object))
    return Crossing(mean, int((log2_P == -np.inf).sum()), int((log2_P == np.inf).sum()))


def compare_crossings(measured_P: pd.Series[float], predicted_P: pd.Series[float]) -> Mean:
    """Returns log2 of measured over predicted, over the predictors in which both cross."""
    difference_P = measured_P.replace([np.inf, -np.inf], np.nan) - predicted_P
    return summarise_crossings(difference_P.dropna()).mean


@dataclass(frozen=True)
class Result:
    """What was predicted and measured for one prior and strength."""

    name: str
    predictions: pd.DataFrame
    contest: pd.DataFrame

    @property
    def measured_P(self) -> pd.Series[float]:
        """log2 of the crossing of each predictor."""
        return measure_crossings(self.contest)

    def predict(self, column: str) -> pd.Series[float]:
        """Returns log2 of the predicted crossing of each predictor."""
        return predict_crossings(self.predictions, column)


def collect_results(predictions: pd.DataFrame, contest: pd.DataFrame) -> list[Result]:
    """Returns the results of each prior and strength, in their order."""
    results = []
    has_several = contest["strength"].nunique() > 1
    for (prior, strength), own in contest.groupby(["prior", "strength"], sort=False):
        is_own = (predictions["prior"] == prior) & (predictions["strength"] == strength)
        name = f"{prior}, strength {strength:g}" if has_several else str(prior)
        results.append(Result(name, predictions[is_own], own))
    return results


def format_sizes(log2_mean: Mean) -> str:
    """Returns a number of episodes with its interval.

    >>> format_sizes(Mean(7.0, 6.0, 8.0, 4, 4))
    '128 [64, 256]'
    """
    value, low, high = (2.0**log2 for log2 in log2_mean[:3])
    return f"{value:.0f}" if np.isnan(low) else f"{value:.0f} [{low:.0f}, {high:.0f}]"
