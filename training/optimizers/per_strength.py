"""A learning rate for each strength, for optimizers whose step is proportional to their rate.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reporters.stack import align_with
from training.optimizers.optimizer import Groups


class PerStrength(torch.optim.Optimizer):
    """Takes the step of the highest rate, then moves each head back to its own share of it.

    Args:
        share_M: as in `StepOptimizer.build`.
    """

    def __init__(self, groups: Groups, share_M: Tensor | None, **options: Any) -> None:
        super().__init__(groups, **options)
        self.share_M = share_M

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if self.share_M is None:
            return super().step(closure)
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        before = [parameter.clone() for parameter in parameters]
        result = super().step(closure)
        for parameter, start in zip(parameters, before, strict=True):
            share = align_with(self.share_M[None, None].to(parameter), parameter)
            torch.lerp(start, parameter, share.expand_as(parameter), out=parameter)
        return result


class AdamWPerStrength(PerStrength, torch.optim.AdamW):
    """AdamW with a learning rate for each strength."""


class SGDPerStrength(PerStrength, torch.optim.SGD):
    """SGD with a learning rate for each strength."""
