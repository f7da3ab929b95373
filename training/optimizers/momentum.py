"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from console.ranges import InnerShare, LearningRate
from training.optimizers.optimizer import Groups, StepOptimizer
from training.optimizers.per_strength import SGDPerStrength


@dataclass(frozen=True)
class Momentum(StepOptimizer):
    """Stochastic gradient descent along a moving sum of gradients (Polyak 1964).

    Args:
        learning_rate: as in `StepOptimizer`.
        momentum: the share of the sum that each step keeps.
    """

    learning_rate: LearningRate
    momentum: InnerShare

    def build(
        self, groups: Groups, seed_S: Tensor, share_M: Tensor | None
    ) -> torch.optim.Optimizer:
        options = {"lr": self.learning_rate, "momentum": self.momentum}
        return SGDPerStrength(groups, share_M, **options)
