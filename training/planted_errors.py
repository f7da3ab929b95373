"""Errors in what a planted translator learns, where the human errs on easy episodes.

N: episodes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def choose_errors(
    concept_N: Tensor, human_N: Tensor, share: float, rng: np.random.Generator | None = None
) -> Tensor:
    """Returns the rows of the episodes whose answers are flipped: a share of all, to the nearest
    whole number, as often in each combination of X and H.

    >>> concept_N = torch.arange(8) > 3
    >>> choose_errors(concept_N, torch.ones(8), 0.25)
    tensor([2, 6])

    Args:
        rng: draws them; without it they are spread evenly over the episodes in their order.
    """
    order_N = torch.arange(len(concept_N))
    if rng:
        order_N = torch.from_numpy(rng.permutation(len(concept_N)))
    cell_N = 2 * concept_N.int() + human_N.int()
    by_cell_N = order_N[cell_N[order_N].argsort(stable=True)]
    return choose_evenly(by_cell_N, round(share * len(concept_N)))


def choose_evenly(row_N: Tensor, n: int) -> Tensor:
    """Returns n of some rows, evenly spread.

    >>> choose_evenly(torch.arange(10), 2), choose_evenly(torch.arange(10), 0)
    (tensor([2, 7]), tensor([], dtype=torch.int64))
    """
    return row_N[((torch.arange(n) + 0.5) * len(row_N) / max(n, 1)).long()]


def compute_entropy(share: float) -> float:
    """Returns the nats an episode that errors at this rate cost in the best code.

    >>> round(compute_entropy(0.5), 3), round(compute_entropy(0.05), 3), compute_entropy(0.0)
    (0.693, 0.199, 0.0)
    """
    if share == 0:
        return 0.0
    return -share * math.log(share) - (1 - share) * math.log1p(-share)
