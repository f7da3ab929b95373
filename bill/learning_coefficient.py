"""The local learning coefficient: half the parameters that a finished head effectively has. A
diagnostic, never a charge.

K = G · S · M heads; C: chains, U: steps, N: episodes, B: episodes of a batch, R: levels that a head
reads, D: width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from bill.finished import FinishedHeads
from bill.measure import Item, Measure
from console.ranges import Episodes, NotNegative, Range, Seed
from reporters.adam import compute_gradients
from reporters.reporter import Reporter
from reporters.stack import Weights

DRIFT, SHARE = 3.0, 0.1
"""The second and the last third of a settled trace differ by no more than this many standard
errors, or by no more than this share of the value.
"""
SPLIT = 1.1
"""Largest split R-hat of a settled trace."""


class Estimate(NamedTuple):
    """The estimate for each of K heads."""

    value_K: Tensor
    """The local learning coefficient; ½ for each parameter of a regular model."""
    settled_K: Tensor
    """Whether the chains no longer depend on where they started; if not, the value is too small."""
    error_K: Tensor
    """Standard error of the value over chains."""


@dataclass(frozen=True)
class LearningCoefficient(Measure):
    """learning_coefficient = n·beta · (E[L] − L(w*)), with n·beta = n / ln n and L in nats an
    episode.

    Lau et al. (2023), "Quantifying degeneracy in singular models via the learning coefficient";
    Watanabe (2013), "A widely applicable Bayesian information criterion". The expectation is over
    exp(−n·beta·L(w) − ½ pull |w − w*|²), sampled by stochastic gradient Langevin dynamics (Welling
    and Teh 2011) without the first third of the steps. z is standardised, and the finished weights
    w* must be at a minimum of L, as those of heads without a prior.

    All chains of all heads share each step's batch B, and all heads share a chain's noise: a head
    alone is measured as among others. The trace is L_B(w) − L_B(w*), and gradients too are taken
    relative to w*: L_B'(w) − L_B'(w*) + L'(w*) (Baker et al. 2019, "Control variates for stochastic
    gradient MCMC"). On logistic regressions with n = 4,096 the variance of the gradient's step is
    then 0.5% of that of the noise put in; without it, 5%. `error_K`, which compares chains, does
    not hold the error from the batches that they share.

    Args:
        step: step size ε of w ← w − ½ ε gradient + √ε noise.
        steps: steps of a chain, at least 30.
        chains: chains of each head, at least 2.
        pull: precision of the Gaussian about w* that keeps a chain near.
        batch: episodes of a step; all of them if there are no more.
        seed: of batches and noise.
    """

    step: Annotated[float, Range(above=0, most=1)]
    steps: Annotated[int, Range(30, 1_000_000)]
    chains: Annotated[int, Range(2, 1000)]
    pull: NotNegative
    batch: Episodes
    seed: Seed

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        estimate = self.estimate(heads)
        value = (
            "half the effective parameters; Langevin dynamics about the finished head on the"
            " training episodes, a diagnostic; valid only where it has settled"
        )
        settled = "1 or 0; drift and split R-hat of the chains' traces"
        return {
            "learning_coefficient": Item(estimate.value_K, value),
            "learning_coefficient_settled": Item(estimate.settled_K.double(), settled),
        }

    def estimate(self, heads: FinishedHeads) -> Estimate:
        """Returns the estimate for every head."""
        n = len(heads.human_N)
        traces = []
        # Heads of one group read the same activations: one product for all their chains.
        for g, z_NRD in enumerate(heads.z_GNRD):
            weights = {}
            for name, value in heads.weights.items():
                weights[name] = value[g].flatten(0, 1).detach()
            traces.append(self._sample(heads.reporter, weights, z_NRD, heads.human_N))
        return summarise(n / math.log(n) * torch.cat(traces))

    def _sample(
        self, reporter: Reporter, weights: Weights, z_NRD: Tensor, human_N: Tensor
    ) -> Tensor:
        """Returns how much larger each chain's error is than at its start, on the batch of each
        step, in nats an episode, shape (K, C, U).
        """
        rng = torch.Generator().manual_seed(self.seed)
        n = len(human_N)

        def compute_error(weights: Weights, z_BRD: Tensor, human_B: Tensor) -> Tensor:
            reading = functional_call(reporter, weights, (z_BRD,))
            return reading.errors_N(human_B).mean()

        over_heads = vmap(compute_error, (0, None, None))
        compute_errors = vmap(over_heads, (0, None, None))
        chains = {}
        for name, value in weights.items():
            # One more than the chains: the last stays at w*.
            copies = value.expand(self.chains + 1, *value.shape)
            chains[name] = copies.clone().requires_grad_()
        whole = {name: torch.zeros_like(value) for name, value in weights.items()}
        for z_BRD, human_B in zip(z_NRD.split(self.batch), human_N.split(self.batch), strict=True):
            start = {name: value[-1:].detach().requires_grad_() for name, value in chains.items()}
            gradients = compute_gradients(start, compute_errors(start, z_BRD, human_B))
            for name, gradient in gradients.items():
                whole[name] += gradient[0] * len(human_B) / n

        trace = []
        for _ in range(self.steps):
            chosen_B = torch.randperm(n, generator=rng)[: self.batch].to(z_NRD.device)
            errors_CK = compute_errors(chains, z_NRD[chosen_B], human_N[chosen_B])
            trace.append((errors_CK[:-1] - errors_CK[-1:]).detach().T)
            for name, gradient in compute_gradients(chains, errors_CK).items():
                # The same memory: what changes it in place moves the chains.
                value = chains[name].detach()[:-1]
                shape = (self.chains, *value.shape[2:])
                noise = torch.randn(shape, generator=rng, dtype=value.dtype).to(value.device)
                from_start = gradient[:-1] - gradient[-1:] + whole[name]
                pulled = n / math.log(n) * from_start + self.pull * (value - weights[name])
                value -= self.step / 2 * pulled - math.sqrt(self.step) * noise[:, None]
        return torch.stack(trace, dim=2)


def summarise(trace_KCU: Tensor) -> Estimate:
    """Returns the mean of each head's traces after their first third, and whether they have settled
    there.

    A trace has settled if the second and the last third differ by little, or by no more than chance
    explains, and if the split R-hat (Gelman et al. 2013), whose halves are each chain's two thirds,
    is near 1. Traces that climb alike fail the first test, chains that part fail the second.
    """
    third = trace_KCU.shape[2] // 3
    middle_KCU, last_KCU = trace_KCU[..., -2 * third : -third], trace_KCU[..., -third:]
    mean_KC = trace_KCU[..., -2 * third :].mean(dim=2)
    root_of_chains = math.sqrt(mean_KC.shape[1])
    value_K = mean_KC.mean(dim=1)

    drift_KC = last_KCU.mean(dim=2) - middle_KCU.mean(dim=2)
    drift_K = drift_KC.mean(dim=1).abs()
    beyond_chance_K = drift_K > DRIFT * drift_KC.std(dim=1) / root_of_chains
    drifts_K = beyond_chance_K & (drift_K > SHARE * value_K.abs())

    halves_KCU = torch.cat([middle_KCU, last_KCU], dim=1)
    within_K = halves_KCU.var(dim=2).mean(dim=1)
    between_K = halves_KCU.mean(dim=2).var(dim=1)
    r_hat_K = ((third - 1) / third + between_K / within_K).sqrt()
    settled_K = ~drifts_K & (r_hat_K < SPLIT)
    return Estimate(value_K, settled_K, mean_KC.std(dim=1) / root_of_chains)
