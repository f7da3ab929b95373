"""Hard-concrete gates: random, differentiable numbers between 0 and 1, most of which are exactly 0
or 1.

Louizos, Welling and Kingma (2018), "Learning sparse neural networks through L0 regularization".
"""

import math

import torch
from torch import Tensor

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1
"""Temperature and stretch of the distribution."""


def sample_gates(log_alpha: Tensor, uniform: Tensor) -> Tensor:
    """Returns random gates, made from numbers uniform on (0, 1)."""
    return _stretch(torch.sigmoid((torch.logit(uniform) + log_alpha) / BETA))


def compute_final_gates(log_alpha: Tensor) -> Tensor:
    """Returns the gates of a finished head: their middle, stretched and clamped."""
    return _stretch(torch.sigmoid(log_alpha))


def compute_open_probability(log_alpha: Tensor) -> Tensor:
    """Returns the probability that a gate is not 0."""
    return torch.sigmoid(log_alpha - BETA * math.log(-LOW / HIGH))


def _stretch(gate: Tensor) -> Tensor:
    return (LOW + (HIGH - LOW) * gate).clamp(0, 1)
