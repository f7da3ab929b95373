"""How much a report changes between two inputs, in nats."""

import torch
from torch import Tensor

from reporters.reporter import Reading


def covariance(first: Reading, second: Reading) -> Tensor:
    """Returns half the Jeffreys divergence (1946) between two reports on each of N rows, in nats,
    averaged over rows.

    It is the covariance of log-odds and probability over the two reports: a variance of the report
    in nats. For small changes it is p (1 - p) Δ² / 2. For large changes it grows as |Δ| / 2, so
    that a confident head is charged too.

    >>> one, exit = torch.ones(1, 1), torch.ones(1)
    >>> covariance(Reading(0 * one, one, exit), Reading(30 * one, one, exit))
    tensor(7.5000)
    """
    first_N, second_N = compute_expected_log_odds(first), compute_expected_log_odds(second)
    log_odds_change_N = first_N - second_N
    chance_change_N = torch.sigmoid(first_N) - torch.sigmoid(second_N)
    return (log_odds_change_N * chance_change_N).mean() / 2


def compute_expected_log_odds(reading: Reading) -> Tensor:
    """Returns a head's log-odds for each episode, expected over its exits."""
    return (reading.halt_NT * reading.log_odds_NT).sum(dim=1)
