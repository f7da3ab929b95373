"""A circuit-size prior: the expected number of edges, each behind a hard-concrete gate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from priors.prior import Prior, Training, is_bias
from reporters.stack import Weights

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1
"""Temperature and stretch of the hard-concrete distribution."""


class CircuitSize(Prior):
    """Louizos, Welling and Kingma (2018), "Learning sparse neural networks through L0 regularization".

    The price of an edge is ln E + ½ ln N nats: to name one of the head's E edges, and to state its weight as precisely as N episodes can tell.
    Biases are free. A finished head has each gate at its mean value, clamped; a gate at 0 takes its edge away.

    Args:
        log_alpha: where every gate begins; above 0 is open.
    """

    draws = 1

    def __init__(self, log_alpha: float) -> None:
        self.log_alpha = log_alpha

    def state(self, weights: Weights) -> Weights:
        return {name: torch.full_like(value, self.log_alpha) for name, value in weights.items() if not is_bias(name)}

    def transform(self, weights: Weights, state: Weights, noise: Sequence[Weights]) -> Weights:
        gates = {name: _stretch(torch.sigmoid((torch.logit(noise[0][name]) + log_alpha) / BETA)) for name, log_alpha in state.items()}
        return weights | {name: weights[name] * gate for name, gate in gates.items()}

    def charge(self, training: Training) -> Tensor:
        edges = sum(value.numel() for value in training.state.values())
        price = math.log(edges) + math.log(training.n_examples) / 2
        return price * torch.stack([_open(log_alpha).sum() for log_alpha in training.state.values()]).sum() / training.n_examples

    def finish(self, weights: Weights, state: Weights) -> Weights:
        return weights | {name: weights[name] * _stretch(torch.sigmoid(log_alpha)) for name, log_alpha in state.items()}


def _stretch(gate: Tensor) -> Tensor:
    return (LOW + (HIGH - LOW) * gate).clamp(0, 1)


def _open(log_alpha: Tensor) -> Tensor:
    """Returns the probability that a gate is not 0."""
    return torch.sigmoid(log_alpha - BETA * math.log(-LOW / HIGH))
