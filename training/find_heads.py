"""From a reporter and a prior to finished heads: predictors × levels × head seeds × strengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from compute.trainer import Trainer
from configs.build import Parts
from configs.plan import Plan
from core_model.reader import ActivationReader
from core_model.timing import ReadingCosts
from priors.downstream import find_observation
from priors.prior import Aid, Prior
from reporters.reporter import Reporter
from reporters.stack import Weights
from reporters.standardiser import compute_standardiser
from storage.tensors import load, save
from training.convex import Convex
from training.errors import drop_errors, has_errors
from training.examples import Examples, join_examples
from training.heads import Heads
from training.material import Material, TrainingMaterial
from training.objective import Objective
from training.optimizers.optimizer import Optimizer
from training.requests import Requests, fulfil, fulfil_heads, join_requests
from training.schedule import Schedule
from training.settling import assess
from training.solve import solve
from training.standardised import StandardisedAblation
from training.task import Task, draw_reporter
from training.watch import History, Watch

BuildWatch = Callable[[Sequence[int]], Watch]
"""From the places of predictors in a run to the watch of a fit of their heads."""


class Contestant(NamedTuple):
    """One predictor of a run, and the easy episodes that heads on it learn from."""

    reader: ActivationReader
    material: Material
    costs: ReadingCosts


class Source(NamedTuple):
    """What the heads of one predictor are found from."""

    material: TrainingMaterial
    requests: Requests
    costs: ReadingCosts
    standard_NLD: Tensor
    """The activations of the easy training episodes: all are standardised so that these have mean 0
    and standard deviation 1.
    """
    without_errors: Source | None = None
    """The episodes whose label is X, on which heads settle first; None for heads that meet all
    episodes from the start.
    """


class Found(NamedTuple):
    """The heads of one predictor, and their training."""

    heads: Heads
    history: History


def build_sources(parts: Parts, plan: Plan, contestants: Sequence[Contestant]) -> list[Source]:
    """Returns what the heads of each predictor are found from.

    Raises:
        UserError: the world or the predictor cannot give what the prior or the heads need.
    """
    settles_first = getattr(parts.training, "errors", "from_start") == "after_settling"
    sources = []
    for reader, material, costs in contestants:
        requests = fulfil(parts.prior, parts.world, reader, material, plan)
        requests = fulfil_heads(parts.reporter_needs, requests, parts.world, reader, material)
        source = Source(material, requests, costs, material.examples.z_NLD)
        if settles_first and has_errors(material.train):
            without_errors = Source(
                *drop_errors(material, requests), costs, material.examples.z_NLD
            )
            source = source._replace(without_errors=without_errors)
        sources.append(source)
    return sources


def find_heads(
    parts: Parts,
    plan: Plan,
    levels: tuple[int, ...],
    sources: Sequence[Source],
    checkpoint: Path,
    build_watch: BuildWatch,
    keeps_scale: bool = False,
) -> list[Found]:
    """Returns the finished heads of each predictor of a run, all of them found in one fit; under a
    prior that runs the predictor itself, in a fit for each predictor.

    Args:
        sources: of each predictor.
        checkpoint: where an unfinished fit is kept.
        build_watch: builds what records figures of the heads of a fit at each epoch; they are the
            same heads without it.
        keeps_scale: whether heads are given activations as they are, and not standardised.
    """
    if len(sources) == 1 or "predictor" not in parts.prior.needs:
        watch = build_watch(range(len(sources)))
        return fit_together(parts, plan, levels, sources, checkpoint, watch, keeps_scale)
    found = []
    for i, source in enumerate(sources):
        own = checkpoint.with_stem(f"{checkpoint.stem}-predictor-{i}")
        watch = build_watch([i])
        found += fit_together(parts, plan, levels, [source], own, watch, keeps_scale)
    return found


def fit_together(
    parts: Parts,
    plan: Plan,
    levels: tuple[int, ...],
    sources: Sequence[Source],
    checkpoint: Path,
    watch: Watch,
    keeps_scale: bool,
) -> list[Found]:
    """Returns the finished heads of each predictor, all of them found in one fit."""
    start = find_start(parts, plan, levels, sources, checkpoint, keeps_scale)
    task = build_task_of_sources(parts, plan, levels, sources, keeps_scale, start)
    heads = train(task, parts.training, parts.optimizer, parts.trainer, checkpoint, watch)
    name_start(checkpoint).unlink(missing_ok=True)
    histories = watch.history.split(len(sources))
    return [Found(*pair) for pair in zip(heads.split(), histories, strict=True)]


def find_start(
    parts: Parts,
    plan: Plan,
    levels: tuple[int, ...],
    sources: Sequence[Source],
    checkpoint: Path,
    keeps_scale: bool,
) -> Weights | None:
    """Returns the weights of heads that have settled on the episodes whose label is X: finished
    ones, so that they are pruned under a prior on edges, and without the prior's own state. None
    for heads that meet all episodes from the start.

    They are kept in a file until the heads that start from them are finished.
    """
    without_errors = [source.without_errors for source in sources if source.without_errors]
    if not without_errors:
        return None
    # The predictors of a run read the same episodes, and a fit has one set of labels.
    assert len(without_errors) == len(sources)
    answers = [source.material.examples.human_N for source in without_errors]
    assert all(torch.equal(human_N, answers[0]) for human_N in answers)
    file = name_start(checkpoint)
    kept = load(file)
    if kept is None:
        task = build_task_of_sources(parts, plan, levels, without_errors, keeps_scale)
        own = checkpoint.with_stem(f"{checkpoint.stem}-without-errors")
        heads = train(task, parts.training, parts.optimizer, parts.trainer, own)
        save(file, heads.weights, {})
        return heads.weights
    return kept[0]


def name_start(checkpoint: Path) -> Path:
    """Returns the file of the weights from which a fit starts."""
    return checkpoint.with_suffix(".start")


def build_task_of_sources(
    parts: Parts,
    plan: Plan,
    levels: tuple[int, ...],
    sources: Sequence[Source],
    keeps_scale: bool,
    start: Weights | None = None,
) -> Task:
    """Returns what the heads of all predictors of a run are found from.

    Args:
        start: the weights before training; those of the seeds by default.
    """
    reach = [source.costs.flops[level] for source in sources for level in levels]
    task = build_task(
        parts.reporter,
        parts.prior,
        join_examples([source.material.examples for source in sources]),
        join_examples([source.material.held_out for source in sources]),
        levels,
        torch.tensor(reach, dtype=torch.float64),
        sources[0].costs.flops[1],
        plan.head_seeds,
        plan.strengths,
        join_requests([source.requests for source in sources]),
        rounds=parts.training.precision == "bfloat16",
        keeps_scale=keeps_scale,
        standard_NLD=torch.cat([source.standard_NLD for source in sources], dim=1),
        initial_scale=getattr(parts.training, "initial_scale", 1.0),
    )
    return replace(task, start=start)


def train(
    task: Task,
    method: Schedule | Convex,
    optimizer: Optimizer,
    trainer: Trainer,
    checkpoint: Path,
    watch: Watch | None = None,
) -> Heads:
    """Returns a finished head for every group of levels, seed and strength of a task. Heads whose
    start is given have been trained before, and go on with the whole charge and no bonus.

    Args:
        method: how heads are trained, or that they are solved.
        optimizer: what moves heads that are trained.
        checkpoint: where an unfinished fit is kept.
        watch: records figures of the heads at each epoch; they are the same heads without it.
    """
    own_method = method
    if task.start is not None and isinstance(method, Schedule):
        own_method = method.continue_at_full_strength()
    outcome = solve(task, own_method, optimizer, trainer, checkpoint, watch)
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
    keeps_scale: bool = False,
    standard_NLD: Tensor | None = None,
    initial_scale: float = 1.0,
) -> Task:
    """Returns what heads are found from. The activations of several predictors are those of their
    levels, one predictor after the other.

    Args:
        make: from a number of levels and a width to a reporter.
        held_out: easy episodes apart from the training ones: they stop a head and choose its best
            weights.
        levels: the levels that the activations hold of each predictor.
        flops_L: the predictor's FLOPs an episode to reach each of them, of every predictor.
        flops_step: FLOPs an episode of one of its blocks.
        requests: what the prior and the heads need beside the training episodes.
        rounds: whether products in a head are rounded to bfloat16.
        keeps_scale: whether activations keep their scale; only their mean is then taken off.
        standard_NLD: activations by which all are standardised; the training ones by default.
        initial_scale: factor of the weights before training.
    """
    mean_LD, std_LD = compute_standardiser(examples.z_NLD if standard_NLD is None else standard_NLD)
    if keeps_scale:
        std_LD = torch.ones_like(std_LD)
    predictors = len(mean_LD) // len(levels)

    def standardise(z_NLD: Tensor) -> Tensor:
        return (z_NLD - mean_LD) / std_LD

    if requests.inputs:
        examples = examples._replace(inputs_N=requests.inputs[0])
        held_out = held_out._replace(inputs_N=requests.inputs[1])
    examples = examples._replace(z_NLD=standardise(examples.z_NLD))
    held_out = held_out._replace(z_NLD=standardise(held_out.z_NLD))
    ablation = requests.ablation
    objective = Objective(
        draw_reporter(make, seeds[0], len(levels), mean_LD.shape[1]),
        prior,
        held_out,
        len(examples.human_N),
        flops_L,
        flops_step,
        build_aid(requests, standardise),
        StandardisedAblation(ablation, mean_LD, std_LD) if ablation else None,
        rounds=rounds,
        predictors=predictors,
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
        initial_scale,
        None if requests.negated_NLD is None else standardise(requests.negated_NLD),
        None if requests.answer_LD is None else requests.answer_LD * std_LD,
    )


def build_aid(requests: Requests, standardise: Callable[[Tensor], Tensor]) -> Aid:
    """Returns what the prior needs on standardised activations."""
    observation_2LD = pairs_2PLD = None
    if requests.observed:
        z_NLD = standardise(requests.observed.z_NLD)
        observation_2LD = find_observation(z_NLD, requests.observed.opinion_NL)
    if requests.pairs_2PLD is not None:
        pairs_2PLD = standardise(requests.pairs_2PLD)
    components = requests.ablation.components if requests.ablation else 0
    return Aid(observation_2LD, pairs_2PLD, components)
