"""Steps of heads that know nothing of each other: each with a norm and a learning rate of its own.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class EachItsRate(torch.optim.AdamW):
    """Fused AdamW at the highest rate, after which every head goes back by what is too much for it:
    Adam's step is in proportion to its rate.

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


def clipped(gradients: Sequence[Tensor], most: float) -> tuple[list[Tensor], Tensor]:
    """Returns gradients, of shape (G, S, M, ...), whose norm is at most so much for every head, and
    what each head's was before.

    One that is not a number makes its own head's gradients so, and no other's.
    """
    grid = gradients[0].shape[:3]
    norm_GSM = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(one.reshape(*grid, -1), dim=3) for one in gradients]),
        dim=0,
    )
    scale_GSM = (most / norm_GSM.clamp_min(1e-12)).clamp(max=1)
    return [
        (one * scale_GSM.view(*grid, *[1] * (one.dim() - 3))).contiguous() for one in gradients
    ], norm_GSM
