"""Explanation length of finished heads: the bits of the shortest joint circuit, through predictor
and head, that explains what a head reports.

K = G · S · M heads; N: episodes, L: levels, R: levels that a head reads, D: width, C: components of
the predictor, U: distinct circuits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn import functional as F

from bill.finished import FinishedHeads
from bill.measure import Item, Measure
from bill.naming import count_list_bits
from console.ranges import Episodes
from core_model.predictor import Ablation
from reporters.reporter import Reporter, is_weight
from reporters.stack import Weights, map_over_heads

CHUNK = 16
"""Circuits with which the predictor is run at once: bounds the memory."""


class Circuits(NamedTuple):
    """The shortest circuit that is found for each of K heads; its bits are an upper bound."""

    bits_K: Tensor
    """To name the circuit, to state the head's weights, and to correct the errors that remain on
    the whole training set.
    """
    components_K: Tensor
    """How many of the predictor's components the circuit keeps."""
    kl_K: Tensor
    """The error that remains: nats an episode from what the head reports to what it reports in the
    circuit.
    """


@dataclass(frozen=True)
class Explanation(Measure):
    """explanation_bits = bits to name the circuit's components and edges + bits of the head's
    rounded weights + bits of the errors that remain. Applies if the predictor can be ablated.

    A head's circuits are nested: the predictor's components leave one by one, first those whose
    absence alone changes least what the head reports (one sweep of ACDC, Conmy et al. 2023). That
    is no search over all sets: of components that stand in for one another, as the backup heads of
    Wang et al. (2023) do, each looks idle. So the bits are an upper bound. Their prices are those
    of the prior of this name, except for the values of the weights, which are those of the two-part
    code.

    Args:
        episodes: the first training episodes, on which explanations are searched.
    """

    episodes: Episodes

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        if heads.build_ablation is None:
            return {}
        circuits = self._search(heads, *heads.build_ablation())
        bits = (
            "bits; the shortest circuit found through predictor and head, mean ablation,"
            f" {self.episodes} training episodes, an upper bound"
        )
        components = (
            "components; those of the predictor (attention heads, MLPs) that the circuit keeps"
        )
        return {
            "explanation_bits": Item(circuits.bits_K, bits),
            "explanation_components": Item(circuits.components_K, components),
        }

    def _search(self, heads: FinishedHeads, ablation: Ablation, inputs_N: Tensor) -> Circuits:
        rounded, values = heads.code.rounded, heads.code.values
        edges_K = torch.zeros(heads.count)
        for name in heads.live_edges:
            edges_K += (rounded[name] != 0).flatten(3).sum(dim=3).flatten()
        first = slice(self.episodes)
        losses = CircuitLosses(
            heads.reporter, heads.weights, rounded, ablation, inputs_N[first], heads.z_NLD[first]
        )
        elements = ablation.components
        for name, value in heads.reporter.named_parameters():
            if is_weight(name):
                elements += value.numel()
        kl_KC = losses.compute_nested()
        return choose_shortest(kl_KC, edges_K, values.flatten(), elements, len(heads.human_N))


@dataclass(frozen=True)
class CircuitLosses:
    """What heads lose in a circuit: the divergence from what they report to what they report where
    only the circuit's components of the predictor are on.

    Args:
        weights: finished heads, with leading axes (G, S, M).
        rounded: the same heads as the explanation describes them.
        ablation: gives standardised activations of the same levels as z_NLD.
        inputs_N: what the predictor reads of the episodes.
        z_NLD: the standardised activations of the intact predictor on them.
    """

    reporter: Reporter
    weights: Weights
    rounded: Weights
    ablation: Ablation
    inputs_N: Tensor
    z_NLD: Tensor

    @torch.no_grad()
    def compute_nested(self) -> Tensor:
        """Returns the loss of each head in each of its nested circuits, in nats an episode, shape
        (K, C + 1): in the circuit that keeps none of the components, one of them, and so on to all.
        """
        components = torch.arange(self.ablation.components)
        groups, seeds, strengths = next(iter(self.weights.values())).shape[:3]
        heads = groups * seeds * strengths
        first_K = torch.zeros(heads, dtype=torch.long, device=self.z_NLD.device)
        log_odds_KN = self._read(self.weights, self.z_NLD[None], first_K)

        alone = []
        for component in components:
            others_C = (components != component).to(self.z_NLD)
            alone.append(self._compute(log_odds_KN, others_C.expand(heads, -1)))
        order_KC = torch.stack(alone, dim=1).argsort(dim=1, descending=True, stable=True)
        rank_KC = order_KC.argsort(dim=1)
        nested = []
        for size in range(len(components) + 1):
            nested.append(self._compute(log_odds_KN, (rank_KC < size).to(self.z_NLD)))
        return torch.stack(nested, dim=1)

    def _compute(self, log_odds_KN: Tensor, gates_KC: Tensor) -> Tensor:
        """Returns the loss of each head in one circuit, shape (K,); the predictor is run once with
        circuits that heads share.

        Args:
            log_odds_KN: what the heads report.
        """
        gates_UC, circuit_K = gates_KC.unique(dim=0, return_inverse=True)
        run = vmap(self.ablation.read, (None, 0), chunk_size=CHUNK)
        in_circuit_KN = self._read(self.rounded, run(self.inputs_N, gates_UC), circuit_K)
        return divergence(log_odds_KN, in_circuit_KN)

    def _read(self, weights: Weights, z_UNLD: Tensor, circuit_K: Tensor) -> Tensor:
        """Returns log-odds of shape (K, N), each head given the activations in its circuit."""
        grid = next(iter(weights.values())).shape[:3]
        if self.reporter.reads == "one_level":
            level_G = torch.arange(grid[0], device=circuit_K.device)
            level_K = level_G.repeat_interleave(grid[1] * grid[2])
            z_KNRD = z_UNLD[circuit_K, :, level_K].unsqueeze(2)
        else:
            z_KNRD = z_UNLD[circuit_K]

        def read(weights: Weights, z_NRD: Tensor) -> Tensor:
            return functional_call(self.reporter, weights, (z_NRD,)).log_odds_N

        log_odds_GSMN = map_over_heads(read)(weights, z_KNRD.unflatten(0, grid))
        return log_odds_GSMN.flatten(0, 2)


def choose_shortest(
    kl_KC: Tensor, edges_K: Tensor, values_K: Tensor, elements: int, n_examples: int
) -> Circuits:
    """Returns the shortest of the nested circuits of each head.

    Args:
        kl_KC: the head's loss in each of them, in nats an episode.
        edges_K: the edges of each head that are named.
        values_K: bits that state their values.
        elements: components of the predictor and edges of a head, of which each is named.
        n_examples: episodes of the training set, on which the errors are corrected.
    """
    named_KC = edges_K.double()[:, None] + torch.arange(kl_KC.shape[1])
    naming_KC = count_list_bits(elements, named_KC)
    errors_KC = n_examples * kl_KC / math.log(2)
    bits_KC = naming_KC + values_K.double()[:, None] + errors_KC
    bits_K, size_K = bits_KC.min(dim=1)
    return Circuits(bits_K, size_K, kl_KC.gather(1, size_K[:, None])[:, 0])


def divergence(log_odds_KN: Tensor, explained_KN: Tensor) -> Tensor:
    """Returns the Kullback-Leibler divergence between two yes-or-no answers given as log-odds, in
    nats an episode, shape (K,), float64.

    >>> divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]])).tolist()
    [0.0]
    """
    log_odds_KN, explained_KN = log_odds_KN.double(), explained_KN.double()
    difference_KN = torch.sigmoid(log_odds_KN) * (log_odds_KN - explained_KN)
    nats_KN = difference_KN + F.softplus(explained_KN) - F.softplus(log_odds_KN)
    return nats_KN.mean(dim=1).clamp_min(0)
