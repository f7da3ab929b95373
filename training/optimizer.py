"""AdamW for heads of which each has a learning rate of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class EachItsRate(torch.optim.AdamW):
    """Fused AdamW at the highest rate, after which every head goes back by what is too much for it: Adam's step is in proportion to its rate.

    Args:
        share_M: each strength's rate as a share of the highest.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], share_M: Tensor, **options: Any) -> None:
        super().__init__(groups, **options)
        self.share_M = share_M

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        before = [parameter.clone() for parameter in parameters]
        loss = super().step(closure)
        for parameter, start in zip(parameters, before, strict=True):
            share = self.share_M.to(parameter).view(1, 1, -1, *[1] * (parameter.dim() - 3))
            torch.lerp(start, parameter, share.expand_as(parameter), out=parameter)
        return loss
