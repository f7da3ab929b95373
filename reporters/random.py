"""A random direction: the control of every head that reads one."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from reporters.fitted_linear import FittedLinear, scale_direction
from reporters.reporter import ClosedForm


class Random(FittedLinear, ClosedForm):
    """log-odds = s (r · z − m), with a direction r of normal numbers that the head's seed draws.

    Only the scale, the sign and the threshold are fitted to the human's answers, as those of
    `mean_difference`. So it shows what these alone find. (The bill's prequential code is that of
    the first seed's direction.)
    """

    uses_seed: ClassVar[bool] = True

    def __init__(self, n_levels: int, width: int) -> None:
        super().__init__(n_levels, width)
        inputs = n_levels * width
        self.weight_1D = nn.Parameter(torch.randn(1, inputs) * inputs**-0.5)

    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        return scale_direction(self.weight_1D[0].detach(), z_NLD.flatten(1), human_N)
