"""A two-part code that could be sent: a head's rounded parameters, then the labels given the head.

N: episodes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from reporters.code_lengths import compute_subset_bits, count_choice_bits
from reporters.reporter import Reporter, is_choice
from reporters.stack import Weights

PRECISIONS = range(-2, 12)
"""Binary places to which weights may be rounded; the code names one of them."""


class TwoPartCode(NamedTuple):
    """A code of a head and of the training labels."""

    total: Tensor
    """Its length in bits."""
    model: Tensor
    """The length of its first part, the parameters."""
    values: Tensor
    """The length of the parameters' values alone, without the names of those that are not 0."""
    rounded: Weights
    """The head that the code describes."""


def encode(reporter: Reporter, weights: Weights, z_NLD: Tensor, human_N: Tensor) -> TwoPartCode:
    """Returns the shortest two-part code (Rissanen 1978) of one head and of the training labels.

    The parameters are rounded to multiples of 2^-p. The first part names p, which of the
    multiples are not 0, and each of those by its sign and the Elias gamma code (1975) of its size;
    a choice is named among all that the head could have made. The second part is the labels, each
    by the probability that the rounded head gives it. The code uses the p that makes it shortest.
    """
    codes = []
    for places in PRECISIONS:
        step = 2.0**-places
        multiples = {
            name: (value / step).round() for name, value in weights.items() if not is_choice(name)
        }
        sizes = torch.cat([value.flatten() for value in multiples.values()]).abs()
        gamma = torch.where(sizes > 0, 2 + 2 * sizes.clamp_min(1).log2().floor(), 0.0).sum()
        values = math.log2(len(PRECISIONS)) + gamma + count_choice_bits(weights)
        model = values + compute_subset_bits(len(sizes), (sizes > 0).sum())
        rounded = weights | {name: value * step for name, value in multiples.items()}
        log_odds_N = functional_call(reporter, rounded, (z_NLD,)).log_odds_N
        total = model + (F.softplus(log_odds_N) - human_N * log_odds_N).sum() / math.log(2)
        codes.append(TwoPartCode(total, model, values, rounded))
    shortest = torch.stack([code.total for code in codes]).argmin(dim=0)

    def choose(*of_precisions: Tensor) -> Tensor:
        return torch.stack(of_precisions).index_select(0, shortest[None])[0]

    return tree_map(choose, *codes)
