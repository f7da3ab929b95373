"""Every prior that has a YAML, and a head in training for it to charge.   Not a test: what tests
are made of.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from configs.build import build
from priors.prior import Aid, Prior, Training
from reporters.linear import Linear
from reporters.reporter import Reading, Reporter
from reporters.stack import Weights
from tests.reporters.made import CONFIGS, choice

PRIORS = sorted(path.stem for path in (CONFIGS / "prior").glob("*.yaml"))
FLOPS_STEP, EXAMPLES, COMPONENTS = 1000.0, 500, 3
NO_AID = Aid()


def prior_of(name: str) -> Prior:
    return build(choice("prior", name), "prior")


class Spending(Linear):
    """A head that spends so many FLOPs more at every exit after the first."""

    def __init__(self, spends: float, exits: int) -> None:
        super().__init__(1, 1)
        self.spends, self.exits = spends, exits

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [self.spends * exit for exit in range(self.exits)]


def noise_for(prior: Prior, weights: Weights, seed: int = 0, aid: Aid = NO_AID) -> Weights:
    """Returns a uniform draw for the prior's own state."""
    chance = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=chance).to(value)
        for name, value in prior.state(weights, aid).items()
    }


def training(
    weights: Weights,
    state: Weights,
    reading: Reading | None = None,
    n_examples: int = EXAMPLES,
    spends: float = 0.0,
) -> Training:
    """Returns what a charge may depend on; reaching the first level is free, and each level after
    it is one step.
    """
    reading = reading or said([[1.0]], [1])
    reach_T = (reading.levels_T - 1) * FLOPS_STEP
    return Training(
        Spending(spends, len(reach_T)),
        weights,
        state,
        {},
        weights,
        torch.zeros(1, 1, 1),
        reading,
        reach_T,
        FLOPS_STEP,
        n_examples,
        NO_AID,
    )


def said(halt: list[list[float]], levels: list[int]) -> Reading:
    """Returns the reading of a head that says 0 at every exit and halts as told."""
    halt_NT = torch.tensor(halt)
    return Reading(torch.zeros_like(halt_NT), halt_NT, torch.tensor(levels).float())


def in_training(
    reporter: Reporter,
    prior: Prior,
    weights: Weights,
    state: Weights,
    noise: Weights,
    z_NLD: Tensor,
) -> Training:
    """Returns a head as its prior sees it in one step of training, with all that any prior may ask
    for.
    """
    used = prior.transform(weights, state, noise)
    reading = functional_call(reporter, used, (z_NLD,))
    reach_T = (reading.levels_T - 1) * FLOPS_STEP
    return Training(
        reporter,
        weights,
        state,
        noise,
        used,
        z_NLD,
        reading,
        reach_T,
        FLOPS_STEP,
        EXAMPLES,
        aid(z_NLD),
    )


def aid(z_NLD: Tensor) -> Aid:
    """Returns what any prior may ask for: a direction of the observation, pairs that differ in it,
    and a predictor of three components, each of which writes every third dimension.
    """
    write_LD = torch.zeros_like(z_NLD[0])
    write_LD[:, 0] = 1
    part_D = torch.arange(z_NLD.shape[2]) % COMPONENTS
    return Aid(
        torch.stack([write_LD, write_LD]),
        torch.stack([z_NLD - write_LD, z_NLD + write_LD]),
        COMPONENTS,
        lambda n, gates_C: z_NLD[:n] * gates_C[part_D],
    )
