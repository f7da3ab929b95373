"""A logistic head on one level: the linear probe of Alain and Bengio (2016)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from reporters.reporter import Reading, Reporter, build_single_exit_reading


class Linear(Reporter):
    """log-odds = w · z + b. N: episodes, D: width."""

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(self, n_levels: int, width: int) -> None:
        super().__init__()
        inputs = n_levels * width
        self.weight_1D = nn.Parameter(torch.randn(1, inputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, z_NLD: Tensor) -> Reading:
        z_ND = z_NLD.flatten(1)
        log_odds_N = (self.weight_1D @ z_ND.T).squeeze(0) + self.bias
        return build_single_exit_reading(log_odds_N, z_NLD.shape[1])

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [2 * units["D"]]
