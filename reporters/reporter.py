"""The promise of a reporter: from activations to a Reading, and what that takes.

N: episodes, L: levels given, D: width, T: exits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn


class Reading(NamedTuple):
    """What a head says of each episode, and where it stops. A head that cannot stop early has one
    exit.
    """

    log_odds_NT: Tensor
    """Log-odds that the concept holds, in nats, as said at each exit."""
    halt_NT: Tensor
    """Probability of stopping at each exit; sums to 1 over exits."""
    levels_T: Tensor
    """How many of the levels given have been read at each exit."""

    @property
    def exit_N(self) -> Tensor:
        """The exit at which a finished head stops: the median of its halting distribution."""
        if self.halt_NT.shape[1] == 1:
            return torch.zeros_like(self.halt_NT[:, 0], dtype=torch.long)
        return (
            (self.halt_NT.cumsum(dim=1) < 0.5 - 1e-6)
            .sum(dim=1)
            .clamp(max=self.halt_NT.shape[1] - 1)
        )

    @property
    def log_odds_N(self) -> Tensor:
        """What a finished head says: the log-odds at the exit where it stops, in nats."""
        return (
            self.log_odds_NT[:, 0]
            if self.halt_NT.shape[1] == 1
            else self.log_odds_NT.gather(1, self.exit_N[:, None]).squeeze(1)
        )

    def mean_N(self, each_NT: Tensor) -> Tensor:
        """Returns what is expected over exits of something that is known of each."""
        return each_NT[:, 0] if self.halt_NT.shape[1] == 1 else (self.halt_NT * each_NT).sum(dim=1)

    def errors_N(self, human_N: Tensor) -> Tensor:
        """Returns the expected error of each episode over exits, in nats, against answers of 0 or
        1.
        """
        return self.mean_N(nll(self.log_odds_NT, human_N[:, None]))


class Reporter(nn.Module, ABC):
    """A head. Knows nothing of priors, populations or configs, and is stackable: no data-dependent
    Python branches, no in-place state.

    Its constructor takes `n_levels` (how many levels it is given), `width`, and whatever its YAML
    holds. A parameter's name ends in a letter for each of its axes (`inner_HD`, `outer_bias`): axes
    of one letter are the same units, a digit is an axis of that length and of no units. Before
    them, a name ends in "bias" where it is a bias, in "choice" where it is the log-odds of a
    choice; all others are weights, and every element of a weight is an edge. Write a product as
    `weight @ z.T`: stacked heads then share one product.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]]
    """Whether a head is given one level (a population then holds heads for each level asked for),
    or all levels asked for, shallowest first.
    """

    @abstractmethod
    def forward(self, z_NLD: Tensor) -> Reading:
        """Returns what the head says of standardised activations."""

    @abstractmethod
    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        """Returns the FLOPs an episode that a head of so many units spends itself until each exit;
        matrix products only, a multiply-add is 2.

        Args:
            units: for each letter of the parameters' axes how many units there are: numbers, or
                tensors of one shape (expected numbers, or those of several heads); and under L, how
                many levels are given.
        """

    def harden(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns finished weights as the head is used: a head that trains with soft choices makes
        them hard here.
        """
        return weights


class ClosedForm(Reporter):
    """A head that is solved for and not trained; no prior can change it."""

    @abstractmethod
    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        """Returns the values of its parameters, from standardised activations and the human's
        answers (0 or 1, float).
        """


def nll(log_odds: Tensor, human: Tensor) -> Tensor:
    """Returns nats of error against answers of 0 or 1; one pass and one function of a number, where
    softplus(z) - t z is three and as exact.

    >>> nll(torch.zeros(1), torch.ones(1)).item()
    0.6931471824645996
    """
    return nn.functional.softplus((1 - 2 * human) * log_odds)


def in_one_step(log_odds_N: Tensor, n_levels: int) -> Reading:
    """Returns the reading of a head that cannot stop early: it reads all the levels given."""
    dtype, device = (
        log_odds_N.dtype,
        log_odds_N.device,
    )  # of a stack of heads `ones_like` would make one for each
    levels_1 = torch.full((1,), float(n_levels), dtype=dtype, device=device)
    return Reading(
        log_odds_N[:, None], torch.ones(len(log_odds_N), 1, dtype=dtype, device=device), levels_1
    )


def halting(stop_NT: Tensor) -> Tensor:
    """Returns the chance to stop at each exit, from the log-odds of stopping once there; the last
    exit always stops.
    """
    stop_TN, last_1N = stop_NT.T.split(
        [stop_NT.shape[1] - 1, 1]
    )  # episodes last: a sum over exits then adds whole rows
    none_1N = torch.zeros_like(last_1N)
    log_go_TN = -nn.functional.softplus(stop_TN)
    log_go_on_TN = torch.stack(list(accumulate(log_go_TN, initial=none_1N[0])))
    return (log_go_on_TN + torch.cat([stop_TN + log_go_TN, none_1N])).exp().T


def axes(name: str) -> str:
    """Returns the letters of a parameter's axes.

    >>> axes("inner_HD"), axes("inner_bias_H"), axes("bias")
    ('HD', 'H', '')
    """
    last = name.rpartition("_")[2]
    return last if last.isupper() or last.isdigit() else ""


def is_weight(name: str) -> bool:
    """Whether a parameter is a weight, and its elements edges: its name says so.

    >>> is_weight("inner_HD"), is_weight("inner_bias_H"), is_weight("bias"), is_weight("gate_choice_BG")
    (True, False, False, False)
    """
    return not name.removesuffix("_" + axes(name)).endswith(("bias", "choice"))


def is_choice(name: str) -> bool:
    """Whether a parameter holds the log-odds of choices among its last axis: its name says so.

    >>> is_choice("gate_choice_BG"), is_choice("inner_HD")
    (True, False)
    """
    return name.removesuffix("_" + axes(name)).endswith("choice")


def unit_axes(name: str) -> dict[str, int]:
    """Returns which axes of a weight are of units, and their places; a level is no unit, for
    halting decides about levels.

    >>> unit_axes("inner_HD"), unit_axes("weight_L2D"), unit_axes("inner_bias_H")
    ({'H': 0, 'D': 1}, {'D': 2}, {})
    """
    return (
        {letter: i for i, letter in enumerate(axes(name)) if letter.isalpha() and letter != "L"}
        if is_weight(name)
        else {}
    )


def units(reporter: Reporter, n_levels: int) -> dict[str, int]:
    """Returns how many units each axis of a whole head has, and under L how many levels it is
    given.
    """
    sizes = {
        letter: size
        for name, value in reporter.named_parameters()
        for letter, size in zip(axes(name), value.shape, strict=True)
    }
    return {letter: size for letter, size in sizes.items() if letter.isalpha()} | {"L": n_levels}


def no_weights(reporter: Reporter) -> str | None:
    """Returns, for a prior that charges weights, what a reporter without any lacks."""
    return None if any(is_weight(name) for name, _ in reporter.named_parameters()) else "weights"
