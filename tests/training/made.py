"""Planted concepts, and populations trained on them.   Not a test: what tests are made of.

K: heads, N: episodes, L: levels, D: width.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs import build
from core_model.fitting import Fitting
from priors.prior import Prior
from reporters.reporter import Reporter
from tests.reporters.made import choice
from training.heads import Heads
from training.population import Examples, Schedule, train

FLOPS_STEP = 1000.0
"""FLOPs of one block of the predictor, an episode; level 0 is free."""


def planted(n: int, inputs: int, width: int = 64, levels: int = 1, at: int = 0, noise: float = 0.0, seed: int = 0) -> Examples:
    """Returns standard normal activations, of which the first `inputs` of one level say what the human answers: whether their sum is above 0.

    Args:
        at: the place of that level.
        noise: standard deviation, in units of one input, of what else the answers depend on.
    """
    chance = torch.Generator().manual_seed(seed)
    z_NLD = torch.randn(n, levels, width, generator=chance)
    return Examples(z_NLD, (z_NLD[:, at, :inputs].sum(dim=1) + noise * torch.randn(n, generator=chance) > 0).float())


def schedule(**changed: Any) -> Schedule:
    """Returns the default schedule, some of its values changed."""
    return replace(build(choice("training", "default"), "training"), **changed)


def population(
    fitting: Fitting,
    checkpoint: Path,
    make: Callable[..., Reporter],
    prior: Prior,
    examples: Examples,
    held_out: Examples,
    levels: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    strengths: Sequence[float] = (1.0,),
    **changed: Any,
) -> Heads:
    """Returns a trained population; the keywords that remain change the default schedule."""
    levels = range(examples.z_NLD.shape[1]) if levels is None else levels
    return train(
        make=lambda n_levels, width: make(n_levels=n_levels, width=width),
        prior=prior,
        examples=examples,
        held_out=held_out,
        levels=levels,
        flops_L=torch.tensor([level * FLOPS_STEP for level in levels], dtype=torch.float64),
        flops_step=FLOPS_STEP,
        seeds=seeds,
        strengths=strengths,
        schedule=schedule(**changed),
        fitting=fitting,
        checkpoint=checkpoint,
    )


def accuracy(heads: Heads, examples: Examples) -> Tensor:
    """Returns the share of episodes on which each head says what the human answers, shape (K,)."""
    return ((heads.read(examples.z_NLD).log_odds_KN > 0) == examples.human_N.bool()).double().mean(dim=1)
