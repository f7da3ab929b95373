"""Explanation length of finished heads: the bits of the shortest joint circuit, through predictor
and head, found to explain what a head says.

K = G · S · M heads; N: episodes, L: levels, R: levels a head is given, D: width, C: components of
the predictor, U: circuits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn import functional as F

from core_model.predictor import Ablation
from reporters.reporter import Reporter, is_weight
from reporters.stack import Weights, over_heads

CHUNK = 16
"""Circuits that the predictor is run with at once: keeps memory bounded."""


class Explanation(NamedTuple):
    """The shortest explanation found of each of K heads: an upper bound."""

    bits_K: Tensor
    """To name the circuit, to state the head's weights, and to correct what is left, for the whole
    training set.
    """
    components_K: Tensor
    """How many of the predictor's components it keeps."""
    kl_K: Tensor
    """Residual error: nats an episode from what the head says to what it says in the circuit."""


@torch.no_grad()
def explanation(
    reporter: Reporter,
    weights: Weights,
    told: Weights,
    ablation: Ablation,
    inputs_N: Tensor,
    z_NLD: Tensor,
    edges_K: Tensor,
    weight_bits_K: Tensor,
    n_examples: int,
    episodes: int,
) -> Explanation:
    """Returns the explanations of a stack of finished heads (G, S, M).

    A head's circuits are nested: the predictor's components leave one by one, first those whose
    absence alone changes least what the head says (one sweep of ACDC, Conmy et al. 2023). That is
    no search over all sets: of components that stand in for one another, as the backup heads of
    Wang et al. (2023) do, each looks idle. The bits are an upper bound, in the prices of the prior
    of this name but for the weights' values: these are given.

    Args:
        told: the weights as the explanation tells them, rounded.
        ablation: gives standardised activations of the same levels as z_NLD.
        inputs_N: what the predictor reads of the episodes.
        z_NLD: the standardised activations of the intact predictor on them.
        edges_K: how many edges of each head are told.
        weight_bits_K: bits that state their values.
        n_examples: episodes of the training set, for which the residual error is counted.
        episodes: how many of those given are used, the first.
    """
    inputs_N, z_NLD = inputs_N[:episodes], z_NLD[:episodes]
    grid = next(iter(weights.values())).shape[:3]
    level_K = torch.arange(grid[0], device=z_NLD.device).repeat_interleave(grid[1] * grid[2])
    components = ablation.components

    def heads_say(weights: Weights, z_UNLD: Tensor, which_K: Tensor) -> Tensor:
        """Returns log-odds (K, N), each head given the activations of one of U circuits."""
        one_level = reporter.reads == "one_level"
        z_KNRD = z_UNLD[which_K, :, level_K].unsqueeze(2) if one_level else z_UNLD[which_K]
        said_GSMN = over_heads(
            lambda one, z_NRD: functional_call(reporter, one, (z_NRD,)).log_odds_N
        )(weights, z_KNRD.unflatten(0, grid))
        return said_GSMN.flatten(0, 2)

    def run(gates_UC: Tensor) -> Tensor:
        return vmap(ablation.read, (None, 0), chunk_size=CHUNK)(inputs_N, gates_UC)

    def without(gates_KC: Tensor) -> Tensor:
        """Returns nats an episode, shape (K,), that what each head says loses in its circuit;
        circuits that heads share are run once.
        """
        gates_UC, which_K = gates_KC.unique(dim=0, return_inverse=True)
        return divergence(said_KN, heads_say(told, run(gates_UC), which_K))

    said_KN = heads_say(weights, z_NLD[None], torch.zeros_like(level_K))
    alone = [
        without((torch.arange(components) != c).to(z_NLD).expand(len(level_K), -1))
        for c in range(components)
    ]
    rank_KC = torch.stack(alone, dim=1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    kl_KC = torch.stack(
        [without((rank_KC < size).to(z_NLD)) for size in range(components + 1)], dim=1
    )

    edges = sum(value.numel() for name, value in reporter.named_parameters() if is_weight(name))
    named_KC = named(components + edges, edges_K.double()[:, None] + torch.arange(components + 1))
    bits_KC = named_KC + weight_bits_K.double()[:, None] + n_examples * kl_KC / math.log(2)
    bits_K, size_K = bits_KC.min(dim=1)
    return Explanation(bits_K, size_K, kl_KC.gather(1, size_K[:, None])[:, 0])


def divergence(said_KN: Tensor, explained_KN: Tensor) -> Tensor:
    """Returns the Kullback-Leibler divergence between two yes-or-no answers given as log-odds, in
    nats an episode, shape (K,), float64.

    >>> divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]])).tolist()
    [0.0]
    """
    said_KN, explained_KN = said_KN.double(), explained_KN.double()
    nats_KN = (
        torch.sigmoid(said_KN) * (said_KN - explained_KN)
        + F.softplus(explained_KN)
        - F.softplus(said_KN)
    )
    return nats_KN.mean(dim=1).clamp_min(0)


def named(elements: int, live: Tensor) -> Tensor:
    """Returns the bits to name the live ones of so many elements: how many, and each by its place
    in the list of all.

    To name them as one set would take fewer, log2 C(elements, live), but ever fewer from the half
    on: in the circuit of a head that uses all its edges every component would then be worth
    keeping, whatever it does.

    >>> named(7, torch.tensor([0.0, 2.0])).tolist() == [3.0, 3.0 + 2 * math.log2(7)]
    True
    """
    return math.log2(elements + 1) + live.double() * math.log2(elements)
