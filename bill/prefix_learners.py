"""Learners of a reporter's architecture, each fitted to a prefix of the training episodes.

K: heads, N: episodes, R: levels that a head reads, D: width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from reporters.adam import minimise_with_adam
from reporters.reporter import ClosedForm, Reporter, is_weight
from reporters.stack import Weights

NO_SOLUTION = (ArithmeticError, LookupError, RuntimeError, ValueError)
"""What a reporter in closed form may raise where episodes are too few, or answers all the same."""


@dataclass(frozen=True)
class PrefixLearners:
    """Learners for K heads, each with the live edges of its head and no others.

    They are fitted by Adam, on all episodes of a prefix at once, under a Gaussian prior on their
    weights. A reporter in closed form is solved for.

    Args:
        reporter: its own parameters are where every learner starts.
        steps: steps of Adam.
        rate: their learning rate at the start, in standard deviations of the prior.
        scale: the prior's standard deviation where a unit has one live edge in. With k of them it
            is scale / √k, so that a unit's input varies as much whatever their number.
    """

    reporter: Reporter
    steps: int
    rate: float
    scale: float

    def fit(
        self, masks: Weights, heads: int, z_NRD: Tensor, human_N: Tensor, ends: list[int]
    ) -> list[Weights]:
        """Returns the learners of each prefix, with leading axis K.

        Args:
            masks: 1 where a weight is a live edge, else 0, with leading axis K.
            heads: K.
            ends: where the prefixes end. All of them are fitted as one batch.
        """
        if isinstance(self.reporter, ClosedForm):
            return [self._solve(masks, heads, z_NRD[:end], human_N[:end]) for end in ends]

        z_NRD, human_N = z_NRD[: max(ends)], human_N[: max(ends)]
        lengths = torch.tensor(ends, device=z_NRD.device)
        in_prefix = torch.arange(max(ends), device=z_NRD.device) < lengths[:, None]
        shares = (in_prefix / lengths[:, None]).to(z_NRD)
        scales = self._compute_scales(masks, heads)
        start = {}
        for name, value in self.reporter.named_parameters():
            parameter = value.detach().expand(heads, *value.shape) * masks.get(name, 1)
            in_scales = parameter / scales[name].clamp_min(1e-9)
            start[name] = in_scales.expand(len(ends), *parameter.shape)

        def compute_loss(
            weights: Weights, scales: Weights, share_N: Tensor, length: Tensor
        ) -> Tensor:
            scaled = {name: value * scales[name] for name, value in weights.items()}
            reading = functional_call(self.reporter, scaled, (z_NRD,))
            squares = sum(v.square().sum() for name, v in weights.items() if is_weight(name))
            return (share_N * reading.errors_N(human_N)).sum() + squares / (2 * length)

        over_heads = vmap(compute_loss, in_dims=(0, 0, None, None))
        over_prefixes = vmap(over_heads, in_dims=(0, None, 0, 0))

        def compute_losses(weights: Weights, step: int) -> Tensor:
            return over_prefixes(weights, scales, shares, lengths)

        fitted = minimise_with_adam(start, compute_losses, self.steps, self.rate)
        learners = []
        for p in range(len(ends)):
            learners.append({name: value[p] * scales[name] for name, value in fitted.items()})
        return learners

    def _solve(self, masks: Weights, heads: int, z_NRD: Tensor, human_N: Tensor) -> Weights:
        """Returns the learners of one prefix of a reporter in closed form; NaN where it has no
        solution for so few episodes.
        """
        assert isinstance(self.reporter, ClosedForm)
        try:
            solution = self.reporter.solve(z_NRD, human_N)
        except NO_SOLUTION:
            solution = {}
        learners = {}
        for name, parameter in self.reporter.named_parameters():
            value = solution.get(name)
            if value is None or value.shape != parameter.shape:
                value = torch.full_like(parameter, math.nan, requires_grad=False)
            learners[name] = value.expand(heads, *value.shape) * masks.get(name, 1)
        return learners

    def _compute_scales(self, masks: Weights, heads: int) -> Weights:
        """Returns the prior's standard deviation of each parameter of K heads: of a weight 0 where
        no edge is live, else by the mean number of live edges into a unit; of any other 1.
        """
        scales = {}
        for name, value in self.reporter.named_parameters():
            if name not in masks:
                scales[name] = value.new_ones((heads, *value.shape))
                continue
            mask = masks[name]
            edges_K = mask.flatten(1).sum(dim=1)
            units_K = mask.flatten(1, -2).any(dim=2).sum(dim=1)
            edges_in_K = (edges_K / units_K.clamp_min(1)).clamp_min(1)
            scale_K = self.scale * edges_in_K.rsqrt()
            scales[name] = mask * scale_K.view(-1, *[1] * (mask.dim() - 1))
        return scales
