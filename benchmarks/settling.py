"""What it costs that heads settle, and what it changes: settled populations of the vault beside 30
epochs of AdamW without any measurement.   python -m benchmarks.settling

The time is that of finding heads alone: activations are read before. Each predictor of the vault
trains once, in minutes, and is then kept.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import describe_machine
from configs.build import build, build_parts, read_default
from configs.plan import read_plan
from console.command_line import name_runs, to_plain_values
from training.find_heads import build_task
from training.fit import build_population, train_population
from training.requests import fulfil
from training.solve import solve
from training.task import Task
from verdict.run_inputs import prepare_once

CASES = (
    # reporter, prior, strengths, most times 30 epochs
    ("linear", "none", "[0]", 1.5),
    ("linear", "gaussian", "[0.0625,0.25,1,4,8,16]", 1.5),
    ("linear", "simplicity", "[0.0625,0.25,1,4,8,16]", 1.5),
    ("layered", "none", "[0]", 6.0),
    ("layered", "gaussian", "[0.25,1,4]", 6.0),
    ("layered", "simplicity", "[0.25,1,4]", 6.0),
    ("layered", "speed", "[0.25,1,4]", 6.0),
)
SEEDS = 8


class Times(NamedTuple):
    """Seconds of one population."""

    settled: float
    epochs: float


def main() -> None:
    """Prints the table, line by line as it is measured."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    name_runs()
    print(describe_machine())
    print("\n| heads | 30 epochs, s | until settled, s | times | bar |\n|---|---|---|---|---|")
    for reporter, prior, strengths, bar in CASES:
        task, parts = prepare_task(
            f"reporter={reporter}", f"prior={prior}", f"strengths={strengths}", f"seeds={SEEDS}"
        )
        heads = len(task.objective.reach_GR) * len(task.seeds) * len(task.strengths)
        times = measure(task, parts)
        ratio = times.settled / times.epochs
        met = "met" if ratio <= bar else "not met"
        print(
            f"| {heads} {reporter}, {prior} | {times.epochs:.1f} | {times.settled:.1f} |"
            f" {ratio:.2g} | ≤ {bar:g}, {met} |",
            flush=True,
        )


def prepare_task(*overrides: str) -> tuple[Task, Any]:
    """Returns the task of a run, and its parts."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("configs", version_base="1.3"):
        config = to_plain_values(compose("train", overrides=list(overrides)))
    parts = build_parts(config)
    plan = read_plan(config, parts)
    (inputs,) = prepare_once(config, parts, plan)
    requests = fulfil(parts.prior, parts.world, inputs.reader, inputs.material, plan)
    levels, flops = inputs.reader.levels, inputs.costs.flops
    task = build_task(
        parts.reporter,
        parts.prior,
        inputs.material.examples,
        inputs.material.held_out,
        levels,
        torch.tensor([flops[level] for level in levels], dtype=torch.float64),
        flops[1],
        plan.head_seeds,
        plan.strengths,
        requests,
    )
    return task, parts


def measure(task: Task, parts: Any) -> Times:
    """Returns what the heads of a task take."""
    schedule = build(read_default("training/early_stopping.yaml"), "training")
    adamw = build(read_default("optimizer/adamw.yaml"), "optimizer")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        start = time.perf_counter()
        population = build_population(task, schedule, adamw)
        train_population(task, population, parts.trainer, checkpoint)
        middle = time.perf_counter()
        solve(task, parts.training, parts.optimizer, parts.trainer, checkpoint, None)
        return Times(time.perf_counter() - middle, middle - start)


if __name__ == "__main__":
    main()
