"""An explanation-length prior: the bits of a circuit, through the predictor and the head, that
explains what the head says.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from priors.circuit_size import CircuitSize, expected
from priors.hard_concrete import drawn, is_open, settled
from priors.prior import Aid, Need, Training
from reporters.reporter import Reading, Reporter
from reporters.stack import Weights

OWN = "predictor"
"""The name of the gates on the predictor's components in the prior's state."""


class ExplanationLength(CircuitSize):
    """charge = nats to name the live elements of the joint circuit, and to state the head's
    weights, and nats of residual error an episode.

    The explanation is a circuit: components of the predictor (each block's attention heads and its
    MLP) and edges of the head. What is outside it is
    ablated: a component's output is its mean over easy episodes. Elements are named in one list, so
    that work done inside the predictor and work done in the head are charged alike: ln(C + E) nats
    each to name, and ½ ln N more for an edge, whose weight must be stated. Residual error is the
    Kullback-Leibler divergence, an episode, from what the head says to what it says when it is
    given the ablated predictor's activations. All gates are hard-concrete (Louizos, Welling and
    Kingma 2018); circuits as in Wang et al. (2023) and Conmy et al. (2023), lengths as Rissanen
    (1978).

    It can be gamed. A component has one price however much it computes: a head is let off for work
    that the predictor packs into few components. The mean need not be what "not doing it" looks
    like; an ablated predictor may answer by a path it never takes otherwise. What the circuit
    explains is what the head says of easy episodes, and the length found is an upper bound: a
    shorter explanation of another kind may exist.

    Args:
        log_alpha: where every gate begins; above 0 is open.
        prune: whether finished heads are pruned and refitted.
        episodes: episodes of each batch on which the explanation is run through the predictor.
    """

    needs: tuple[Need, ...] = ("predictor",)

    def __init__(self, log_alpha: float, prune: bool, episodes: int) -> None:
        super().__init__(log_alpha, prune)
        self.episodes = episodes

    def state(self, weights: Weights, aid: Aid) -> Weights:
        like = next(iter(weights.values()))
        return super().state(weights, aid) | {OWN: like.new_full((aid.components,), self.log_alpha)}

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        return super().transform(weights, _edges(state), noise)

    def finish(self, weights: Weights, state: Weights) -> Weights:
        return super().finish(weights, _edges(state))

    def lacks(self, reporter: Reporter) -> str | None:
        return None

    def charge(self, training: Training) -> Tensor:
        assert training.aid.ablated is not None
        log_alpha_C, edges = training.state[OWN], _edges(training.state)
        elements = len(log_alpha_C) + sum(value.numel() for value in edges.values())
        live = expected(edges, training.reach_T)
        named = (
            math.log(elements) * (is_open(log_alpha_C).sum() + live)
            + math.log(training.n_examples) / 2 * live
        )
        gates_C = (
            drawn(log_alpha_C, training.noise[OWN]) if training.noise else settled(log_alpha_C)
        )
        explained = training.says(training.aid.ablated(self.episodes, gates_C))
        return named / training.n_examples + _divergence(training.reading, explained)


def _edges(state: Weights) -> Weights:
    return {name: value for name, value in state.items() if name != OWN}


def _divergence(said: Reading, explained: Reading) -> Tensor:
    """Returns the Kullback-Leibler divergence from what a head says of the first episodes to its
    explanation, in nats an episode.
    """
    said_N, explained_N = ((one.halt_NT * one.log_odds_NT).sum(dim=1) for one in (said, explained))
    said_N = said_N[: len(explained_N)]
    yes_N = torch.sigmoid(said_N)
    softplus = torch.nn.functional.softplus
    return (yes_N * (said_N - explained_N) + softplus(explained_N) - softplus(said_N)).mean()
