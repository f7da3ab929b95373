"""A simplicity prior: the bits of a variational code for the head's parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from priors.prior import Aid, Prior, Training
from reporters.code_lengths import choice_bits
from reporters.reporter import is_choice
from reporters.stack import Weights

SCALE_BITS = 6
"""Bits to name the scale of one tensor."""


class Simplicity(Prior):
    """Hinton and van Camp (1993), Graves (2011): q = N(mu, sigma²) a parameter, prior N(0, s²) a
    tensor, s at its optimum.

    KL(q, prior) = ½ Σ ln(s²/sigma²) where s² = mean(mu² + sigma²); the scale s is paid for with 6
    bits a tensor. Because s is learned, rescaling the layers of a ReLU network does not change the
    charge. The price is ln 2 nats a bit, so the charge is the KL itself over the training episodes.
    A choice among P is no number: it is named, and costs ln P nats whatever it is.

    Args:
        sigma: sigma that every parameter begins with, on standardised activations.
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def state(self, weights: Weights, aid: Aid) -> Weights:
        return {
            name: torch.full_like(value, math.log(self.sigma))
            for name, value in weights.items()
            if not is_choice(name)
        }

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        return weights | {
            name: weights[name] + log_sigma.exp() * _normal(noise[name])
            for name, log_sigma in state.items()
        }

    def charge(self, training: Training) -> Tensor:
        kl = [
            _kl(training.weights[name], log_sigma) + SCALE_BITS * math.log(2)
            for name, log_sigma in training.state.items()
        ]
        return (
            torch.stack(kl).sum() + choice_bits(training.weights) * math.log(2)
        ) / training.n_examples


def _normal(uniform: Tensor) -> Tensor:
    """Returns standard normal numbers from ones uniform on (0, 1), in a quarter of the time that
    `ndtri` takes.
    """
    return math.sqrt(2) * torch.erfinv(2 * uniform - 1)


def _kl(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """Returns KL(N(mu, sigma²), N(0, s²)) of a tensor in nats, at the s that makes it least."""
    log_s = (mu.square() + (2 * log_sigma).exp()).mean().log() / 2
    return (log_s - log_sigma).sum()
