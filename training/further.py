"""What heads that were trained by steps pay on the whole training set, and what training them
further would bring.

G: groups of levels, S: seeds, M: strengths; N: episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from training.expected import find_obstacle
from training.noise import draw_noise
from training.objective import Head, StepInputs
from training.settle import SettlingPopulation
from training.settling import SETTLED
from training.task import Task

STEPS = 100
"""Steps of L-BFGS that show what more training would bring at least."""
DRAWS = 16
"""Draws of a prior's noise over which what heads pay is averaged; the same for all heads."""
AT_ONCE = 512
"""Episodes that all heads read at once: as many as in a step of training."""


class Further(NamedTuple):
    """Nats of the whole training set."""

    total_GSM: Tensor
    """Errors and charge, expected over the prior's noise."""
    gain_GSM: Tensor
    """What further training brings."""


@torch.no_grad()
def measure_further(task: Task, head: Head, train_further: Callable[[], Head]) -> Further:
    """Returns what heads pay, and what further training would bring: a hundred steps of L-BFGS, or,
    where chance forbids these, as much training as they had.

    Args:
        train_further: returns the heads after a second training.
    """
    objective = task.objective
    if find_obstacle(objective.prior, objective.reporter, *task.sizes):
        total_GSM = estimate_total(task, head)
        with torch.enable_grad():
            further = train_further()
        gain_GSM = (total_GSM - estimate_total(task, further)).clamp_min(0)
        return Further(total_GSM, gain_GSM)
    population = SettlingPopulation(task, SETTLED, halting_bonus=0.0, start=head)
    population.on_fit_start()
    before_K = population.lbfgs.loss_K.clone()
    for _ in range(STEPS):
        population.advance()
    gain_K = before_K - population.lbfgs.loss_K
    n_examples = len(task.examples.human_N)
    return Further(
        (n_examples * before_K).view(task.grid),
        (n_examples * gain_K).clamp_min(0).view(task.grid),
    )


def estimate_total(task: Task, head: Head) -> Tensor:
    """Returns what heads pay on the whole training set, in nats, averaged over draws of noise."""
    objective = task.objective
    seed_S = torch.zeros(len(task.seeds), dtype=torch.long)
    at_full_strength = torch.tensor([1.0, 0.0])
    total_GSM = torch.zeros(task.grid, dtype=torch.float64)
    draws = DRAWS if head.state else 1
    batches = list(zip(*(value.split(AT_ONCE) for value in task.examples.tensors), strict=True))
    for draw in range(draws):
        noise = draw_noise(head.state, seed_S, draw)
        for batch in batches:
            step = StepInputs(noise, at_full_strength, objective.build_groups(), batch)
            _, loss_GSM = objective.compute_paid(head, task.strength_M, step)
            total_GSM += len(batch[0]) * loss_GSM / draws
    return total_GSM
