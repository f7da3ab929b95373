"""Every prior that has a YAML, and a head in training for it to charge.   Helpers of the tests."""

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
from tests.reporters.made import CONFIGS, load_choice

PRIORS = sorted(path.stem for path in (CONFIGS / "prior").glob("*.yaml"))
FLOPS_STEP, EXAMPLES, COMPONENTS = 1000.0, 500, 3
NO_AID = Aid()


def build_prior(name: str) -> Prior:
    return build(load_choice("prior", name), "prior")


class Spending(Linear):
    """A head that spends the same number of FLOPs more at every exit after the first."""

    def __init__(self, flops_per_exit: float, n_exits: int) -> None:
        super().__init__(1, 1)
        self.flops_per_exit = flops_per_exit
        self.n_exits = n_exits

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [self.flops_per_exit * exit for exit in range(self.n_exits)]


def draw_noise(prior: Prior, weights: Weights, seed: int = 0, aid: Aid = NO_AID) -> Weights:
    """Returns uniform numbers for the prior's own state."""
    rng = torch.Generator().manual_seed(seed)
    state = prior.state(weights, aid)
    return {name: torch.rand(value.shape, generator=rng).to(value) for name, value in state.items()}


def build_reading(halt: list[list[float]], levels: list[int]) -> Reading:
    """Returns the reading of a head with log-odds 0 at every exit and these halting
    probabilities.
    """
    halt_NT = torch.tensor(halt)
    return Reading(torch.zeros_like(halt_NT), halt_NT, torch.tensor(levels).float())


def build_training(
    weights: Weights,
    state: Weights,
    reading: Reading | None = None,
    n_examples: int = EXAMPLES,
    flops_per_exit: float = 0.0,
) -> Training:
    """Returns the arguments of a charge. The first level is free, and each later level is one step
    of the predictor.
    """
    reading = reading or build_reading([[1.0]], [1])
    reach_T = (reading.levels_T - 1) * FLOPS_STEP
    return Training(
        reporter=Spending(flops_per_exit, len(reach_T)),
        weights=weights,
        state=state,
        noise={},
        used=weights,
        z_NLD=torch.zeros(1, 1, 1),
        reading=reading,
        reach_T=reach_T,
        flops_step=FLOPS_STEP,
        n_examples=n_examples,
        aid=NO_AID,
    )


def build_finished(
    reporter: Reporter, weights: Weights, z_NLD: Tensor, aid: Aid = NO_AID, n_examples: int = 500
) -> Training:
    """Returns the arguments of a charge for a reporter under a prior without state."""
    return Training(
        reporter=reporter,
        weights=weights,
        state={},
        noise={},
        used=weights,
        z_NLD=z_NLD,
        reading=functional_call(reporter, weights, (z_NLD,)),
        reach_T=torch.zeros(1),
        flops_step=1.0,
        n_examples=n_examples,
        aid=aid,
    )


def build_step(
    reporter: Reporter,
    prior: Prior,
    weights: Weights,
    state: Weights,
    noise: Weights,
    z_NLD: Tensor,
) -> Training:
    """Returns the arguments of a charge in one step of training, with everything that any prior may
    use.
    """
    used = prior.transform(weights, state, noise)
    reading = functional_call(reporter, used, (z_NLD,))
    return Training(
        reporter=reporter,
        weights=weights,
        state=state,
        noise=noise,
        used=used,
        z_NLD=z_NLD,
        reading=reading,
        reach_T=(reading.levels_T - 1) * FLOPS_STEP,
        flops_step=FLOPS_STEP,
        n_examples=EXAMPLES,
        aid=build_aid(z_NLD),
    )


def build_aid(z_NLD: Tensor) -> Aid:
    """Returns everything that a prior may use: a direction of the observation, pairs that differ in
    it, and a predictor of three components, each of which writes every third dimension.
    """
    write_LD = torch.zeros_like(z_NLD[0])
    write_LD[:, 0] = 1
    part_D = torch.arange(z_NLD.shape[2]) % COMPONENTS
    return Aid(
        observation_2LD=torch.stack([write_LD, write_LD]),
        pairs_2PLD=torch.stack([z_NLD - write_LD, z_NLD + write_LD]),
        components=COMPONENTS,
        ablated=lambda n, gates_C: z_NLD[:n] * gates_C[part_D],
    )
