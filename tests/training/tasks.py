"""A task of planted examples, without a run.   Not a test: what tests are made of."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from priors.prior import Aid, Prior
from reporters.reporter import Reporter
from tests.training.made import FLOPS_STEP, planted
from training.examples import Examples
from training.objective import Objective
from training.settle import SettlingPopulation
from training.task import Task, draw_reporter


def double(examples: Examples) -> Examples:
    return Examples(examples.z_NLD.double(), examples.human_N.double())


NOISY = double(planted(200, inputs=2, width=5, levels=2, noise=1.5))
SEPARABLE = double(planted(200, inputs=2, width=5, levels=2))


def build_task(
    make: Callable[..., Reporter],
    prior: Prior,
    examples: Examples = NOISY,
    seeds: Sequence[int] = (0,),
    strengths: Sequence[float] = (1.0,),
) -> Task:
    """Returns the task of heads in float64. The training episodes are held out as well, and count
    as standardised.
    """

    def make_double(*sizes: Any) -> Reporter:
        return make(*sizes).double()

    n_levels, width = examples.z_NLD.shape[1:]
    objective = Objective(
        draw_reporter(make_double, seeds[0], n_levels, width),
        prior,
        examples,
        len(examples.human_N),
        FLOPS_STEP * torch.arange(n_levels, dtype=torch.float64),
        FLOPS_STEP,
        Aid(),
    )
    mean_LD = torch.zeros(n_levels, width).double()
    return Task(
        make_double,
        objective,
        examples,
        mean_LD,
        torch.ones_like(mean_LD),
        tuple(range(n_levels)),
        tuple(seeds),
        tuple(strengths),
    )


def advance_all(task: Task, steps: int, halting_bonus: float = 0.0, **given: Any) -> Any:
    """Returns heads moved up to so many steps by L-BFGS, without a trainer."""
    values = {"tolerance": 1e-4} | given
    population = SettlingPopulation(task, halting_bonus=halting_bonus, **values)
    population.on_fit_start()
    for _ in range(steps):
        population.advance()
    return population
