"""A head that reads level after level and learns at which level to stop, so that a speed prior can
change what it does.
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from reporters.reporter import Reading, Reporter, compute_even_halting, compute_halting

NEVER = -20.0
"""Log-odds of stopping with which a head goes on."""


class Layered(Reporter):
    """At each level it adds a linear reading of that level to the sum of the earlier ones, and
    stops with a probability that depends on the episode.

    Halting as in PonderNet (Banino, Balaguer and Blundell 2021), over the predictor's levels (early
    exit); the last level always stops. At the start every level has the same probability of
    stopping. The stopping log-odds are divided by √D. Without that, Adam's first steps, which are
    equally large in each of D directions, move the probability of stopping to 0 or 1 for some
    episodes, where no gradient brings it back.
    N: episodes, L: levels (and exits), D: width; row 0 gives the answer, row 1 stops.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "all_levels"

    def __init__(self, n_levels: int, width: int) -> None:
        super().__init__()
        self.halting_scale = width**-0.5
        self.weight_L2D = nn.Parameter(torch.randn(n_levels, 2, width) * width**-0.5)
        stop_L = compute_even_halting(n_levels)
        self.bias_2L = nn.Parameter(torch.stack([torch.zeros(n_levels), stop_L]))

    def forward(self, z_NLD: Tensor) -> Reading:
        # One product a level and no batched product: stacked heads then share the activations,
        # while a batched product would copy them for each head. The weight is cloned because
        # the stacked heads' slices of one level cannot be viewed as one matrix.
        product_L2N = (
            weight_2D.clone() @ z_DN
            for weight_2D, z_DN in zip(self.weight_L2D, z_NLD.permute(1, 2, 0), strict=True)
        )
        answer_LN, stop_LN = torch.stack(list(accumulate(product_L2N)), dim=1).unbind()
        log_odds_LN = answer_LN + self.bias_2L[0, :, None]
        stop_LN = stop_LN * self.halting_scale + self.bias_2L[1, :, None]
        n_levels = z_NLD.shape[1]
        levels_T = torch.arange(1, n_levels + 1, device=z_NLD.device, dtype=z_NLD.dtype)
        return Reading(log_odds_LN.T, compute_halting(stop_LN.T), levels_T)

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [4 * units["D"] * level for level in range(1, units["L"] + 1)]

    def read_to_the_end(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        answer_LD, stop_LD = weights["weight_L2D"].unbind(dim=1)
        answer_L, stop_L = weights["bias_2L"]
        return weights | {
            "weight_L2D": torch.stack([answer_LD, torch.zeros_like(stop_LD)], dim=1),
            "bias_2L": torch.stack([answer_L, torch.full_like(stop_L, NEVER)]),
        }
