"""Bits to name the parts of a circuit."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reporters.code_lengths import compute_subset_bits


def count_subset_bits(total: int, live: Tensor) -> Tensor:
    """Returns the bits to name the live edges as a set; one of them says whether all are live.

    >>> count_subset_bits(4, torch.tensor([2, 4]))  # one of 5 counts, and one of 6 pairs
    tensor([5.9069, 1.0000])
    """
    return torch.where(live == total, 1.0, 1.0 + compute_subset_bits(total, live))


def count_list_bits(total: int, live: Tensor) -> Tensor:
    """Returns the bits to name the live elements among all as a list: how many, then each by its
    place among all.

    To name them as a set would take fewer bits, but ever fewer once more than half are live: in the
    circuit of a head that uses all its edges, every component would then be worth keeping, whatever
    it does.

    >>> count_list_bits(7, torch.tensor([0.0, 2.0])).tolist() == [3.0, 3.0 + 2 * math.log2(7)]
    True
    """
    return math.log2(total + 1) + live.double() * math.log2(total)
