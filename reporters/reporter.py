"""The interface of a reporter: it maps activations to a Reading, and states its FLOPs.

N: episodes, L: levels given, D: width, T: exits.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from reporters.named_layer import CountedLayer


class Reading(NamedTuple):
    """A head's output for each episode, and where it stops. A head that cannot stop early has one
    exit.
    """

    log_odds_NT: Tensor
    """Log-odds that the concept holds, in nats, at each exit."""
    halt_NT: Tensor
    """Probability of stopping at each exit; sums to 1 over exits."""
    levels_T: Tensor
    """How many of the levels given have been read at each exit."""

    @property
    def exit_N(self) -> Tensor:
        """The exit at which a finished head stops: the median of its halting distribution."""
        n_exits = self.halt_NT.shape[1]
        if n_exits == 1:
            return torch.zeros_like(self.halt_NT[:, 0], dtype=torch.long)
        before_median_NT = self.halt_NT.cumsum(dim=1) < 0.5 - 1e-6
        return before_median_NT.sum(dim=1).clamp(max=n_exits - 1)

    @property
    def log_odds_N(self) -> Tensor:
        """The output of a finished head: the log-odds at the exit where it stops, in nats."""
        if self.halt_NT.shape[1] == 1:
            return self.log_odds_NT[:, 0]
        return self.log_odds_NT.gather(1, self.exit_N[:, None]).squeeze(1)

    def mean_N(self, value_NT: Tensor) -> Tensor:
        """Returns the expectation over exits of a value that is known at each exit."""
        if self.halt_NT.shape[1] == 1:
            return value_NT[:, 0]
        return (self.halt_NT * value_NT).sum(dim=1)

    def errors_N(self, human_N: Tensor) -> Tensor:
        """Returns the expected error of each episode over exits, in nats, against answers of 0 or
        1.
        """
        return self.mean_N(nll(self.log_odds_NT, human_N[:, None]))


class Reporter(nn.Module, ABC):
    """A head. It depends on no prior, population or config, and it is stackable: it has no
    data-dependent Python branches and no in-place state.

    Its constructor takes `n_levels` (how many levels it is given), `width`, and the values of its
    YAML.

    The name of a parameter ends in one letter for each of its axes (`inner_HD`, `outer_bias`). Axes
    with the same letter are the same units; a digit is an axis of that length, and not of units.
    The rest of the name ends in "bias" for a bias and in "choice" for the log-odds of a choice. All
    other parameters are weights, and every element of a weight is an edge.

    Layers of torch that are attributes of a reporter are given such names when the reporter is made
    (`reporters/layers.py`). A reporter is always in evaluation mode. A buffer is the same for all
    heads, so it may not be drawn at random.

    Write a product as `weight @ z.T`: stacked heads then share one product.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]]
    """Whether a head is given one level or all requested levels, the shallowest first. With one
    level, a population holds heads for each requested level.
    """

    @abstractmethod
    def forward(self, z_NLD: Tensor) -> Reading:
        """Returns the head's reading of standardised activations."""

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        """Returns the head's own FLOPs an episode until each exit, for a given number of units.
        Only matrix products count, and a multiply-add is 2. By default, a head has one exit, and
        its products are those of its layers of torch, counted as it reads one episode.

        Args:
            units: for each letter of the parameters' axes, the number of units: numbers, or tensors
                of one shape (expected numbers, or those of several heads). Under L, the number of
                levels given.
        """
        layers = [layer for layer in self.modules() if isinstance(layer, CountedLayer)]
        return [sum(layer.count_flops(units) for layer in layers)]

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: what a head pays does not depend on chance."""
        return super().train(False)

    def harden(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the finished weights as the head uses them. A head that trains with soft choices
        makes them hard here.
        """
        return weights

    def read_to_the_end(self, weights: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """Returns weights with which the head never stops before its last exit; None if there are
        none that are known. The search for heads of few edges then begins from no edges too.
        """
        return None


class Lesson(NamedTuple):
    """What a head that fits itself learns from. Activations are standardised, and of the levels
    that it reads.
    """

    z_NLD: Tensor
    """Of easy training episodes."""
    human_N: Tensor
    """The human's answers to them, 0 or 1, float."""
    mean_LD: Tensor
    """What activations are standardised with: the mean, and below the standard deviation."""
    std_LD: Tensor
    negated_NLD: Tensor | None = None
    """Of the negation of each episode, where the head needs negations."""
    answer_LD: Tensor | None = None
    """The direction of the predictor's own answer, the same at each level, where the head needs
    it.
    """


class SelfFitted(Reporter):
    """A head that is fitted by a method of its own, with its own loss; no prior can change it."""

    needs: ClassVar[tuple[Literal["negations", "answer"], ...]] = ()
    """What it learns from beside easy episodes: `World.negate` gives negations,
    `Predictor.find_answer_direction` the direction of the predictor's own answer.
    """
    uses_seed: ClassVar[bool] = False
    """Whether its fit depends on what its constructor draws, so that each seed is fitted."""

    @classmethod
    def check_values(cls, values: Mapping[str, Any]) -> None:
        """Raises UserError, before a predictor is made, if it cannot be fitted with these values of
        its YAML.
        """

    def check(self) -> None:
        """Raises UserError, before anything is trained, if it cannot be fitted."""

    @abstractmethod
    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        """Returns the values of its parameters."""


class ClosedForm(SelfFitted):
    """A head that is solved for, from labelled episodes alone."""

    @abstractmethod
    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        """Returns the values of its parameters, from standardised activations and the human's
        answers (0 or 1, float).

        It is run for several levels at once, under `torch.func.vmap`. The bill also asks for few
        episodes, down to one, and for episodes with one answer only. Where these have no solution,
        it may return NaN, or raise ValueError.
        """

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        return self.solve(lesson.z_NLD, lesson.human_N)


def nll(log_odds: Tensor, human: Tensor) -> Tensor:
    """Returns the error against answers of 0 or 1, in nats.

    It is as exact as softplus(z) - t z, and needs one pass over the numbers in place of three.

    >>> nll(torch.zeros(1), torch.ones(1)).item()
    0.6931471824645996
    """
    return nn.functional.softplus((1 - 2 * human) * log_odds)


def build_single_exit_reading(log_odds_N: Tensor, n_levels: int) -> Reading:
    """Returns the reading of a head that cannot stop early: it reads all the levels given."""
    # For a stack of heads, `ones_like` would allocate one tensor for each head.
    dtype, device = log_odds_N.dtype, log_odds_N.device
    levels_1 = torch.full((1,), float(n_levels), dtype=dtype, device=device)
    halt_N1 = torch.ones(len(log_odds_N), 1, dtype=dtype, device=device)
    return Reading(log_odds_N[:, None], halt_N1, levels_1)


def compute_halting(stop_NT: Tensor) -> Tensor:
    """Returns the probability of stopping at each exit, from the log-odds of stopping for a head
    that has reached the exit. The last exit always stops.
    """
    # Episodes come last, so that a sum over exits adds whole rows.
    stop_TN, last_1N = stop_NT.T.split([stop_NT.shape[1] - 1, 1])
    zero_1N = torch.zeros_like(last_1N)
    log_continue_TN = -nn.functional.softplus(stop_TN)
    log_reach_TN = torch.stack(list(accumulate(log_continue_TN, initial=zero_1N[0])))
    log_stop_TN = torch.cat([stop_TN + log_continue_TN, zero_1N])
    return (log_reach_TN + log_stop_TN).exp().T


def compute_even_halting(n_exits: int) -> Tensor:
    """Returns the log-odds of stopping at each exit that give every exit the same probability.

    >>> compute_halting(compute_even_halting(4)[None])
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    later_exits = reversed(range(n_exits))
    return torch.tensor([-math.log(max(later, 1)) for later in later_exits])


def parse_axes(name: str) -> str:
    """Returns the letters of a parameter's axes.

    >>> parse_axes("inner_HD"), parse_axes("inner_bias_H"), parse_axes("bias")
    ('HD', 'H', '')
    """
    last = name.rpartition("_")[2]
    return last if last.isupper() or last.isdigit() else ""


def is_weight(name: str) -> bool:
    """Whether a parameter with this name is a weight, so that its elements are edges.

    >>> is_weight("inner_HD"), is_weight("inner_bias_H"), is_weight("gate_choice_BG")
    (True, False, False)
    """
    return not _strip_axes(name).endswith(("bias", "choice"))


def is_choice(name: str) -> bool:
    """Whether a parameter with this name holds the log-odds of choices among its last axis.

    >>> is_choice("gate_choice_BG"), is_choice("inner_HD")
    (True, False)
    """
    return _strip_axes(name).endswith("choice")


def _strip_axes(name: str) -> str:
    return name.removesuffix("_" + parse_axes(name))


def find_unit_axes(name: str) -> dict[str, int]:
    """Returns the axes of a weight that are units, each with its position. Levels are not units,
    because halting decides about levels.

    >>> find_unit_axes("inner_HD"), find_unit_axes("weight_L2D"), find_unit_axes("inner_bias_H")
    ({'H': 0, 'D': 1}, {'D': 2}, {})
    """
    if not is_weight(name):
        return {}
    axes = enumerate(parse_axes(name))
    return {letter: i for i, letter in axes if letter.isalpha() and letter != "L"}


def count_units(reporter: Reporter, n_levels: int) -> dict[str, int]:
    """Returns the number of units of each axis of a whole head, and under L the number of levels
    that it is given.
    """
    sizes: dict[str, int] = {}
    for name, value in reporter.named_parameters():
        sizes |= zip(parse_axes(name), value.shape, strict=True)
    letters = {letter: size for letter, size in sizes.items() if letter.isalpha()}
    return letters | {"L": n_levels}


def find_missing_weights(reporter: Reporter) -> str | None:
    """Returns "weights" if a reporter has none, else None: what `Prior.lacks` returns for a prior
    that charges weights.
    """
    has_weights = any(is_weight(name) for name, _ in reporter.named_parameters())
    return None if has_weights else "weights"
