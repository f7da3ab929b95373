"""Bits to name some of many things."""

import math

import torch
from torch import Tensor


def subset_bits(all_of_them: int, live: Tensor) -> Tensor:
    """Returns bits to say how many of so many things are meant, and which: log2(E + 1) + log2 C(E, k).

    >>> subset_bits(4, torch.tensor(2))  # one of 5 counts, one of 6 pairs
    tensor(4.9069)
    """
    size = torch.tensor(float(all_of_them), device=live.device)
    choose = torch.lgamma(size + 1) - torch.lgamma(live + 1) - torch.lgamma(size - live + 1)
    return math.log2(all_of_them + 1) + choose / math.log(2)
