"""Bits to name some of many items."""

import math

import torch
from torch import Tensor

from reporters.reporter import is_choice
from reporters.stack import Weights


def count_choice_bits(weights: Weights) -> float:
    """Returns the bits to name every choice of one head, each among all its options.

    >>> count_choice_bits({"gate_choice_BG": torch.zeros(3, 16), "bias": torch.zeros(3)})
    12.0
    """
    bits = 0.0
    for name, value in weights.items():
        if is_choice(name):
            options = value.shape[-1]
            bits += value.numel() / options * math.log2(options)
    return bits


def compute_subset_bits(size: int, chosen: Tensor) -> Tensor:
    """Returns the bits to name a subset of E items: how many it holds, and which. For k items these
    are log2(E + 1) + log2 C(E, k).

    >>> compute_subset_bits(4, torch.tensor(2))  # one of 5 counts, one of 6 pairs
    tensor(4.9069)

    Args:
        size: E, the number of all items.
        chosen: k, the number of items in the subset.
    """
    all_items = torch.tensor(float(size), device=chosen.device)
    log_choose = (
        torch.lgamma(all_items + 1)
        - torch.lgamma(chosen + 1)
        - torch.lgamma(all_items - chosen + 1)
    )
    return math.log2(size + 1) + log_choose / math.log(2)
