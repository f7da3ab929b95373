"""Heads that are solved in closed form: one solution for each group of levels."""

from __future__ import annotations

import torch

from reporters.reporter import ClosedForm
from reporters.stack import map_over_heads
from training.task import Solution, Task


@torch.no_grad()
def solve_closed_form(reporter: ClosedForm, task: Task) -> Solution:
    """Returns the solution of every head; it is the same for all seeds and strengths."""
    n_groups, n_seeds, n_strengths = task.grid
    solved = map_over_heads(reporter.solve, (0, None))(task.z_GNRD, task.examples.human_N)
    weights = {}
    for name, value_G in solved.items():
        value_G11 = value_G[:, None, None]
        weights[name] = value_G11.repeat_interleave(n_seeds, dim=1)
    nll_GS1 = task.objective.compute_held_out_nll(weights)
    for name, value_GS1 in weights.items():
        own_axes = value_GS1.shape[3:]
        weights[name] = value_GS1.expand(n_groups, n_seeds, n_strengths, *own_axes)
    epoch_GSM = torch.zeros(task.grid, dtype=torch.long)
    zero_GSM = torch.zeros(task.grid)
    nll_GSM = nll_GS1.expand(task.grid)
    return Solution(weights, nll_GSM, epoch_GSM, torch.full(task.grid, torch.nan), zero_GSM)
