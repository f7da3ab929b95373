"""A simplicity prior: the bits of a variational code for the head's parameters."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from console.ranges import Range
from priors.prior import Aid, Prior, Training
from reporters.code_lengths import count_choice_bits
from reporters.reporter import is_choice
from reporters.stack import Weights

SCALE_BITS = 6
"""Bits to name the scale of one tensor."""


class Simplicity(Prior):
    """Hinton and van Camp (1993), Graves (2011): a posterior q = N(mu, sigma²) for each parameter,
    and a prior N(0, s²) for each tensor, with s at its optimum.

    KL(q, prior) = ½ Σ ln(s²/sigma²) where s² = mean(mu² + sigma²); the scale s costs 6 bits a
    tensor. Because s is learned, rescaling the layers of a ReLU network does not change the charge.
    The price is ln 2 nats a bit, so the charge is the KL itself over the training episodes. A
    choice among P options is not a number: it is named, and costs ln P nats whatever it is.

    Args:
        sigma: the initial sigma of every parameter, on standardised activations.
    """

    def __init__(self, sigma: Annotated[float, Range(1e-6, 10)]) -> None:
        self.sigma = sigma

    def state(self, weights: Weights, aid: Aid) -> Weights:
        numbers = {name: value for name, value in weights.items() if not is_choice(name)}
        log_sigma = math.log(self.sigma)
        return {name: torch.full_like(value, log_sigma) for name, value in numbers.items()}

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        noisy = dict(weights)
        for name, log_sigma in state.items():
            noisy[name] = weights[name] + log_sigma.exp() * _transform_to_normal(noise[name])
        return noisy

    def compute_variance(self, state: Weights) -> Weights:
        return {name: (2 * log_sigma).exp() for name, log_sigma in state.items()}

    def charge(self, training: Training) -> Tensor:
        costs = []
        for name, log_sigma in training.state.items():
            costs.append(_kl(training.weights[name], log_sigma) + SCALE_BITS * math.log(2))
        choices = count_choice_bits(training.weights) * math.log(2)
        return (torch.stack(costs).sum() + choices) / training.n_examples


def _transform_to_normal(uniform: Tensor) -> Tensor:
    """Returns standard normal numbers, made from numbers uniform on (0, 1), in a quarter of the
    time that `ndtri` takes.
    """
    return math.sqrt(2) * torch.erfinv(2 * uniform - 1)


def _kl(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """Returns KL(N(mu, sigma²), N(0, s²)) of a tensor in nats, at the s that minimises it."""
    s_squared = (mu.square() + (2 * log_sigma).exp()).mean()
    log_s = s_squared.log() / 2
    return (log_s - log_sigma).sum()
