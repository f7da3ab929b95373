"""An explanation-length prior: the bits of a circuit, through the predictor and the head, that
explains the head's report.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from console.ranges import Episodes, LogAlpha
from priors.circuit_size import CircuitSize, count_open_edges
from priors.dependence import compute_expected_log_odds
from priors.hard_concrete import compute_final_gates, compute_open_probability, sample_gates
from priors.prior import Aid, Need, Training
from reporters.reporter import Reading, Reporter
from reporters.stack import Weights

OWN = "predictor"
"""The name, in the prior's state, of the gates on the predictor's components."""


class ExplanationLength(CircuitSize):
    """charge = nats to name the live elements of the joint circuit and to state the head's weights,
    plus nats of residual error an episode.

    The explanation is a circuit: components of the predictor (each block's attention heads and its
    MLP) and edges of the head. Everything outside it is ablated: the output of an ablated component
    is its mean over easy episodes. Elements are named in one list, so that work inside the
    predictor and work in the head are charged alike: ln(C + E) nats each to name, and ½ ln N more
    for an edge, whose weight must be stated. The residual error is the Kullback-Leibler divergence,
    an episode, from the head's report to its report on the ablated predictor's activations. All
    gates are hard-concrete (Louizos, Welling and Kingma 2018); circuits as in Wang et al. (2023)
    and Conmy et al. (2023), lengths as in Rissanen (1978).

    It can be gamed. A component has one price however much it computes, so work that the predictor
    packs into few components is cheap. A mean output need not be the same as not computing it; an
    ablated predictor may answer by a path that it never takes otherwise. The circuit explains the
    head's report on easy episodes only. The length is an upper bound: a shorter explanation of
    another kind may exist.

    Args:
        log_alpha: the initial value of every gate; above 0 is open.
        prune: whether finished heads are pruned and refitted.
        episodes: episodes of each batch on which the explanation is run through the predictor.
    """

    needs: tuple[Need, ...] = ("predictor",)
    charges_edges_alone = False

    def __init__(self, log_alpha: LogAlpha, prune: bool, episodes: Episodes) -> None:
        super().__init__(log_alpha, prune)
        self.episodes = episodes

    def state(self, weights: Weights, aid: Aid) -> Weights:
        like = next(iter(weights.values()))
        own_C = like.new_full((aid.components,), self.log_alpha)
        return super().state(weights, aid) | {OWN: own_C}

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        return super().transform(weights, _select_edges(state), noise)

    def finish(self, weights: Weights, state: Weights) -> Weights:
        return super().finish(weights, _select_edges(state))

    def lacks(self, reporter: Reporter) -> str | None:
        return None

    def charge(self, training: Training) -> Tensor:
        assert training.aid.ablated is not None
        log_alpha_C = training.state[OWN]
        edges = _select_edges(training.state)
        n_elements = len(log_alpha_C) + sum(value.numel() for value in edges.values())
        open_edges = count_open_edges(edges, training.reach_T)
        open_elements = compute_open_probability(log_alpha_C).sum() + open_edges
        name_nats = math.log(n_elements) * open_elements
        value_nats = math.log(training.n_examples) / 2 * open_edges
        if training.noise:
            gates_C = sample_gates(log_alpha_C, training.noise[OWN])
        else:
            gates_C = compute_final_gates(log_alpha_C)
        explanation = training.read(training.aid.ablated(self.episodes, gates_C))
        length = (name_nats + value_nats) / training.n_examples
        return length + _compute_divergence(training.reading, explanation)


def _select_edges(state: Weights) -> Weights:
    return {name: value for name, value in state.items() if name != OWN}


def _compute_divergence(report: Reading, explanation: Reading) -> Tensor:
    """Returns the Kullback-Leibler divergence from a head's report on the first episodes to its
    explanation, in nats an episode.
    """
    report_N = compute_expected_log_odds(report)
    explanation_N = compute_expected_log_odds(explanation)
    report_N = report_N[: len(explanation_N)]
    expected_N = torch.sigmoid(report_N) * (report_N - explanation_N)
    return (expected_N + softplus(explanation_N) - softplus(report_N)).mean()
