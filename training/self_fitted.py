"""Heads that fit themselves: one fit for each group of levels, and for each seed where it matters.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

import torch
from torch import Tensor

from configs.build import Parts
from configs.plan import Plan
from console.errors import UserError
from reporters.reporter import ClosedForm, Lesson, SelfFitted
from reporters.stack import Weights, group_levels, map_over_heads
from training.task import Solution, Task, draw_reporter
from worlds.world import NoNegations, World

MOST_NUMBERS = 2**24
"""Most numbers of activations, or of their covariance, for which heads of several levels are solved
at once in closed form.
"""


def fit_themselves(reporter: SelfFitted, task: Task) -> Solution:
    """Returns the fit of every head; it is the same for all strengths.

    Raises:
        UserError: the task lacks what the heads learn from.
    """
    n_groups, n_seeds, n_strengths = task.grid
    if "negations" in reporter.needs and task.negated_NLD is None:
        raise UserError(
            f"reporter: {type(reporter).__name__} needs the negations of training episodes, and"
            " there are none here. Use reporter=linear."
        )
    of_seeds = []
    for seed in task.seeds if reporter.uses_seed else task.seeds[:1]:
        own = draw_reporter(task.make, seed, *task.sizes) if reporter.uses_seed else reporter
        assert isinstance(own, SelfFitted)
        of_seeds.append(_fit_groups(own, task))
    weights = {}
    for name in of_seeds[0]:
        value_GS = torch.stack([fitted[name] for fitted in of_seeds], dim=1)
        own_axes = value_GS.shape[2:]
        weights[name] = value_GS[:, :, None].expand(n_groups, n_seeds, 1, *own_axes).contiguous()
    nll_GS1 = task.objective.compute_held_out_nll(weights)
    for name, value_GS1 in weights.items():
        own_axes = value_GS1.shape[3:]
        weights[name] = value_GS1.expand(n_groups, n_seeds, n_strengths, *own_axes)
    epoch_GSM = torch.zeros(task.grid, dtype=torch.long)
    zero_GSM = torch.zeros(task.grid)
    nll_GSM = nll_GS1.expand(task.grid)
    return Solution(weights, nll_GSM, epoch_GSM, torch.full(task.grid, torch.nan), zero_GSM)


def _fit_groups(reporter: SelfFitted, task: Task) -> Weights:
    """Returns the parameters of one seed's head of every group, with axis G first."""
    z_GNRD, human_N = task.z_GNRD, task.examples.human_N
    if isinstance(reporter, ClosedForm):
        return _solve_groups(reporter, z_GNRD, human_N)
    mean_GRD, std_GRD = _group(task.mean_LD, task), _group(task.std_LD, task)
    negated_GNRD = None if task.negated_NLD is None else _group(task.negated_NLD, task)
    answer_GRD = None if task.answer_LD is None else _group(task.answer_LD, task)
    fitted = []
    for g, z_NRD in enumerate(z_GNRD):
        negated_NRD = None if negated_GNRD is None else negated_GNRD[g]
        answer_RD = None if answer_GRD is None else answer_GRD[g]
        lesson = Lesson(z_NRD, human_N, mean_GRD[g], std_GRD[g], negated_NRD, answer_RD)
        fitted.append(reporter.fit(lesson))
    return {name: torch.stack([weights[name] for weights in fitted]) for name in fitted[0]}


@torch.no_grad()
def _solve_groups(reporter: ClosedForm, z_GNRD: Tensor, human_N: Tensor) -> Weights:
    """Returns the solutions of every group, as many at once as fit into memory."""
    n, inputs = len(z_GNRD[0]), z_GNRD[0, 0].numel()
    size = max(1, MOST_NUMBERS // (inputs * max(n, inputs)))
    parts = []
    for z_PNRD in z_GNRD.split(size):
        parts.append(map_over_heads(reporter.solve, (0, None))(z_PNRD, human_N))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _group(value_LD: Tensor, task: Task) -> Tensor:
    objective = task.objective
    return group_levels(value_LD, objective.reporter, objective.predictors)


def check_fit(parts: Parts, plan: Plan) -> None:
    """Raises UserError, before a predictor is made, where heads that fit themselves cannot be
    fitted in a run.
    """
    heads = parts.reporter_class
    if not issubclass(heads, SelfFitted):
        return
    heads.check_values(parts.reporter_values)
    world, name = parts.world, heads.__name__
    if "answer" in heads.needs and not parts.core_model.answers_concept:
        raise UserError(
            f"reporter: {name} reads the answer of a language model, and core_model is not asked"
            " for X. Set core_model.ask, or use core_model=quirky."
        )
    if heads.needs and plan.planted_costs and parts.prior.charges:
        raise UserError(
            f"planted_costs: no prior changes {name}, and it learns from more than labels of"
            " episodes, so planted heads cannot be fitted. Use planted_costs=false."
        )
    if "negations" not in heads.needs:
        return
    if not has_negations(world):
        raise NoNegations(
            f"reporter: {name} needs pairs of a statement and its negation, and the world"
            f" {world.name} has none. Use world=cities, opinions or ladder, or another reporter."
        )


def has_negations(world: World) -> bool:
    """Whether a world can negate its easy episodes."""
    return type(world).negate is not World.negate
