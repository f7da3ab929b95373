"""The optimizer that suits the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.optimizers.adamw import AdamW
from training.optimizers.lbfgs import LBFGS
from training.optimizers.optimizer import Optimizer, StepOptimizer


@dataclass(frozen=True)
class Auto(Optimizer):
    """L-BFGS where the objective is the same function at every step, AdamW where it is not."""

    until_settled: ClassVar[LBFGS] = LBFGS(tolerance=0.003, steps=5000)
    by_steps: ClassVar[StepOptimizer] = AdamW(learning_rate=0.02)
    """These two, as in their YAML. They stand here so that a change of theirs is a change of code:
    the config of a run holds neither.
    """
