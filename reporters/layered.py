"""A head that reads level after level and learns at which to stop, so that a speed prior has
something to say.
"""

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from reporters.reporter import Reading, Reporter, halting


class Layered(Reporter):
    """At each level it adds what it reads there to what it has read, and stops with a probability
    that depends on the episode.

    Halting as in PonderNet (Banino, Balaguer and Blundell 2021), over the predictor's levels (early
    exit); the last level always stops. It begins with the same chance of stopping at every level.
    What halts is divided by √D: else Adam's first steps, as large in each of D directions, carry
    the chance to stop to 0 or 1 for some episodes, where no gradient brings it back.
    N: episodes, L: levels (and exits), D: width; row 0 reads, row 1 halts.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "all_levels"

    def __init__(self, n_levels: int, width: int) -> None:
        super().__init__()
        self.pace = width**-0.5
        self.weight_L2D = nn.Parameter(torch.randn(n_levels, 2, width) * width**-0.5)
        even_L = torch.tensor(
            [-math.log(max(n_levels - level - 1, 1)) for level in range(n_levels)]
        )
        self.bias_2L = nn.Parameter(torch.stack([torch.zeros(n_levels), even_L]))

    def forward(self, z_NLD: Tensor) -> Reading:
        # A product a level and not one batched product: stacked heads then share the activations,
        # where a batched product would copy them for each.
        # It is a clone, because stacked heads' slices of a level cannot be seen as one matrix.
        read_L2N = (
            weight_2D.clone() @ z_DN
            for weight_2D, z_DN in zip(self.weight_L2D, z_NLD.permute(1, 2, 0), strict=True)
        )
        said_LN, heard_LN = torch.stack(list(accumulate(read_L2N)), dim=1).unbind()
        log_odds_LN, stop_LN = (
            said_LN + self.bias_2L[0, :, None],
            heard_LN * self.pace + self.bias_2L[1, :, None],
        )
        levels_T = torch.arange(1, z_NLD.shape[1] + 1, device=z_NLD.device, dtype=z_NLD.dtype)
        return Reading(log_odds_LN.T, halting(stop_LN.T), levels_T)

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [4 * units["D"] * level for level in range(1, units["L"] + 1)]
