"""One fit of heads by steps: trained, then pruned where their prior charges edges.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from compute.allocation import keep_freed_memory
from compute.batches import Rows, make_loader
from compute.trainer import Trainer
from reporters.reporter import Reporter, is_weight
from reporters.stack import Weights, align_with
from training.edge_moves import MANY
from training.further import measure_further
from training.objective import Head
from training.optimizers.optimizer import StepOptimizer
from training.population import Population
from training.prune import prune_edges
from training.schedule import Schedule
from training.task import Solution, Task
from training.watch import Watch, take_snapshot


def fit(
    task: Task,
    schedule: Schedule,
    optimizer: StepOptimizer,
    trainer: Trainer,
    checkpoint: Path,
    watch: Watch | None,
) -> Solution:
    """Returns the finished heads of a task.

    Args:
        checkpoint: where the unfinished fit is kept.
    """
    population = build_population(task, schedule, optimizer, watch)
    if watch:
        watch.take_snapshot = lambda: take_snapshot(task, population)
    train_population(task, population, trainer, checkpoint)
    solution = take_solution(task, population)
    if get_edge_price(task):
        return prune(task, solution, trainer.finishing_memory_budget)

    def train_further() -> Head:
        further = replace(schedule.continue_at_full_strength(), keep="last")
        population = build_population(task, further, optimizer, start=head)
        train_population(task, population, trainer, checkpoint.with_suffix(".further"))
        return population.detach_head()

    head = population.detach_head()
    if population.best:
        head = head._replace(weights=solution.weights)
    total_GSM, gain_GSM = measure_further(task, head, train_further)
    return solution._replace(total_GSM=total_GSM, gain_GSM=gain_GSM)


def train_population(
    task: Task, population: Population, trainer: Trainer, checkpoint: Path
) -> None:
    """Trains all heads of a population, which is on the processor afterwards."""
    schedule = population.schedule
    orders = task.seeds if schedule.order == "own" else 0
    rows = Rows(*task.examples.tensors)
    batches = make_loader(rows, len(task.examples.human_N), schedule.batch_size, orders)
    keep_freed_memory()
    with set_matmul_precision(schedule.precision):
        what = f"Training {population.n_heads} heads"
        trainer(population, batches, schedule.epochs, checkpoint, what)
    population.cpu()


def build_population(
    task: Task,
    schedule: Schedule,
    optimizer: StepOptimizer,
    watch: Watch | None = None,
    start: Head | None = None,
) -> Population:
    """Returns the heads of a task before training.

    Args:
        start: all heads at the start; those of the seeds by default.
    """
    weights = task.draw_start()
    return Population(
        task.objective,
        start or Head(weights, task.objective.create_state(weights)),
        task.seeds,
        task.strengths,
        schedule,
        optimizer,
        [watch] if watch else [],
    )


@torch.no_grad()
def take_solution(task: Task, population: Population) -> Solution:
    """Returns the heads at the end of a fit: the last, or the best of each. A head that is not a
    number has the weights that it started with.
    """
    unknown_GSM = torch.full(task.grid, torch.nan)
    best = population.best
    if best:
        epoch_GSM = best.epoch_GSM + 1
        return Solution(best.weights, best.nll_GSM, epoch_GSM, unknown_GSM, unknown_GSM)
    weights = population.objective.finish(population.detach_head())
    nll_GSM = population.objective.compute_held_out_nll(weights)
    for name, start in task.draw_start().items():
        is_number = align_with(nll_GSM.isfinite(), start)
        weights[name] = torch.where(is_number, weights[name], start)
    epoch_GSM = torch.full(task.grid, population.schedule.epochs)
    return Solution(weights, nll_GSM, epoch_GSM, unknown_GSM, unknown_GSM)


def prune(task: Task, solution: Solution, budget: float) -> Solution:
    """Returns heads without the edges that are not worth their price, if the prior has one.

    Args:
        budget: bytes that this may need.
    """
    price = get_edge_price(task)
    weights, total_GSM = prune_edges(
        task.objective.reporter,
        solution.weights,
        task.z_GNRD,
        task.examples.human_N,
        price * task.strength_M,
        budget,
    )
    nll_GSM = task.objective.compute_held_out_nll(weights)
    solution = solution._replace(weights=weights, nll_GSM=nll_GSM)
    if not task.objective.prior.charges_edges_alone:
        return solution
    # No move lowers the total of a priced head, if it has so few edges that each was tried.
    has_few_GSM = count_live_edges(weights) < MANY
    is_searched_GSM = total_GSM.isfinite() & has_few_GSM & (price * task.strength_M > 0)
    gain_GSM = torch.where(is_searched_GSM, 0.0, torch.nan)
    return solution._replace(total_GSM=total_GSM, gain_GSM=gain_GSM)


def get_edge_price(task: Task) -> float:
    """Returns the price of an edge at strength 1, in nats for the whole training set; 0 where heads
    are not pruned.
    """
    edges = count_edges(task.objective.reporter)
    return task.objective.prior.edge_price(edges, task.objective.n_examples)


def count_live_edges(weights: Weights) -> Tensor:
    """Returns the edges that heads have left, shape (G, S, M)."""
    counts = [(w != 0).flatten(3).sum(dim=3) for name, w in weights.items() if is_weight(name)]
    return torch.stack(counts).sum(dim=0)


def count_edges(reporter: Reporter) -> int:
    """Returns the edges of a whole head."""
    return sum(value.numel() for name, value in reporter.named_parameters() if is_weight(name))


@contextmanager
def set_matmul_precision(precision: str) -> Iterator[None]:
    """Rounds float32 products within the block, if the precision is medium."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision == "medium" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
