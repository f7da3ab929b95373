"""A circuit-size prior: the expected number of edges, each behind a hard-concrete gate; finished
heads are pruned and refitted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from priors.hard_concrete import drawn, is_open, settled
from priors.prior import Aid, Prior, Training
from reporters.reporter import Reporter, is_weight, no_weights
from reporters.stack import Weights


class CircuitSize(Prior):
    """Louizos, Welling and Kingma (2018), "Learning sparse neural networks through L0
    regularization".

    The price of an edge is ln E + ½ ln N nats: to name one of the head's E edges, and to state its
    weight as precisely as N episodes can tell. Biases are free. A finished head has each gate at
    its middle; a gate at 0 takes its edge away. Gates find the inputs and leave too many edges, so
    a finished head is then pruned as long as that lowers errors and price together: see
    `training/prune.py`.

    Args:
        log_alpha: where every gate begins; above 0 is open.
        prune: whether finished heads are pruned and refitted.
    """

    def __init__(self, log_alpha: float, prune: bool) -> None:
        self.log_alpha, self.prune = log_alpha, prune

    def state(self, weights: Weights, aid: Aid) -> Weights:
        return {
            name: torch.full_like(value, self.log_alpha)
            for name, value in weights.items()
            if is_weight(name)
        }

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        return weights | {
            name: weights[name] * drawn(log_alpha, noise[name]) for name, log_alpha in state.items()
        }

    def charge(self, training: Training) -> Tensor:
        edges = sum(value.numel() for value in training.state.values())
        return (
            _price(edges, training.n_examples)
            * expected(training.state, training.reach_T)
            / training.n_examples
        )

    def lacks(self, reporter: Reporter) -> str | None:
        return no_weights(reporter)

    def finish(self, weights: Weights, state: Weights) -> Weights:
        return weights | {
            name: weights[name] * settled(log_alpha) for name, log_alpha in state.items()
        }

    def edge_price(self, edges: int, n_examples: int) -> float:
        return _price(edges, n_examples) if self.prune else 0.0


def expected(log_alpha: Weights, like: Tensor) -> Tensor:
    """Returns how many gates are expected to be open."""
    return torch.stack(
        [*(is_open(value).sum() for value in log_alpha.values()), like.new_zeros(())]
    ).sum()


def _price(edges: int, n_examples: int) -> float:
    return math.log(edges) + math.log(n_examples) / 2 if edges else 0.0
