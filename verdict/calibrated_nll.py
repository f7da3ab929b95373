"""The error of heads after the best rescaling of their log-odds.

K: heads, N: episodes.
"""

from __future__ import annotations

import numpy as np

from verdict.statistics import Floats

STEPS = 60
"""Halvings of the interval of the scale's logarithm."""
WIDEST = 60.0
"""Logarithm of the largest scale: log-odds that are all right by more than 1e-23 cost nothing."""


def compute_calibrated_nll(log_odds_KN: Floats, human_N: Floats) -> Floats:
    """Returns the error of each head in nats an episode, shape (K,), with its log-odds multiplied
    by the one number of 0 or more that makes it least: temperature scaling (Guo et al. 2017).

    Heads that pay nothing for large log-odds are as certain of their few mistakes as of all else.
    Their error as it is says how large their log-odds are, and not how often they err. NaN for a
    head with an answer that is not a number.

    >>> human_N = np.array([1.0, 1.0, 1.0, 0.0])
    >>> always_yes, right = [5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, -5.0]
    >>> compute_calibrated_nll(np.array([always_yes, right]), human_N).round(3)
    array([0.562, 0.   ])

    Args:
        human_N: the human's answers, 0 or 1.
    """
    # Positive where the head is right. Infinite answers are no numbers.
    margin_KN = np.where(np.isfinite(log_odds_KN), log_odds_KN, np.nan) * (2 * human_N - 1)
    size_K1 = np.abs(margin_KN).max(axis=1, keepdims=True)
    margin_KN = margin_KN / np.where(size_K1 > 0, size_K1, 1)
    low_K1, high_K1 = np.full_like(size_K1, -WIDEST), np.full_like(size_K1, WIDEST)
    for _ in range(STEPS):
        middle_K1 = (low_K1 + high_K1) / 2
        # The error is convex in the scale: the sign of its slope tells on which side the least is.
        rises_K1 = compute_slope(np.exp(middle_K1), margin_KN) > 0
        low_K1 = np.where(rises_K1, low_K1, middle_K1)
        high_K1 = np.where(rises_K1, middle_K1, high_K1)
    scaled_KN = np.exp((low_K1 + high_K1) / 2) * margin_KN
    with np.errstate(invalid="ignore"):
        return np.logaddexp(0, -scaled_KN).mean(axis=1)


def compute_slope(scale_K1: Floats, margin_KN: Floats) -> Floats:
    """Returns the derivative of the error with respect to the scale, shape (K, 1)."""
    wrong_KN = 0.5 * (1 - np.tanh(scale_K1 * margin_KN / 2))
    return -(wrong_KN * margin_KN).mean(axis=1, keepdims=True)
