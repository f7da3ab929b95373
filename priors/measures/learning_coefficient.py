"""The local learning coefficient: how many parameters a finished head effectively has, halved. A diagnostic, never a charge.

K = G · S · M heads; C: chains, U: steps kept, N: episodes, B: episodes of a batch, L: levels, D: width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F

from reporters.reporter import Reporter
from reporters.stack import Weights, grouped

DRIFT, SHARE = 3.0, 0.1
"""By how many standard errors, and by what share of the value, the last two thirds of a trace may not differ both."""
SPLIT = 1.1
"""Largest split R-hat of a settled trace."""


class LearningCoefficient(NamedTuple):
    """What was found of each of K heads."""

    value_K: Tensor
    """The local learning coefficient; ½ for each parameter of a regular model."""
    settled_K: Tensor
    """Whether the chains have forgotten where they began: if not, the value is too small."""
    error_K: Tensor
    """Standard error of the value over chains."""


def learning_coefficient(
    reporter: Reporter, weights: Weights, z_NLD: Tensor, human_N: Tensor, step: float, steps: int, chains: int, pull: float, seed: int
) -> LearningCoefficient:
    """Returns n·beta · (E[L] − L(w*)) of a stack of finished heads with leading axes (G, S, M), where n·beta = n / ln n and L are nats an episode.

    Lau et al. (2023), "Quantifying degeneracy in singular models via the learning coefficient"; Watanabe (2013), "A widely applicable Bayesian
    information criterion". The expectation is over exp(−n·beta·L(w) − ½ pull |w − w*|²), sampled by Langevin dynamics (Welling and Teh 2011) on all
    episodes, the first third of the steps left out. z is standardised, and weights must be at a minimum of L, as those of a head without a prior are.

    Args:
        human_N: the human's answers, 0 or 1, float.
        step: step size ε of w ← w − ½ ε gradient + √ε noise.
        steps: steps of a chain, at least 30.
        chains: chains a head, at least 2.
        pull: precision of the Gaussian about w* that keeps a chain near.
    """
    flat = {name: value.flatten(0, 2).detach() for name, value in weights.items()}
    given_GNLD = grouped(z_NLD, reporter)
    group_K = torch.arange(len(given_GNLD)).repeat_interleave(len(next(iter(flat.values()))) // len(given_GNLD))
    trace_KCU, best_K, chance = [], [], torch.Generator().manual_seed(seed)
    for g, z_NRD in enumerate(given_GNLD):  # heads of one group share their activations: one product for all chains
        of_group = {name: value[group_K == g] for name, value in flat.items()}
        trace, best = _sampled(reporter, of_group, z_NRD, human_N, step, steps, chains, pull, chance)
        trace_KCU.append(trace)
        best_K.append(best)
    scale = len(human_N) / math.log(len(human_N))
    return summed_up(scale * (torch.cat(trace_KCU) - torch.cat(best_K)[:, None, None]))


def summed_up(trace_KCU: Tensor) -> LearningCoefficient:
    """Returns the mean of each head's traces after their first third, and whether they have settled there.

    Settled: the second and the last third differ by little or by no more than chance would let them, and the split R-hat (Gelman et al. 2013), whose
    halves are each chain's two thirds, is near 1. Traces that climb alike fail the first, chains that part fail the second.
    """
    third = trace_KCU.shape[2] // 3
    middle_KCU, last_KCU = trace_KCU[..., -2 * third : -third], trace_KCU[..., -third:]
    drift_KC = last_KCU.mean(dim=2) - middle_KCU.mean(dim=2)
    mean_KC = trace_KCU[..., -2 * third :].mean(dim=2)
    chains = mean_KC.shape[1]
    drift_K, value_K = drift_KC.mean(dim=1).abs(), mean_KC.mean(dim=1)
    drifts_K = (drift_K > DRIFT * drift_KC.std(dim=1) / math.sqrt(chains)) & (drift_K > SHARE * value_K.abs())
    halves_KPU = torch.cat([middle_KCU, last_KCU], dim=1)
    within_K, between_K = halves_KPU.var(dim=2).mean(dim=1), halves_KPU.mean(dim=2).var(dim=1)
    r_hat_K = ((third - 1) / third + between_K / within_K).sqrt()
    return LearningCoefficient(value_K, ~drifts_K & (r_hat_K < SPLIT), mean_KC.std(dim=1) / math.sqrt(chains))


def _sampled(
    reporter: Reporter, weights: Weights, z_NRD: Tensor, human_N: Tensor, step: float, steps: int, chains: int, pull: float, chance: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Returns the errors along each chain, shape (K, C, U), and where the chains began, shape (K,), in nats an episode."""

    def errors(one: Weights) -> Tensor:
        reading = functional_call(reporter, one, (z_NRD,))
        log_odds_NT = reading.log_odds_NT
        return (reading.halt_NT * (F.softplus(log_odds_NT) - human_N[:, None] * log_odds_NT)).sum(dim=1).mean()

    slopes = vmap(vmap(grad_and_value(errors)))
    scale = len(human_N) / math.log(len(human_N))
    start = {name: value[:, None].expand(-1, chains, *value.shape[1:]) for name, value in weights.items()}
    at, trace = start, []
    with torch.no_grad():
        for _ in range(steps):
            slope, errors_KC = slopes(at)
            trace.append(errors_KC)
            at = {
                name: value
                - step / 2 * (scale * slope[name] + pull * (value - start[name]))
                + math.sqrt(step) * torch.randn(value.shape, generator=chance, dtype=value.dtype)
                for name, value in at.items()
            }
    return torch.stack(trace, dim=2), trace[0][:, 0]
