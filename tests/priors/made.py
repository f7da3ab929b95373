"""Every prior that has a YAML, and a head in training for it to charge.   Not a test: what tests are made of."""

import torch
from torch import Tensor
from torch.func import functional_call

from configs import build
from priors.prior import Prior, Training
from reporters.reporter import Reading, Reporter
from reporters.stack import Weights
from tests.reporters.made import CONFIGS, choice

PRIORS = sorted(path.stem for path in (CONFIGS / "prior").glob("*.yaml"))
FLOPS_STEP, EXAMPLES = 1000.0, 500


def prior_of(name: str) -> Prior:
    return build(choice("prior", name), "prior")


def noise_for(prior: Prior, weights: Weights, seed: int = 0) -> list[Weights]:
    """Returns as many uniform draws of every parameter as the prior wants."""
    chance = torch.Generator().manual_seed(seed)
    return [{name: torch.rand(value.shape, generator=chance).to(value) for name, value in weights.items()} for _ in range(prior.draws)]


def training(weights: Weights, state: Weights, reading: Reading | None = None, n_examples: int = EXAMPLES) -> Training:
    """Returns what a charge may depend on; reaching the first level is free, and each level after it is one step."""
    reading = reading or said([[1.0]], [1])
    flops_T = (reading.levels_T - 1) * FLOPS_STEP + reading.flops_T
    return Training(weights, state, reading, flops_T, FLOPS_STEP, n_examples)


def said(halt: list[list[float]], levels: list[int]) -> Reading:
    """Returns the reading of a head that says 0 at every exit, spends nothing itself, and halts as told."""
    halt_NT = torch.tensor(halt)
    return Reading(torch.zeros_like(halt_NT), halt_NT, torch.tensor(levels).float(), torch.zeros(len(levels)))


def in_training(reporter: Reporter, prior: Prior, weights: Weights, state: Weights, noise: list[Weights], z_NLD: Tensor) -> Training:
    """Returns a head as its prior sees it in one step of training."""
    return training(weights, state, functional_call(reporter, prior.transform(weights, state, noise), (z_NLD,)))
