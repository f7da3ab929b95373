"""AdamW, without weight decay: a head's every number moves at about the same speed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from console.ranges import LearningRate
from training.optimizers.optimizer import Groups, StepOptimizer
from training.optimizers.per_strength import AdamWPerStrength


@dataclass(frozen=True)
class AdamW(StepOptimizer):
    """AdamW (Loshchilov and Hutter 2019) without weight decay. Each number's step is its gradient
    divided by the gradient's usual size, so what many coordinates say grows faster than what one
    says as loudly.

    Args:
        learning_rate: as in `StepOptimizer`.
    """

    learning_rate: LearningRate

    def build(
        self, groups: Groups, seed_S: Tensor, share_M: Tensor | None
    ) -> torch.optim.Optimizer:
        options = {"lr": self.learning_rate, "weight_decay": 0.0, "fused": True}
        return AdamWPerStrength(groups, share_M, **options)
