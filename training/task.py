"""What the heads of a population are found from, and what is found.

G: groups of levels, S: seeds, M: strengths; L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from console.errors import UserError
from reporters.reporter import Reporter, is_weight
from reporters.stack import Weights, repeat_over_grid
from training.examples import Examples
from training.heads import Heads, make_reporter
from training.objective import Objective
from training.settling import Settling


class Solution(NamedTuple):
    """Finished heads, with leading axes (G, S, M)."""

    weights: Weights
    nll_GSM: Tensor
    """Nats an episode of error on held-out easy episodes."""
    epoch_GSM: Tensor
    """The epochs of training after which they had these weights; 0 where they were not trained."""
    total_GSM: Tensor
    """Nats of the whole training set: errors and charge. NaN where it is not known."""
    gain_GSM: Tensor
    """What training each head further would bring, in the same unit. NaN where it is not known."""


@dataclass(frozen=True)
class Task:
    """What the heads of a population, or of a part of one, are found from."""

    make: Callable[[int, int], Reporter]
    """From a number of levels and a width to a reporter."""
    objective: Objective
    examples: Examples
    """Standardised training episodes."""
    mean_LD: Tensor
    """What activations are standardised with: the mean, and below the standard deviation; of all
    predictors, one after the other.
    """
    std_LD: Tensor
    levels: tuple[int, ...]
    """The levels that are read of each predictor."""
    seeds: tuple[int, ...]
    strengths: tuple[float, ...]
    initial_scale: float = 1.0
    """Factor of the weights before training."""
    negated_NLD: Tensor | None = None
    """Standardised activations of the negations of the training episodes, for heads that need
    them.
    """
    answer_LD: Tensor | None = None
    """The direction of each predictor's own answer in standardised coordinates, for heads that need
    it.
    """
    start: Weights | None = None
    """The weights before training, with axes (G, S, M, ...); None draws those of the seeds."""

    @property
    def grid(self) -> tuple[int, int, int]:
        """How many groups, seeds and strengths there are."""
        return len(self.objective.reach_GR), len(self.seeds), len(self.strengths)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many levels of a predictor a reporter can be given, and their width."""
        n_levels, width = self.mean_LD.shape
        return n_levels // self.objective.predictors, width

    @property
    def z_GNRD(self) -> Tensor:
        """The activations of the training episodes that each group of heads is given."""
        return self.objective.group(self.examples.z_NLD)

    @property
    def strength_M(self) -> Tensor:
        """The strengths as a tensor."""
        return torch.tensor(self.strengths, dtype=torch.float32)

    def select(self, seeds: Sequence[int], strengths: Sequence[int]) -> Task:
        """Returns the task of some of the heads.

        Args:
            seeds: places of their seeds.
            strengths: places of their strengths.
        """
        start = self.start
        if start is not None:
            s, m = list(seeds), list(strengths)
            start = {name: value[:, s][:, :, m] for name, value in start.items()}
        return replace(
            self,
            seeds=tuple(self.seeds[s] for s in seeds),
            strengths=tuple(self.strengths[m] for m in strengths),
            start=start,
        )

    def draw_start(self) -> Weights:
        """Returns the weights before training, with axes (G, S, M, ...): those given, or one draw a
        seed.
        """
        if self.start is not None:
            names = [name for name, _ in self.objective.reporter.named_parameters()]
            return {name: self.start[name].clone() for name in names}
        heads = []
        for seed in self.seeds:
            reporter = draw_reporter(self.make, seed, *self.sizes)
            heads.append(dict(reporter.named_parameters()))
        start = {}
        for name in heads[0]:
            value_S = torch.stack([head[name] for head in heads])
            if is_weight(name):
                value_S = self.initial_scale * value_S
            start[name] = repeat_over_grid(value_S, self.grid)
        return start

    def build_heads(
        self, weights: Weights, nll_GSM: Tensor, settling: Settling | None = None
    ) -> Heads:
        """Returns heads with these weights, with axes (G, S, M, ...). Names are sorted, so that
        their order does not depend on how heads are found.
        """
        return Heads(
            self.objective.reporter,
            {name: weights[name].detach().cpu() for name in sorted(weights)},
            self.mean_LD,
            self.std_LD,
            self.levels,
            self.seeds,
            self.strengths,
            nll_GSM.cpu().flatten(),
            settling,
            self.objective.predictors,
        )


def draw_reporter(
    make: Callable[[int, int], Reporter], seed: int, n_levels: int, width: int
) -> Reporter:
    """Returns a reporter with the initial parameters of a seed."""
    with torch.random.fork_rng(devices=()):
        # torch.manual_seed takes half a millisecond, because it asks every kind of device.
        torch.default_generator.manual_seed(seed)
        return make_reporter(make, n_levels, width)


def check_buffers(make: Callable[[int, int], Reporter], n_levels: int, width: int) -> None:
    """Raises UserError where a reporter draws a buffer at random: all heads share their buffers."""
    first = draw_reporter(make, 0, n_levels, width)
    buffers = dict(first.named_buffers())
    if not buffers:
        return
    second = dict(draw_reporter(make, 1, n_levels, width).named_buffers())
    for name, value in buffers.items():
        if not torch.equal(value, second[name]):
            kind = type(first).__name__
            raise UserError(
                f"reporter: {kind}'s buffer {name} is drawn at random, and all heads share their"
                " buffers. Make it an nn.Parameter, or draw it with a generator of its own."
            )
