"""A circuit-size prior: the expected number of edges, each behind a hard-concrete gate; finished
heads are pruned and refitted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from console.ranges import LogAlpha
from priors.hard_concrete import compute_final_gates, compute_open_probability, sample_gates
from priors.prior import Aid, Prior, Training
from reporters.reporter import Reporter, find_missing_weights, is_weight
from reporters.stack import Weights


class CircuitSize(Prior):
    """Louizos, Welling and Kingma (2018), "Learning sparse neural networks through L0
    regularization".

    The price of an edge is ln E + ½ ln N nats: to name one of the head's E edges, and to state its
    weight as precisely as N episodes can determine it. Biases are free. A finished head has each
    gate at its middle; a gate at 0 removes its edge. Gates find inputs but leave too many edges. So
    in a finished head edges are taken out, put in and swapped, each set with an exact refit, until
    none of these moves lowers the sum of errors and price: see `training/prune.py`.

    Args:
        log_alpha: the initial value of every gate; above 0 is open.
        prune: whether finished heads are pruned and refitted.
    """

    charges_edges_alone = True

    def __init__(self, log_alpha: LogAlpha, prune: bool) -> None:
        self.log_alpha = log_alpha
        self.prune = prune

    def state(self, weights: Weights, aid: Aid) -> Weights:
        edges = {name: value for name, value in weights.items() if is_weight(name)}
        return {name: torch.full_like(value, self.log_alpha) for name, value in edges.items()}

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        gated = dict(weights)
        for name, log_alpha in state.items():
            gated[name] = weights[name] * sample_gates(log_alpha, noise[name])
        return gated

    def charge(self, training: Training) -> Tensor:
        edges = sum(value.numel() for value in training.state.values())
        price = _compute_edge_price(edges, training.n_examples)
        return price * count_open_edges(training.state, training.reach_T) / training.n_examples

    def lacks(self, reporter: Reporter) -> str | None:
        return find_missing_weights(reporter)

    def finish(self, weights: Weights, state: Weights) -> Weights:
        finished = dict(weights)
        for name, log_alpha in state.items():
            finished[name] = weights[name] * compute_final_gates(log_alpha)
        return finished

    def edge_price(self, edges: int, n_examples: int) -> float:
        return _compute_edge_price(edges, n_examples) if self.prune else 0.0


def count_open_edges(log_alpha: Weights, like: Tensor) -> Tensor:
    """Returns the expected number of open gates.

    Args:
        like: the dtype and device of the result, if there are no gates.
    """
    open_counts = [compute_open_probability(value).sum() for value in log_alpha.values()]
    return torch.stack([*open_counts, like.new_zeros(())]).sum()


def _compute_edge_price(edges: int, n_examples: int) -> float:
    return math.log(edges) + math.log(n_examples) / 2 if edges else 0.0
