"""How heads are found: by a method of their own, as the one optimum, until they have settled, or
by steps.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from compute.trainer import Trainer
from configs.build import Parts, read_default
from console.errors import UserError
from priors.prior import Prior
from reporters.reporter import ClosedForm, Reporter, SelfFitted
from training.convex import Convex, is_linear, solve_convex
from training.expected import find_obstacle
from training.objective import Head
from training.optimizers.auto import Auto
from training.optimizers.lbfgs import LBFGS
from training.optimizers.optimizer import Optimizer, StepOptimizer
from training.parts import fit_in_parts
from training.schedule import Schedule
from training.self_fitted import fit_themselves
from training.settle import settle
from training.task import Solution, Task
from training.watch import Watch

OF_STEPS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "clip",
    "ramp",
    "bonus_from",
    "bonus_to",
    "order",
    "precision",
)
"""The values of a schedule that only heads by steps use."""
ONE_OPTIMUM = Convex(tolerance=1e-8, steps=1000)
"""How heads are solved that have one optimum, as in training/convex.yaml."""


class Outcome(NamedTuple):
    """Finished heads, and how they were found."""

    solution: Solution
    optimizer: str
    has_restarts: bool
    """Whether the seeds of a level and strength were trained each by itself."""


def solve(
    task: Task,
    method: Schedule | Convex,
    optimizer: Optimizer,
    trainer: Trainer,
    checkpoint: Path,
    watch: Watch | None,
) -> Outcome:
    """Returns the finished heads of a task. Here alone it is chosen how heads are found.

    Raises:
        UserError: they cannot be found so.
    """
    reporter, prior = task.objective.reporter, task.objective.prior
    if isinstance(reporter, SelfFitted):
        is_closed = isinstance(reporter, ClosedForm)
        how = "solved in closed form" if is_closed else "fitted by a method of its own"
        warn_of_idle(prior, reporter, f"it is {how}")
        found_by = "closed_form" if is_closed else "own"
        return Outcome(fit_themselves(reporter, task), found_by, False)
    lack = prior.lacks(reporter)
    if lack:
        warn_of_idle(prior, reporter, f"it has no {lack}")
    if isinstance(method, Convex):
        method.check(prior, reporter, get_first_episodes(task))
        return Outcome(solve_convex(method, task), "convex", False)
    optimizer = choose_optimizer(optimizer, method, prior, reporter, *task.sizes)
    if isinstance(optimizer, LBFGS):
        return settle_heads(task, method, optimizer, trainer, checkpoint, watch)
    assert isinstance(optimizer, StepOptimizer)
    solution = fit_in_parts(task, method, optimizer, trainer, checkpoint, watch)
    return Outcome(solution, type(optimizer).__name__.lower(), True)


def settle_heads(
    task: Task,
    schedule: Schedule,
    optimizer: LBFGS,
    trainer: Trainer,
    checkpoint: Path,
    watch: Watch | None,
) -> Outcome:
    """Returns heads that have settled. Where log-odds are linear in the weights, there is one
    optimum, and all seeds have it; where the charge is convex too, it does not depend on the start.
    """
    if task.start is None:  # the training that gave heads their start has warned
        warn_of_unused(schedule)
    objective = task.objective
    reporter, prior = objective.reporter, objective.prior
    has_one = is_linear(reporter, get_first_episodes(task)) and not prior.needs
    if has_one and (prior.convex or prior.lacks(reporter)):
        return Outcome(solve_convex(ONE_OPTIMUM, task), "convex", False)
    if not has_one:
        solution = settle(task, schedule, optimizer, trainer, checkpoint, watch)
        return Outcome(solution, "lbfgs", True)
    one = task.select([0], range(len(task.strengths)))
    weights = one.draw_start()
    if task.start is None:
        weights = {name: torch.zeros_like(value) for name, value in weights.items()}
    start = Head(weights, objective.create_state(weights))
    solution = settle(one, schedule, optimizer, trainer, checkpoint, watch, start)
    if watch:
        watch.repeat_for_seeds(task.grid)
    return Outcome(repeat_for_seeds(solution, task), "lbfgs", False)


def get_first_episodes(task: Task) -> Tensor:
    """Returns a few training episodes as the first group of heads reads them."""
    return task.z_GNRD[0, :64]


def warn_of_unused(schedule: Schedule) -> None:
    """Prints which values of a schedule were set and are not used by heads that settle."""
    default = read_default("training/default.yaml")
    changed = [key for key in OF_STEPS if getattr(schedule, key) != default[key]]
    if changed:
        names = ", ".join(f"training.{key}" for key in changed)
        print(
            f"training: {names}: not used, because these heads are trained on all episodes until"
            " they have settled. To train by steps: optimizer=adamw",
            file=sys.stderr,
        )


def repeat_for_seeds(solution: Solution, task: Task) -> Solution:
    """Returns the heads of one seed as those of all."""
    weights = {}
    for name, value in solution.weights.items():
        weights[name] = value.expand(*task.grid, *value.shape[3:]).contiguous()
    figures = [value.expand(task.grid) for value in solution[1:]]
    return Solution(weights, *figures)


def check_optimizer(parts: Parts, reporter: Reporter, n_levels: int, width: int) -> None:
    """Raises UserError where a run's optimizer is used and cannot train such heads."""
    is_solved = isinstance(reporter, SelfFitted) or isinstance(parts.training, Convex)
    if not is_solved:
        choose_optimizer(parts.optimizer, parts.training, parts.prior, reporter, n_levels, width)


def check_errors(parts: Parts, reporter: Reporter) -> None:
    """Raises UserError where heads cannot go on from heads that have settled without errors."""
    if getattr(parts.training, "errors", "from_start") == "from_start":
        return
    obstacle = None
    if isinstance(reporter, ClosedForm):
        obstacle = "they are solved in closed form, which starts nowhere"
    elif isinstance(reporter, SelfFitted):
        obstacle = "they are fitted by a method of their own, which starts nowhere"
    elif type(reporter).harden is not Reporter.harden:
        obstacle = "their choices are made when they are finished, and do not change any more"
    if obstacle:
        raise UserError(
            "training.errors: after_settling trains finished heads further, and that is not"
            f" possible with {type(reporter).__name__}: {obstacle}. Use training.errors=from_start,"
            " or reporter=linear."
        )


def choose_optimizer(
    optimizer: Optimizer,
    schedule: Schedule,
    prior: Prior,
    reporter: Reporter,
    n_levels: int,
    width: int,
) -> Optimizer:
    """Returns the optimizer that finds such heads: the one that was asked for, or for `auto` L-BFGS
    where what heads pay is the same at every step.

    Raises:
        UserError: the one that was asked for cannot train them.
    """
    optimizer.check(prior, reporter)
    if isinstance(optimizer, StepOptimizer):
        return optimizer
    obstacle = find_obstacle(prior, reporter, n_levels, width)
    if schedule.keep == "best":
        obstacle = "training.keep=best stops heads early, and L-BFGS trains them to the end"
    if schedule.precision == "bfloat16":
        obstacle = "training.precision=bfloat16 rounds what heads pay"
    if isinstance(optimizer, Auto):
        return optimizer.by_steps if obstacle else optimizer.until_settled
    if obstacle:
        raise UserError(
            f"optimizer: L-BFGS cannot train these heads: {obstacle}. Use optimizer=auto or adamw."
        )
    return optimizer


def warn_of_idle(prior: Prior, reporter: Reporter, reason: str) -> None:
    """Prints why a prior does not change such heads."""
    if prior.charges:
        names = f"{type(prior).__name__} does not apply to {type(reporter).__name__}"
        print(f"prior: {names}: {reason}.", file=sys.stderr)
