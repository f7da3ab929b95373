"""The optimizer that suits the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.optimizers.adamw import AdamW
from training.optimizers.optimizer import Optimizer, StepOptimizer


@dataclass(frozen=True)
class Auto(Optimizer):
    """L-BFGS where the objective is the same function at every step, AdamW where it is not."""

    by_steps: ClassVar[StepOptimizer] = AdamW(learning_rate=0.02)
    """That AdamW, as in its YAML."""
