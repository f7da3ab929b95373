"""A head on one level with one hidden layer of GELU units."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from console.ranges import Range
from reporters.reporter import Reading, Reporter, build_single_exit_reading


class MLP(Reporter):
    """log-odds = v · gelu(W z + b) + c. N: episodes, D: width, H: hidden units.

    Args:
        hidden: the number of hidden units.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(self, n_levels: int, width: int, hidden: Annotated[int, Range(1, 65_536)]) -> None:
        super().__init__()
        inputs = n_levels * width
        self.inner_HD = nn.Parameter(torch.randn(hidden, inputs) * inputs**-0.5)
        self.inner_bias_H = nn.Parameter(torch.zeros(hidden))
        self.outer_1H = nn.Parameter(torch.randn(1, hidden) * hidden**-0.5)
        self.outer_bias = nn.Parameter(torch.zeros(()))

    def forward(self, z_NLD: Tensor) -> Reading:
        z_ND = z_NLD.flatten(1)
        sums_HN = self.inner_HD @ z_ND.T
        # If products are rounded to bfloat16, the widest tensor stays in bfloat16.
        hidden_HN = F.gelu(sums_HN + self.inner_bias_H[:, None].to(sums_HN))
        log_odds_N = (self.outer_1H @ hidden_HN).squeeze(0) + self.outer_bias
        return build_single_exit_reading(log_odds_N, z_NLD.shape[1])

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [2 * units["H"] * units["D"] + 2 * units["H"]]
