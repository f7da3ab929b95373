"""Hard-concrete gates: numbers between 0 and 1, random and differentiable, that are 0 or 1 more
often than not.

Louizos, Welling and Kingma (2018), "Learning sparse neural networks through L0 regularization".
"""

import math

import torch
from torch import Tensor

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1
"""Temperature and stretch of the distribution."""


def drawn(log_alpha: Tensor, uniform: Tensor) -> Tensor:
    """Returns gates drawn with numbers uniform on (0, 1)."""
    return _stretched(torch.sigmoid((torch.logit(uniform) + log_alpha) / BETA))


def settled(log_alpha: Tensor) -> Tensor:
    """Returns the gates of a finished head: their middle, stretched and clamped."""
    return _stretched(torch.sigmoid(log_alpha))


def is_open(log_alpha: Tensor) -> Tensor:
    """Returns the probability that a gate is not 0."""
    return torch.sigmoid(log_alpha - BETA * math.log(-LOW / HIGH))


def _stretched(gate: Tensor) -> Tensor:
    return (LOW + (HIGH - LOW) * gate).clamp(0, 1)
