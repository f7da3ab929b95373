"""A real two-part code: a head's rounded parameters, and the labels given them.

N: episodes, P: parameters.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from reporters.code_lengths import choice_bits, subset_bits
from reporters.reporter import Reporter, is_choice
from reporters.stack import Weights

PRECISIONS = range(-2, 12)
"""Binary places to which weights are rounded; the code names one of them."""


class TwoPart(NamedTuple):
    """A code of a head and of the training labels."""

    total: Tensor
    """Its length in bits."""
    model: Tensor
    """That of its first part, the parameters."""
    values: Tensor
    """That of the parameters' values alone, without the names of those that are not 0."""
    rounded: Weights
    """The head as the code tells it."""


def two_part(reporter: Reporter, weights: Weights, z_NLD: Tensor, human_N: Tensor) -> TwoPart:
    """Returns the length in bits of a two-part code (Rissanen 1978) for one head.

    The parameters are rounded to multiples of 2^-p. Named are: p, how many of the P multiples are
    not 0, which, and each by its sign and the Elias gamma code (1975) of its size; choices are
    named among all they could have been. Then come the labels, each by the probability that the
    rounded head gives it. The shortest over p counts.
    """
    codes = []
    for places in PRECISIONS:
        step = 2.0**-places
        rounded = {
            name: (value / step).round() for name, value in weights.items() if not is_choice(name)
        }
        count_P = torch.cat([value.flatten() for value in rounded.values()]).abs()
        gamma = torch.where(count_P > 0, 2 + 2 * count_P.clamp_min(1).log2().floor(), 0.0).sum()
        values = math.log2(len(PRECISIONS)) + gamma + choice_bits(weights)
        model = values + subset_bits(len(count_P), (count_P > 0).sum())
        told = weights | {name: value * step for name, value in rounded.items()}
        log_odds_N = functional_call(reporter, told, (z_NLD,)).log_odds_N
        codes.append(
            TwoPart(
                model + (F.softplus(log_odds_N) - human_N * log_odds_N).sum() / math.log(2),
                model,
                values,
                told,
            )
        )
    best = torch.stack([code.total for code in codes]).argmin(dim=0)
    return torch.utils._pytree.tree_map(
        lambda *parts: torch.stack(parts).index_select(0, best[None])[0], *codes
    )  # type: ignore[no-any-return]
