"""A linear head on one level that a method of its own fits, and the scale of a direction."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from reporters.reporter import Reading, SelfFitted, build_single_exit_reading


class FittedLinear(SelfFitted, ABC):
    """log-odds = w · z + b, with w and b from the method `fit`. N: episodes, D: width."""

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(self, n_levels: int, width: int) -> None:
        super().__init__()
        self.weight_1D = nn.Parameter(torch.zeros(1, n_levels * width))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, z_NLD: Tensor) -> Reading:
        z_ND = z_NLD.flatten(1)
        log_odds_N = (self.weight_1D @ z_ND.T)[0] + self.bias
        return build_single_exit_reading(log_odds_N, z_NLD.shape[1])

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [2 * units["D"]]


def scale_direction(direction_D: Tensor, z_ND: Tensor, human_N: Tensor) -> dict[str, Tensor]:
    """Returns the parameters of the linear head that reads one direction: its log-odds are those of
    a one-dimensional linear discriminant.

    The scale is the distance of the projected class means over the variance within classes, and the
    threshold is at their midpoint. So the sign of the direction does not matter.
    """
    yes_N1 = human_N[:, None]
    no_N1 = 1 - yes_N1
    mean_yes_D = (yes_N1 * z_ND).sum(0) / yes_N1.sum()
    mean_no_D = (no_N1 * z_ND).sum(0) / no_N1.sum()
    within_N = (z_ND - yes_N1 * mean_yes_D - no_N1 * mean_no_D) @ direction_D
    distance = ((mean_yes_D - mean_no_D) * direction_D).sum()
    weight_D = distance / within_N.square().mean().clamp_min(1e-12) * direction_D
    bias = -(weight_D * (mean_yes_D + mean_no_D)).sum() / 2
    return {"weight_1D": weight_D[None], "bias": bias}
