"""The local learning coefficient: how many parameters a finished head effectively has, halved. A
diagnostic, never a charge.

K = G · S · M heads; C: chains, U: steps, N: episodes, B: episodes of a batch, L: levels, D: width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from reporters.adam import slopes
from reporters.reporter import Reporter
from reporters.stack import Weights, grouped

DRIFT, SHARE = 3.0, 0.1
"""By how many standard errors, and by what share of the value, the last two thirds of a trace may
not differ both.
"""
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
    reporter: Reporter,
    weights: Weights,
    z_NLD: Tensor,
    human_N: Tensor,
    step: float,
    steps: int,
    chains: int,
    pull: float,
    seed: int,
    batch: int = 512,
) -> LearningCoefficient:
    """Returns n·beta · (E[L] − L(w*)) of a stack of finished heads with leading axes (G, S, M),
    where n·beta = n / ln n and L are nats an episode.

    Lau et al. (2023), "Quantifying degeneracy in singular models via the learning coefficient";
    Watanabe (2013), "A widely applicable Bayesian information criterion". The expectation is over
    exp(−n·beta·L(w) − ½ pull |w − w*|²), sampled by stochastic gradient Langevin dynamics (Welling
    and Teh 2011), the first third of the steps left out. z is standardised, and weights must be at
    a minimum of L, as those of heads without a prior.

    All chains of all heads share each step's batch B, and all heads a chain's noise: a head alone
    is measured as in company. The trace is L_B(w) − L_B(w*), and gradients too are told from w*:
    L_B'(w) − L_B'(w*) + L'(w*) (Baker et al. 2019, "Control variates for stochastic gradient
    MCMC"). On logistic regressions with n = 4,096 the variance of the gradient's step is then 0.5%
    of that of the noise put in, without it 5%. What the shared batches add to the error is not in
    `error_K`, which tells chains apart.

    Args:
        human_N: the human's answers, 0 or 1, float.
        step: step size ε of w ← w − ½ ε gradient + √ε noise.
        steps: steps of a chain, at least 30.
        chains: chains a head, at least 2.
        pull: precision of the Gaussian about w* that keeps a chain near.
        batch: episodes a step; all of them where there are no more.
    """
    flat = {name: value.flatten(0, 2).detach() for name, value in weights.items()}
    given_GNLD = grouped(z_NLD, reporter)
    group_K = torch.arange(len(given_GNLD)).repeat_interleave(
        len(next(iter(flat.values()))) // len(given_GNLD)
    )
    trace_KCU = []
    for g, z_NRD in enumerate(
        given_GNLD
    ):  # heads of one group share their activations: one product for all chains
        of_group = {name: value[group_K == g] for name, value in flat.items()}
        chance = torch.Generator().manual_seed(seed)
        trace_KCU.append(
            _sampled(reporter, of_group, z_NRD, human_N, step, steps, chains, pull, batch, chance)
        )
    return summed_up(len(human_N) / math.log(len(human_N)) * torch.cat(trace_KCU))


def summed_up(trace_KCU: Tensor) -> LearningCoefficient:
    """Returns the mean of each head's traces after their first third, and whether they have settled
    there.

    Settled: the second and the last third differ by little or by no more than chance would let
    them, and the split R-hat (Gelman et al. 2013), whose halves are each chain's two thirds, is
    near 1. Traces that climb alike fail the first, chains that part fail the second.
    """
    third = trace_KCU.shape[2] // 3
    middle_KCU, last_KCU = trace_KCU[..., -2 * third : -third], trace_KCU[..., -third:]
    drift_KC = last_KCU.mean(dim=2) - middle_KCU.mean(dim=2)
    mean_KC = trace_KCU[..., -2 * third :].mean(dim=2)
    chains = mean_KC.shape[1]
    drift_K, value_K = drift_KC.mean(dim=1).abs(), mean_KC.mean(dim=1)
    drifts_K = (drift_K > DRIFT * drift_KC.std(dim=1) / math.sqrt(chains)) & (
        drift_K > SHARE * value_K.abs()
    )
    halves_KPU = torch.cat([middle_KCU, last_KCU], dim=1)
    within_K, between_K = halves_KPU.var(dim=2).mean(dim=1), halves_KPU.mean(dim=2).var(dim=1)
    r_hat_K = ((third - 1) / third + between_K / within_K).sqrt()
    return LearningCoefficient(
        value_K, ~drifts_K & (r_hat_K < SPLIT), mean_KC.std(dim=1) / math.sqrt(chains)
    )


def _sampled(
    reporter: Reporter,
    weights: Weights,
    z_NRD: Tensor,
    human_N: Tensor,
    step: float,
    steps: int,
    chains: int,
    pull: float,
    batch: int,
    chance: torch.Generator,
) -> Tensor:
    """Returns how much more than where it began each chain errs at each step, on that step's batch,
    in nats an episode, shape (K, C, U).
    """

    def errors(one: Weights, z_BRD: Tensor, human_B: Tensor) -> Tensor:
        return functional_call(reporter, one, (z_BRD,)).errors_N(human_B).mean()

    of_all, n = vmap(vmap(errors, (0, None, None)), (0, None, None)), len(human_N)
    at = {
        name: value.expand(chains + 1, *value.shape).clone().requires_grad_()
        for name, value in weights.items()
    }  # the last one stays at w*
    whole = {name: torch.zeros_like(value) for name, value in weights.items()}
    for z_BRD, human_B in zip(z_NRD.split(batch), human_N.split(batch), strict=True):
        start = {name: value[-1:].detach().requires_grad_() for name, value in at.items()}
        for name, slope in slopes(start, of_all(start, z_BRD, human_B)).items():
            whole[name] += slope[0] * len(human_B) / n
    trace = []
    for _ in range(steps):
        batch_B = torch.randperm(n, generator=chance)[:batch].to(z_NRD.device)
        errors_CK = of_all(at, z_NRD[batch_B], human_N[batch_B])
        trace.append((errors_CK[:-1] - errors_CK[-1:]).detach().T)
        for name, slope in slopes(at, errors_CK).items():
            value = at[name].detach()[
                :-1
            ]  # the same numbers: what changes it in place moves the chains
            noise = torch.randn(chains, *value.shape[2:], generator=chance, dtype=value.dtype).to(
                value.device
            )
            pulled = n / math.log(n) * (slope[:-1] - slope[-1:] + whole[name]) + pull * (
                value - weights[name]
            )
            value -= step / 2 * pulled - math.sqrt(step) * noise[:, None]
    return torch.stack(trace, dim=2)
