"""Variational bits of a finished head: the precision that its numbers need for its reports.

N: episodes, B: episodes of a batch, L: levels, R: levels that a head reads, D: width; G, S, M: axes
of the stack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from bill.finished import FinishedHeads
from bill.measure import Item, Measure
from bill.naming import count_subset_bits
from console.ranges import Count, Episodes, Range
from priors.simplicity import SCALE_BITS
from reporters.adam import minimise_with_adam
from reporters.code_lengths import count_choice_bits
from reporters.reporter import is_choice, is_weight, nll
from reporters.stack import Weights, map_over_heads

START = 0.2
"""Every parameter's standard deviation at the start, in units of its tensor's root mean square."""
FACTORS = (1.0, 0.5, 0.25)
"""The fitted standard deviations are multiplied with one of these, whichever makes the code
shortest. Where few numbers matter, errors are rare and large, and descent overshoots.
"""
AXES = (0, 0, 0, None, 0, None), (0, 0, 0, None, None, None), (0, 0, 0, None, None, None)
"""Which arguments of a function of one head have the axes G, S and M: log sigma, the weights, which
of them are free, and along G what a head reads; not the noise, and not the human's answers.
"""


class VariationalCode(NamedTuple):
    """A variational code of a head and of the training labels, in bits, each of shape (G, S, M)."""

    total: Tensor
    """Of the head and of its errors."""
    model: Tensor
    """Of the head alone."""


@dataclass(frozen=True)
class Variational(Measure):
    """variational_bits = KL(q, prior) + errors of heads drawn from q (Hinton and van Camp 1993).

    q = N(w, sigma²) about the finished head's own parameters w; sigma is fitted, w is not. The
    prior is N(0, s²) for each tensor, with s at its optimum and 6 bits to name it. Parameters that
    are 0 are named as such and cost no more; a choice is named among all that the head could have
    made. The code is an upper bound, and close for heads that were trained under `simplicity`:
    others have not been pushed to where rough numbers are enough.

    Args:
        steps: steps of Adam on log sigma.
        rate: their learning rate at the start.
        batch: episodes of a step, at most.
        samples: draws from q from which the errors are measured.
    """

    steps: Count
    rate: Annotated[float, Range(above=0, most=10)]
    batch: Episodes
    samples: Count

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        code = self.encode(heads)
        total = (
            "bits; variational code of the training labels about the finished head; the fitted"
            " scales are paid for"
        )
        model = "bits; the head's part of the variational code"
        return {
            "variational_bits": Item(code.total.flatten(), total),
            "variational_model_bits": Item(code.model.flatten(), model),
        }

    def encode(self, heads: FinishedHeads) -> VariationalCode:
        """Returns the code of every head."""
        rng = torch.Generator().manual_seed(0)
        weights = heads.weights
        free = {}
        for name, value in weights.items():
            free[name] = (value != 0).to(value) * (not is_choice(name))
        log_sigma = self._fit(heads, free, rng)
        noises = [_draw_noise(weights, rng) for _ in range(self.samples)]
        with torch.no_grad():
            codes = []
            for factor in FACTORS:
                finer = {name: value + math.log(factor) for name, value in log_sigma.items()}
                codes.append(_compute_code(heads, finer, free, noises))
            total_GSM, shortest_GSM = torch.stack([code.total for code in codes]).min(dim=0)
            models = torch.stack([code.model for code in codes])
            model_GSM = models.gather(0, shortest_GSM[None])[0]
            naming_GSM = _count_naming_bits(heads, free)
        return VariationalCode(total_GSM + naming_GSM, model_GSM + naming_GSM)

    def _fit(self, heads: FinishedHeads, free: Weights, rng: torch.Generator) -> Weights:
        """Returns the log sigma of every parameter that makes the code shortest."""
        reporter, weights, human_N = heads.reporter, heads.weights, heads.human_N
        n = len(human_N)
        z_GNRD = heads.z_GNRD

        def compute_loss(
            log_sigma: Weights,
            weights: Weights,
            free: Weights,
            noise: Weights,
            z_BRD: Tensor,
            human_B: Tensor,
        ) -> Tensor:
            errors = []
            for sign in (1, -1):
                mirrored = {name: sign * value for name, value in noise.items()}
                drawn = _draw_head(log_sigma, weights, free, mirrored)
                reading = functional_call(reporter, drawn, (z_BRD,))
                errors.append(reading.errors_N(human_B).mean() / 2)
            return sum(errors) + _compute_kl(log_sigma, weights, free) / n

        losses_of = map_over_heads(compute_loss, *AXES)

        def compute_losses(log_sigma: Weights, step: int) -> Tensor:
            chosen_B = torch.randint(n, (min(self.batch, n),), generator=rng).to(human_N.device)
            noise = _draw_noise(weights, rng)
            batch = z_GNRD[:, chosen_B], human_N[chosen_B]
            return losses_of(log_sigma, weights, free, noise, *batch)

        start = {name: _choose_start(value) for name, value in weights.items()}
        return minimise_with_adam(start, compute_losses, self.steps, self.rate)


def _choose_start(value: Tensor) -> Tensor:
    """Returns where log sigma starts for a tensor with leading axes (G, S, M)."""
    grid = value.shape[:3]
    size_GSM = value.square().reshape(*grid, -1).mean(dim=3).sqrt().clamp_min(1e-3)
    start_GSM = (START * size_GSM).log()
    return start_GSM.reshape(*grid, *[1] * (value.dim() - 3)).expand_as(value).contiguous()


def _draw_noise(weights: Weights, rng: torch.Generator) -> Weights:
    """Returns one number a parameter, the same for every head: a head's bits do not depend on the
    other heads.
    """
    noise = {}
    for name, value in weights.items():
        noise[name] = torch.randn(value.shape[3:], generator=rng).to(value)
    return noise


def _draw_head(log_sigma: Weights, weights: Weights, free: Weights, noise: Weights) -> Weights:
    """Returns a head drawn from q."""
    drawn = {}
    for name, value in weights.items():
        drawn[name] = value + free[name] * log_sigma[name].exp() * noise[name]
    return drawn


def _compute_kl(log_sigma: Weights, weights: Weights, free: Weights) -> Tensor:
    """Returns KL(q, prior) and the scales' names of one head, in nats, over its free parameters."""
    parts = []
    for name, value in weights.items():
        if is_choice(name):
            continue
        sigma_squared = (2 * log_sigma[name]).exp()
        n = free[name].sum().clamp_min(1)
        square = (free[name] * (value.square() + sigma_squared)).sum() / n
        nats = (free[name] * (square.clamp_min(1e-30).log() / 2 - log_sigma[name])).sum()
        parts.append(nats + SCALE_BITS * math.log(2) * free[name].any())
    return torch.stack(parts).sum()


def _compute_code(
    heads: FinishedHeads, log_sigma: Weights, free: Weights, noises: list[Weights]
) -> VariationalCode:
    """Returns the code of every head at these log sigmas, without the names of its edges.

    Args:
        noises: the draws from q from which the errors are measured.
    """

    def count_errors(
        log_sigma: Weights,
        weights: Weights,
        free: Weights,
        noise: Weights,
        z_NRD: Tensor,
        human_N: Tensor,
    ) -> Tensor:
        drawn = _draw_head(log_sigma, weights, free, noise)
        log_odds_N = functional_call(heads.reporter, drawn, (z_NRD,)).log_odds_N
        return nll(log_odds_N, human_N).sum()

    errors_of = map_over_heads(count_errors, *AXES)
    errors = []
    for noise in noises:
        errors.append(errors_of(log_sigma, heads.weights, free, noise, heads.z_GNRD, heads.human_N))
    errors_GSM = torch.stack(errors).mean(dim=0)
    kl_GSM = map_over_heads(_compute_kl)(log_sigma, heads.weights, free)
    one_head = {name: value[0, 0, 0] for name, value in heads.weights.items()}
    model_GSM = kl_GSM / math.log(2) + count_choice_bits(one_head)
    return VariationalCode(errors_GSM / math.log(2) + model_GSM, model_GSM)


def _count_naming_bits(heads: FinishedHeads, free: Weights) -> Tensor:
    """Returns the bits that name every head's weights that are not 0, shape (G, S, M)."""
    edges = [value.flatten(3) for name, value in free.items() if is_weight(name)]
    if not edges:
        return torch.zeros(heads.grid)
    free_GSME = torch.cat(edges, dim=3)
    return count_subset_bits(free_GSME.shape[3], free_GSME.sum(dim=3))
