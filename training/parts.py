"""A population in parts: where memory is short, its heads are trained in parts one after the other,
each with a checkpoint of its own. No head is divided.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from compute.memory import GIB, TRAINING_OVERHEAD, measure_peak_memory
from compute.trainer import Trainer
from console.errors import UserError
from reporters.stack import Weights
from storage.atomic import write_atomically
from training.fit import build_population, fit
from training.heads import PREFIX
from training.optimizers.optimizer import StepOptimizer
from training.schedule import Schedule
from training.task import Solution, Task
from training.watch import Watch


class Part(NamedTuple):
    """Heads that are trained at once: the places of their seeds and of their strengths."""

    seeds: range
    strengths: range


def fit_in_parts(
    task: Task,
    schedule: Schedule,
    optimizer: StepOptimizer,
    trainer: Trainer,
    checkpoint: Path,
    watch: Watch | None,
) -> Solution:
    """Returns the finished heads of a task, trained at once or in as many parts as memory requires.

    A fit that was stopped resumes in as many parts as it began with; a part that is finished is
    read.
    """
    rates = schedule.list_rates(len(task.strengths), optimizer.learning_rate)
    n = find_begun(checkpoint)
    if n is None:
        bytes_each = measure_bytes(task, schedule, optimizer)
        n = count_parts(
            len(task.seeds), len(task.strengths), bytes_each, trainer.training_memory_budget
        )
    if n == 1:
        return fit(task, schedule, optimizer, trainer, checkpoint, watch)
    parts = divide(len(task.seeds), len(task.strengths), n)
    print(
        f"training: not enough memory for all heads at once. {len(task.seeds)} head seeds are"
        f" trained in {len(parts)} parts.",
        file=sys.stderr,
    )
    files = [name_part(checkpoint.with_suffix(".part"), i, n) for i in range(len(parts))]
    for i, (part, file) in enumerate(zip(parts, files, strict=True)):
        if not file.exists():
            own_schedule = replace(schedule, learning_rate=[rates[m] for m in part.strengths])
            own_watch = Watch(watch.measure) if watch else None
            own_checkpoint = name_part(checkpoint, i, n)
            solution = fit(
                task.select(*part), own_schedule, optimizer, trainer, own_checkpoint, own_watch
            )
            # Into an open file: with a path, torch.save does not report that a disk is full.
            with write_atomically(file) as temporary, temporary.open("wb") as opened:
                torch.save(to_contents(solution, own_watch), opened)
    contents = [torch.load(file, weights_only=True) for file in files]
    if watch:
        watch.figures = join_figures(task, parts, [part["figures"] for part in contents])
    whole = join(task, parts, [part["tensors"] for part in contents])
    for file in files:
        file.unlink()
    return to_solution(whole)


# How many parts, and which.


def find_begun(checkpoint: Path) -> int | None:
    """Returns the number of parts of a fit that was stopped; None where there is none. The fit
    resumes in as many, whatever memory is free now.
    """
    if checkpoint.exists():
        return 1
    for path in sorted(checkpoint.parent.glob(f"{checkpoint.stem}-*-of-*")):
        match = re.search(r"-of-(\d+)$", path.stem)
        if match:
            return int(match[1])
    return None


def name_part(checkpoint: Path, i: int, n: int) -> Path:
    """Returns the checkpoint of one of n parts."""
    return checkpoint.with_name(f"{checkpoint.stem}-{i + 1}-of-{n}{checkpoint.suffix}")


def count_parts(n_seeds: int, n_strengths: int, bytes_each: int, budget: float) -> int:
    """Returns how many parts a population must have so that none needs more bytes than there are.

    Args:
        bytes_each: what the heads of one seed and one strength need.

    Raises:
        UserError: they need more than there is.
    """
    at_once = int(budget / bytes_each)
    if at_once < 1:
        raise UserError(
            f"trainer.memory: {budget / GIB:.3g} GiB are too few for the heads of one seed and one"
            f" strength, which need {bytes_each / GIB:.3g}. Give more, or a smaller"
            " training.batch_size or data.validation, or fewer levels."
        )
    if at_once >= n_strengths:
        return math.ceil(n_seeds / (at_once // n_strengths))
    return n_seeds * math.ceil(n_strengths / at_once)


def divide(n_seeds: int, n_strengths: int, n: int) -> list[Part]:
    """Returns n parts of a population, or a few more: whole seeds, or, where n is above the number
    of seeds, some strengths of one seed each.

    >>> [(len(part.seeds), len(part.strengths)) for part in divide(3, 4, 2)], len(divide(3, 4, 5))
    ([(2, 4), (1, 4)], 6)
    """
    if n <= n_seeds:
        return [Part(seeds, range(n_strengths)) for seeds in _divide_evenly(n_seeds, n)]
    parts_of_seed = min(n_strengths, math.ceil(n / n_seeds))
    parts = []
    for s in range(n_seeds):
        for strengths in _divide_evenly(n_strengths, parts_of_seed):
            parts.append(Part(range(s, s + 1), strengths))
    return parts


def _divide_evenly(n: int, parts: int) -> list[range]:
    size = math.ceil(n / parts)
    return [range(start, min(start + size, n)) for start in range(0, n, size)]


def measure_bytes(task: Task, schedule: Schedule, optimizer: StepOptimizer) -> int:
    """Returns the bytes that the heads of one seed and one strength need in training: how much more
    two of them need than one, because what all heads share is counted once.
    """
    of_one, trained = measure_peak_memory(partial(rehearse, task, schedule, optimizer, 1))
    of_two, _ = measure_peak_memory(partial(rehearse, task, schedule, optimizer, 2))
    # Beside a step: Adam's two averages, and for a watch the finished heads, stacked and copied.
    return int(TRAINING_OVERHEAD * (of_two - of_one + 4 * trained))


def rehearse(task: Task, schedule: Schedule, optimizer: StepOptimizer, n_seeds: int) -> int:
    """Does once what needs the most memory in training: a step, and the evaluation on held-out
    episodes while the gradients are there. Returns the bytes of the trained parameters.
    """
    some = task.select([0] * n_seeds, [0])
    population = build_population(some, schedule, optimizer)
    # Held-out episodes count from their first use on, so they are used before the step as well.
    task.objective.z_GNRD.view_as(task.objective.z_GNRD)
    batch = tuple(tensor[: schedule.batch_size] for tensor in task.examples.tensors)
    gradients = population.compute_gradients(
        population.detach_head(), population.draw_inputs(batch, step=0, progress=0.0)
    )
    with torch.no_grad():
        population.evaluate()
    del gradients
    trained = [value for value in population.parameters() if value.requires_grad]
    return sum(value.numel() * value.element_size() for value in trained)


# Parts as tensors in a file, and the whole from its parts.


def to_contents(solution: Solution, watch: Watch | None) -> dict[str, Any]:
    """Returns what is saved of a finished part: tensors with axes (G, S, M, ...), and the same of
    each epoch.
    """
    tensors = {
        "nll": solution.nll_GSM,
        "epoch": solution.epoch_GSM,
        "total": solution.total_GSM,
        "gain": solution.gain_GSM,
    }
    for name, value in solution.weights.items():
        tensors[PREFIX + name] = value.detach().contiguous()
    figures = {}
    if watch:
        for epoch, values in watch.figures.items():
            grid = solution.nll_GSM.shape
            figures[epoch] = {name: value_K.view(grid) for name, value_K in values.items()}
    return {"tensors": tensors, "figures": figures}


def to_solution(tensors: Weights) -> Solution:
    """Returns the finished heads of which `to_contents` saved the tensors."""
    weights = {}
    for name, value in tensors.items():
        if name.startswith(PREFIX):
            weights[name.removeprefix(PREFIX)] = value
    return Solution(weights, tensors["nll"], tensors["epoch"], tensors["total"], tensors["gain"])


def join(task: Task, parts: Sequence[Part], tensors: Sequence[Mapping[str, Tensor]]) -> Weights:
    """Returns tensors of all heads of a task, with axes (G, S, M, ...), from those of each part."""
    whole = {}
    for name, some in tensors[0].items():
        value = some.new_empty(*task.grid, *some.shape[3:])
        for (seeds, strengths), of_part in zip(parts, tensors, strict=True):
            of_seeds = value[:, seeds.start : seeds.stop]
            of_seeds[:, :, strengths.start : strengths.stop] = of_part[name]
        whole[name] = value
    return whole


def join_figures(
    task: Task, parts: Sequence[Part], figures: Sequence[dict[int, Weights]]
) -> dict[int, Weights]:
    """Returns the figures of all heads by epoch; those of a part that was done sooner keep their
    last values.
    """
    n_epochs = [max(of_part) + 1 for of_part in figures]
    whole = {}
    for epoch in range(max(n_epochs)):
        values = [of_part[min(epoch, n - 1)] for of_part, n in zip(figures, n_epochs, strict=True)]
        joined = join(task, parts, values)
        whole[epoch] = {name: value_GSM.flatten() for name, value_GSM in joined.items()}
    return whole
