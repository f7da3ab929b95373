"""The optimizer that suits the objective."""

from __future__ import annotations

from dataclasses import dataclass

from training.optimizers.optimizer import Optimizer


@dataclass(frozen=True)
class Auto(Optimizer):
    """L-BFGS where the objective is the same function at every step, AdamW where it is not."""
