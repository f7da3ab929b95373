"""The promise of a reporter: one method from activations to a Reading.

N: episodes, L: levels given, D: width, T: exits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn


class Reading(NamedTuple):
    """What a head says of each episode, and what it spent. A head that cannot stop early has one exit."""

    log_odds_NT: Tensor
    """Log-odds that the concept holds, in nats, as said at each exit."""
    halt_NT: Tensor
    """Probability of stopping at each exit; sums to 1 over exits."""
    levels_T: Tensor
    """How many of the levels given have been read at each exit."""
    flops_T: Tensor
    """FLOPs the head itself has spent at each exit, an episode; matrix products only, a multiply-add is 2."""

    @property
    def exit_N(self) -> Tensor:
        """The exit at which a finished head stops: the median of its halting distribution."""
        return (self.halt_NT.cumsum(dim=1) < 0.5 - 1e-6).sum(dim=1).clamp(max=self.halt_NT.shape[1] - 1)

    @property
    def log_odds_N(self) -> Tensor:
        """What a finished head says: the log-odds at the exit where it stops, in nats."""
        return self.log_odds_NT.gather(1, self.exit_N[:, None]).squeeze(1)


class Reporter(nn.Module, ABC):
    """A head. Knows nothing of priors, populations or configs, and is stackable: no data-dependent Python branches, no in-place state.

    Its constructor takes `n_levels` (how many levels it is given), `width`, and whatever its YAML holds. Parameters whose name ends in "bias" are
    biases; all others are weights, and every element of a weight is an edge. Write a product as `weight @ z.T`: stacked heads then share one product.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]]
    """Whether a head is given one level (a population then holds heads for each level asked for), or all levels asked for, shallowest first."""

    @abstractmethod
    def forward(self, z_NLD: Tensor) -> Reading:
        """Returns what the head says of standardised activations."""


class ClosedForm(Reporter):
    """A head that is solved for and not trained; no prior can change it."""

    @abstractmethod
    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        """Returns the values of its parameters, from standardised activations and the human's answers (0 or 1, float)."""


def in_one_step(log_odds_N: Tensor, n_levels: int, flops: int) -> Reading:
    """Returns the reading of a head that cannot stop early: it reads all the levels given and spends the same on every episode."""
    ones_T = log_odds_N.new_ones(1)
    return Reading(log_odds_N[:, None], torch.ones_like(log_odds_N)[:, None], ones_T * n_levels, ones_T * flops)
