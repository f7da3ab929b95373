"""One fit of heads by steps: trained, then pruned where their prior charges edges.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from compute.allocation import keep_freed_memory
from compute.batches import Rows, make_loader
from compute.trainer import Trainer
from reporters.reporter import Reporter, is_weight
from reporters.stack import group_levels
from training.population import Population
from training.prune import prune_edges
from training.schedule import Schedule
from training.task import Solution, Task
from training.watch import Snapshot, Watch


def fit(
    task: Task, schedule: Schedule, trainer: Trainer, checkpoint: Path, watch: Watch | None
) -> Solution:
    """Returns the finished heads of a task.

    Args:
        checkpoint: where the unfinished fit is kept.
    """
    population = build_population(task, schedule, watch)
    if watch:
        watch.take_snapshot = lambda: take_snapshot(task, population)
    orders = task.seeds if schedule.order == "own" else 0
    rows = Rows(*task.examples.tensors)
    batches = make_loader(rows, len(task.examples.human_N), schedule.batch_size, orders)
    keep_freed_memory()
    with set_matmul_precision(schedule.precision):
        what = f"Training {population.n_heads} heads"
        trainer(population, batches, schedule.epochs, checkpoint, what)
    population.cpu()
    best = population.best
    solution = Solution(best.weights, best.nll_GSM, best.epoch_GSM + 1)
    return prune(task, solution, trainer.finishing_memory_budget)


def build_population(task: Task, schedule: Schedule, watch: Watch | None = None) -> Population:
    """Returns the heads of a task before training."""
    callbacks = [watch] if watch else []
    return Population(
        task.objective, task.draw_start(), task.seeds, task.strengths, schedule, callbacks
    )


def take_snapshot(task: Task, population: Population) -> Snapshot:
    """Returns all heads as they are now."""
    weights = population.objective.finish(population.head)
    heads = task.build_heads(weights, population.best.nll_GSM)
    loss_K = population.loss_GSM.cpu().flatten()
    norm_K = population.norm_GSM.cpu().flatten()
    return Snapshot(heads, loss_K, norm_K)


def prune(task: Task, solution: Solution, budget: float) -> Solution:
    """Returns heads without the edges that are not worth their price, if the prior has one.

    Args:
        budget: bytes that this may need.
    """
    reporter = task.objective.reporter
    price = task.objective.prior.edge_price(count_edges(reporter), task.objective.n_examples)
    if not price:
        return solution
    z_GNRD = group_levels(task.examples.z_NLD, reporter)
    weights, _ = prune_edges(
        reporter,
        solution.weights,
        z_GNRD,
        task.examples.human_N,
        price * task.strength_M,
        budget,
    )
    nll_GSM = task.objective.compute_held_out_nll(weights)
    return solution._replace(weights=weights, nll_GSM=nll_GSM)


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
