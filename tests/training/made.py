"""Planted concepts, and populations trained on them.   Not a test: what tests are made of.

K: heads, N: episodes, L: levels, D: width.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compute.trainer import Trainer
from configs.build import build
from priors.prior import Prior
from reporters.reporter import Reporter
from tests.reporters.made import load_choice
from training.examples import Examples, Observed
from training.find_heads import build_task, train
from training.further import Further
from training.heads import Heads
from training.optimizers.optimizer import Optimizer
from training.requests import Requests
from training.schedule import Schedule
from training.task import Task
from training.watch import Watch

LAST = -1
"""The dimension in which what the human sees shows, for priors that ask."""
FLOPS_STEP = 1000.0
"""FLOPs of one block of the predictor, an episode; level 0 is free."""


def planted(
    n: int,
    inputs: int,
    width: int = 64,
    levels: int = 1,
    at: int = 0,
    noise: float = 0.0,
    seed: int = 0,
) -> Examples:
    """Returns standard normal activations, of which the first `inputs` of one level say what the
    human answers: whether their sum is above 0.

    Args:
        at: the place of that level.
        noise: standard deviation, in units of one input, of what else the answers depend on.
    """
    chance = torch.Generator().manual_seed(seed)
    z_NLD = torch.randn(n, levels, width, generator=chance)
    return Examples(
        z_NLD,
        (z_NLD[:, at, :inputs].sum(dim=1) + noise * torch.randn(n, generator=chance) > 0).float(),
    )


def unpruned(name: str) -> Prior:
    """Returns a prior without pruning: which of two edges that matter as little leaves first is
    decided by the last digit of a number.
    """
    prior = build(load_choice("prior", name), "prior")
    if hasattr(prior, "prune"):
        prior.prune = False
    return prior


def schedule(**changed: Any) -> Schedule:
    """Returns the schedule of early stopping, some of its values changed."""
    return replace(build(load_choice("training", "early_stopping"), "training"), **changed)


def optimizer(name: str) -> Optimizer:
    """Returns an optimizer with the values of its YAML."""
    return build(load_choice("optimizer", name), "optimizer")


def population(
    trainer: Trainer,
    checkpoint: Path,
    make: Callable[..., Reporter],
    prior: Prior,
    examples: Examples,
    held_out: Examples,
    levels: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    strengths: Sequence[float] = (1.0,),
    watch: Watch | None = None,
    by: str | Optimizer = "adamw",
    measures_gap: bool = False,
    **changed: Any,
) -> Heads:
    """Returns a trained population; the keywords that remain change the schedule of early stopping.

    Args:
        by: the optimizer, or its name.
        measures_gap: whether heads by steps are trained further to see how near their optimum they
            are, which can take as long as their training.
    """
    levels = range(examples.z_NLD.shape[1]) if levels is None else levels
    requests = Requests(
        observed=observed(examples) if "observation" in prior.needs else None,
        pairs_2PLD=pairs(examples) if "pairs" in prior.needs else None,
        ablation=Halves() if "predictor" in prior.needs else None,
        inputs=(examples.z_NLD, held_out.z_NLD) if "predictor" in prior.needs else None,
        # The episode turned round has the other answer.
        negated_NLD=-examples.z_NLD,
        # The model's own answer lies along the difference of the classes.
        answer_LD=((examples.human_N - 0.5)[:, None, None] * examples.z_NLD).mean(dim=0),
    )
    method = schedule(**changed)
    task = build_task(
        make=lambda n_levels, width: make(n_levels=n_levels, width=width),
        prior=prior,
        examples=examples,
        held_out=held_out,
        levels=levels,
        flops_L=torch.tensor([level * FLOPS_STEP for level in levels], dtype=torch.float64),
        flops_step=FLOPS_STEP,
        seeds=seeds,
        strengths=strengths,
        requests=requests,
        rounds=method.precision == "bfloat16",
    )
    mover = optimizer(by) if isinstance(by, str) else by
    with pytest.MonkeyPatch.context() as patch:
        if not measures_gap:
            patch.setattr("training.fit.measure_further", know_nothing)
        return train(task, method, mover, trainer, checkpoint, watch)


def know_nothing(task: Task, *_: object) -> Further:
    """Returns that nothing is known of what heads pay and could gain."""
    unknown_GSM = torch.full(task.grid, torch.nan)
    return Further(unknown_GSM, unknown_GSM)


class Halves:
    """A predictor of two components: each writes half of the dimensions, and 0 where it is off. Its
    inputs are the activations themselves.
    """

    components = 2

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        return inputs_N * gates_C[torch.arange(inputs_N.shape[2]) * 2 // inputs_N.shape[2]]


def observed(examples: Examples) -> Observed:
    """Returns activations whose last dimension alone, the same at every level, carries what is
    predicted to be seen.
    """
    z_NLD, seen_N = (
        examples.z_NLD.clone(),
        torch.randn(len(examples.human_N), generator=torch.Generator().manual_seed(7)),
    )
    z_NLD[:, :, LAST] = seen_N[:, None]
    return Observed(z_NLD, 4 * seen_N[:, None])


def pairs(examples: Examples) -> Tensor:
    """Returns pairs that differ in the last dimension alone: there the human's view shows."""
    no_PLD, yes_PLD = examples.z_NLD[:64].clone(), examples.z_NLD[:64].clone()
    no_PLD[:, :, LAST], yes_PLD[:, :, LAST] = -1, 1
    return torch.stack([no_PLD, yes_PLD])


def accuracy(heads: Heads, examples: Examples) -> Tensor:
    """Returns the share of episodes on which each head gives the human's answer, shape (K,)."""
    return (
        ((heads.read(examples.z_NLD).log_odds_KN > 0) == examples.human_N.bool())
        .double()
        .mean(dim=1)
    )
