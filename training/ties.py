"""Heads of one level and strength that are as good as the best of them: ties, between which the
objective does not choose.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TIED = 1.0
"""Nats of the whole training set within which heads are tied."""


class Ties(NamedTuple):
    """The ties of each head's cell: the heads of its level and strength."""

    tied_GSM: Tensor
    """How many heads of the cell are within 1 nat of the best of them."""
    low_GSM: Tensor
    """The lowest share of disputed episodes on which one of these follows X."""
    high_GSM: Tensor
    """The highest."""


def find_ties(total_GSM: Tensor, follows_concept_GSM: Tensor) -> Ties:
    """Returns the ties of every head's cell. A cell in which no total is finite has no ties: 0
    heads, and a range that is NaN.

    >>> total_GSM = torch.tensor([8.3, 8.5, 12.0]).view(1, 3, 1)
    >>> ties = find_ties(total_GSM, torch.tensor([0.1, 0.9, 1.0]).view(1, 3, 1))
    >>> [value.unique().item() for value in ties]
    [2, 0.10000000149011612, 0.8999999761581421]

    Args:
        total_GSM: errors and charge of each head, in nats of the whole training set.
    """
    total_GSM = total_GSM.nan_to_num(nan=torch.inf)
    best_G1M = total_GSM.amin(dim=1, keepdim=True)
    tied_GSM = (total_GSM <= best_G1M + TIED) & total_GSM.isfinite()
    n_G1M = tied_GSM.sum(dim=1, keepdim=True)
    low_G1M = follows_concept_GSM.where(tied_GSM, torch.inf).amin(dim=1, keepdim=True)
    high_G1M = follows_concept_GSM.where(tied_GSM, -torch.inf).amax(dim=1, keepdim=True)
    none_G1M = n_G1M == 0
    return Ties(
        n_G1M.expand_as(total_GSM),
        low_G1M.masked_fill(none_G1M, torch.nan).expand_as(total_GSM),
        high_G1M.masked_fill(none_G1M, torch.nan).expand_as(total_GSM),
    )
