"""Steps of stacked heads, each with a gradient norm and a learning rate of its own.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class AdamWPerStrength(torch.optim.AdamW):
    """Fused AdamW with a learning rate for each strength.

    It takes the step of the highest rate, then moves each head back to its own share of it: Adam's
    step is proportional to its rate.

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
            n_own_axes = parameter.dim() - 3
            share = self.share_M.to(parameter).view(1, 1, -1, *[1] * n_own_axes)
            torch.lerp(start, parameter, share.expand_as(parameter), out=parameter)
        return loss


def clip_gradients(gradients: Sequence[Tensor], most: float) -> tuple[list[Tensor], Tensor]:
    """Returns gradients, of shape (G, S, M, ...), scaled so that no head's norm is above `most`,
    and what each head's norm was before.

    A gradient that is not a number makes its own head's gradients NaN, and no other's.
    """
    grid = gradients[0].shape[:3]
    norms = [torch.linalg.vector_norm(value.reshape(*grid, -1), dim=3) for value in gradients]
    norm_GSM = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    scale_GSM = (most / norm_GSM.clamp_min(1e-12)).clamp(max=1)
    clipped = []
    for value in gradients:
        scale = scale_GSM.view(*grid, *[1] * (value.dim() - 3))
        clipped.append((value * scale).contiguous())
    return clipped, norm_GSM
