"""From a reporter and a prior to finished heads: levels × head seeds × strengths."""

from __future__ import annotations

from pathlib import Path

import torch

from compute.trainer import Trainer
from configs.build import Parts
from configs.plan import Plan
from core_model.timing import ReadingCosts
from training import population
from training.heads import Heads
from training.material import Material
from training.requests import Requests
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
        watch: takes note of the heads at each epoch; they are the same heads without it.
    """
    examples, held_out = material.examples, material.held_out
    if requests.inputs:
        examples = examples._replace(inputs_N=requests.inputs[0])
        held_out = held_out._replace(inputs_N=requests.inputs[1])
    trainer: Trainer = parts.trainer
    return population.train(
        make=parts.reporter,
        prior=parts.prior,
        examples=examples,
        held_out=held_out,
        levels=levels,
        flops_L=torch.tensor([costs.flops[level] for level in levels], dtype=torch.float64),
        flops_step=costs.flops[1],
        seeds=plan.head_seeds,
        strengths=plan.strengths,
        schedule=parts.training,
        trainer=trainer,
        checkpoint=checkpoint,
        observed=requests.observed,
        pairs_2PLD=requests.pairs_2PLD,
        ablation=requests.ablation,
        watch=watch,
    )
