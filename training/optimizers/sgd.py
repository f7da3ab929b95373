"""Stochastic gradient descent: a head moves along its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from console.ranges import LearningRate
from training.optimizers.optimizer import Groups, StepOptimizer
from training.optimizers.per_strength import SGDPerStrength


@dataclass(frozen=True)
class SGD(StepOptimizer):
    """Plain stochastic gradient descent. Each number's step is proportional to its gradient, so
    what is said loudly grows faster, over however many coordinates.

    Args:
        learning_rate: as in `StepOptimizer`.
    """

    learning_rate: LearningRate

    def build(
        self, groups: Groups, seed_S: Tensor, share_M: Tensor | None
    ) -> torch.optim.Optimizer:
        return SGDPerStrength(groups, share_M, lr=self.learning_rate)
