"""Bits to name some of many things."""

import math

import torch
from torch import Tensor

from reporters.reporter import is_choice
from reporters.stack import Weights


def choice_bits(weights: Weights) -> float:
    """Returns the bits to name every choice that one head has made, each among all it could have
    made.

    >>> choice_bits({"gate_choice_BG": torch.zeros(3, 16), "bias": torch.zeros(3)})
    12.0
    """
    return sum(
        value.numel() / value.shape[-1] * math.log2(value.shape[-1])
        for name, value in weights.items()
        if is_choice(name)
    )


def subset_bits(all_of_them: int, live: Tensor) -> Tensor:
    """Returns bits to say how many of so many things are meant, and which: log2(E + 1) + log2 C(E,
    k).

    >>> subset_bits(4, torch.tensor(2))  # one of 5 counts, one of 6 pairs
    tensor(4.9069)
    """
    size = torch.tensor(float(all_of_them), device=live.device)
    choose = torch.lgamma(size + 1) - torch.lgamma(live + 1) - torch.lgamma(size - live + 1)
    return math.log2(all_of_them + 1) + choose / math.log(2)
