"""From a reporter and a prior to finished heads: levels × head seeds × strengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from compute.trainer import Trainer
from configs.build import Parts
from configs.plan import Plan
from core_model.timing import ReadingCosts
from priors.downstream import find_observation
from priors.prior import Aid, Prior
from reporters.reporter import Reporter
from training.convex import Convex
from training.examples import Examples
from training.heads import Heads, compute_standardiser
from training.material import Material
from training.objective import Objective
from training.optimizers.optimizer import Optimizer
from training.requests import Requests
from training.schedule import Schedule
from training.settling import assess
from training.solve import solve
from training.standardised import StandardisedAblation
from training.task import Task, draw_reporter
from training.watch import Watch


def find_heads(
    parts: Parts,
    plan: Plan,
    levels: tuple[int, ...],
    material: Material,
    requests: Requests,
    costs: ReadingCosts,
    checkpoint: Path,
    watch: Watch | None = None,
) -> Heads:
    """Returns the finished population of a run.

    Args:
        checkpoint: where an unfinished fit is kept.
        watch: records figures of the heads at each epoch; they are the same heads without it.
    """
    task = build_task(
        parts.reporter,
        parts.prior,
        material.examples,
        material.held_out,
        levels,
        torch.tensor([costs.flops[level] for level in levels], dtype=torch.float64),
        costs.flops[1],
        plan.head_seeds,
        plan.strengths,
        requests,
        rounds=parts.training.precision == "bfloat16",
    )
    return train(task, parts.training, parts.optimizer, parts.trainer, checkpoint, watch)


def train(
    task: Task,
    method: Schedule | Convex,
    optimizer: Optimizer,
    trainer: Trainer,
    checkpoint: Path,
    watch: Watch | None = None,
) -> Heads:
    """Returns a finished head for every group of levels, seed and strength of a task.

    Args:
        method: how heads are trained, or that they are solved.
        optimizer: what moves heads that are trained.
        checkpoint: where an unfinished fit is kept.
        watch: records figures of the heads at each epoch; they are the same heads without it.
    """
    outcome = solve(task, method, optimizer, trainer, checkpoint, watch)
    solution = outcome.solution
    has_exits = task.objective.has_exits
    bonus = getattr(method, "halting_bonus", 0.0) if has_exits else math.nan
    settling = assess(
        outcome.optimizer, bonus, solution.total_GSM, solution.gain_GSM, outcome.has_restarts
    )
    if watch:
        watch.kept_K = solution.epoch_GSM.flatten()
    return task.build_heads(solution.weights, solution.nll_GSM, settling)


def build_task(
    make: Callable[[int, int], Reporter],
    prior: Prior,
    examples: Examples,
    held_out: Examples,
    levels: Sequence[int],
    flops_L: Tensor,
    flops_step: float,
    seeds: Sequence[int],
    strengths: Sequence[float],
    requests: Requests = Requests(),
    rounds: bool = False,
) -> Task:
    """Returns what heads are found from.

    Args:
        make: from a number of levels and a width to a reporter.
        held_out: easy episodes apart from the training ones: they stop a head and choose its best
            weights.
        levels: the levels that the activations hold.
        flops_L: the predictor's FLOPs an episode to reach each of them.
        flops_step: FLOPs an episode of one of its blocks.
        requests: what the prior needs beside the training episodes.
        rounds: whether products in a head are rounded to bfloat16.
    """
    mean_LD, std_LD = compute_standardiser(examples.z_NLD)

    def standardise(z_NLD: Tensor) -> Tensor:
        return (z_NLD - mean_LD) / std_LD

    if requests.inputs:
        examples = examples._replace(inputs_N=requests.inputs[0])
        held_out = held_out._replace(inputs_N=requests.inputs[1])
    examples = examples._replace(z_NLD=standardise(examples.z_NLD))
    held_out = held_out._replace(z_NLD=standardise(held_out.z_NLD))
    ablation = requests.ablation
    objective = Objective(
        draw_reporter(make, seeds[0], *mean_LD.shape),
        prior,
        held_out,
        len(examples.human_N),
        flops_L,
        flops_step,
        build_aid(requests, standardise),
        StandardisedAblation(ablation, mean_LD, std_LD) if ablation else None,
        rounds=rounds,
    )
    return Task(
        make,
        objective,
        examples,
        mean_LD,
        std_LD,
        tuple(levels),
        tuple(seeds),
        tuple(strengths),
    )


def build_aid(requests: Requests, standardise: Callable[[Tensor], Tensor]) -> Aid:
    """Returns what the prior needs on standardised activations."""
    observation_2LD = pairs_2PLD = None
    if requests.observed:
        z_NLD = standardise(requests.observed.z_NLD)
        observation_2LD = find_observation(z_NLD, requests.observed.opinion_N)
    if requests.pairs_2PLD is not None:
        pairs_2PLD = standardise(requests.pairs_2PLD)
    components = requests.ablation.components if requests.ablation else 0
    return Aid(observation_2LD, pairs_2PLD, components)
