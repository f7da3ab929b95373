"""How much a report changes with what it is said of, in nats."""

import torch
from torch import Tensor

from reporters.reporter import Reading


def covariance(first: Reading, second: Reading) -> Tensor:
    """Returns half the Jeffreys divergence (1946) between two reports on each of N rows, in nats,
    its mean over rows.

    It is the covariance of log-odds and probability over the two: a variance of the report in nats.
    For small changes it is p (1 - p) Δ² / 2, for large ones it grows as |Δ| / 2, so that a head
    that is sure is not let off.

    >>> covariance(*(Reading(torch.tensor([[log_odds]]), torch.ones(1, 1), torch.ones(1)) for log_odds in (0.0, 30.0)))
    tensor(7.5000)
    """
    one_N, other_N = _expected(first), _expected(second)
    return ((one_N - other_N) * (torch.sigmoid(one_N) - torch.sigmoid(other_N))).mean() / 2


def _expected(reading: Reading) -> Tensor:
    """Returns the log-odds that a head says of each episode, expected over its exits."""
    return (reading.halt_NT * reading.log_odds_NT).sum(dim=1)
