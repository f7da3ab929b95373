"""The difference of class means, solved in closed form: the mass-mean probe of Marks and Tegmark
(2023).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from reporters.reporter import ClosedForm, Reading, build_single_exit_reading


class MeanDifference(ClosedForm):
    """log-odds = s (d · z − m), where d is the difference of class means, m the projection of their
    midpoint, and s the scale that turns the result into log-odds.

    s is that of a one-dimensional linear discriminant: the distance of the projected class means
    over the variance within classes.
    N: episodes, D: width.
    """

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

    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        z_ND = z_NLD.flatten(1)
        yes_N1 = human_N[:, None]
        no_N1 = 1 - yes_N1
        mean_yes_D = (yes_N1 * z_ND).sum(0) / yes_N1.sum()
        mean_no_D = (no_N1 * z_ND).sum(0) / no_N1.sum()
        difference_D = mean_yes_D - mean_no_D
        within_N = (z_ND - yes_N1 * mean_yes_D - no_N1 * mean_no_D) @ difference_D
        scale = difference_D.square().sum() / within_N.square().mean().clamp_min(1e-12)
        weight_D = scale * difference_D
        bias = -(weight_D * (mean_yes_D + mean_no_D)).sum() / 2
        return {"weight_1D": weight_D[None], "bias": bias}
