"""Prune and refit: edges leave finished heads as long as that lowers errors and the price of edges
together.

K: heads of one group, J: candidates of a head, P: distinct candidates of all heads, U: units, E:
edges, N: episodes, B: episodes of a batch, R: levels a head is given, D: width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from compute.memory import at_once
from reporters.adam import descended
from reporters.reporter import Reporter, is_weight, nll, unit_axes
from reporters.stack import Weights

FRACTIONS = (1 / 2, 1 / 4, 1 / 8)
"""Shares of a head's least salient edges that are tried without, all at once."""
SINGLES, UNITS = 8, 6
"""How many of its least salient edges, and of its least salient units with all their edges, are
tried without one by one.
"""
PROBED, READ = 8, 2**28
"""Heads, at most, whose saliencies are found together; and activations times candidates, at most,
that are read together.
"""
MANY = 32
"""Edges of a head above which no edge and no unit is tried by itself."""
STEPS, BATCH, RATE = 60, 256, 0.1
"""Adam steps of a refit, episodes a step, learning rate at its start."""
PROBES = 8
"""Random signs from which the curvature of the errors is estimated."""
TINY = 1e-9
"""Curvature added everywhere, so that edges that do not matter are ranked by their size."""


class _Sizes(NamedTuple):
    """How many are worked on at once: heads whose candidates are refitted, candidates that read all
    episodes, heads whose edges are ranked.
    """

    heads: int
    read: int
    probed: int


def without_edges(
    reporter: Reporter,
    weights: Weights,
    z_GNRD: Tensor,
    human_N: Tensor,
    price_M: Tensor,
    room: float = math.inf,
) -> Weights:
    """Returns a stack of finished heads (G, S, M), each with the edges that are worth their price
    and refitted without the others.

    Greedy, as in optimal brain damage (LeCun, Denker and Solla 1990): edges are ranked by ½ w²
    times the curvature of the errors; sets of the least of them, and the least one by one, are
    taken away, every candidate of every head is refitted in one batch, and each head keeps its best
    until its best is to keep all. Biases are refitted and free.

    Args:
        price_M: nats that an edge costs for the whole training set, by strength; where it is 0
            nothing is taken.
        room: bytes that this may take.
    """
    taken = [name for name in weights if is_weight(name)]
    pruned = {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in weights.items()
    }
    grid = next(iter(weights.values())).shape[:3]
    price_K = price_M.expand(grid[1], -1).flatten()
    charged_K = price_K.nonzero().flatten()
    if len(charged_K):
        one = {name: value[0, 0, 0].nan_to_num(1.0) for name, value in weights.items()}
        sizes = _sizes(reporter, taken, one, z_GNRD[0], human_N, len(charged_K), room)
        for g, z_NRD in enumerate(
            z_GNRD
        ):  # one group at a time: heads that are done then leave the batch
            group = {name: value[g].flatten(0, 1) for name, value in pruned.items()}
            for active_K in charged_K.split(sizes.heads):
                _prune(reporter, taken, group, active_K, z_NRD, human_N, price_K, sizes)
            for name, value in pruned.items():
                value[g] = group[name].unflatten(0, grid[1:])
    return pruned


def _prune(
    reporter: Reporter,
    taken: list[str],
    group: Weights,
    active_K: Tensor,
    z_NRD: Tensor,
    human_N: Tensor,
    price_K: Tensor,
    sizes: _Sizes,
) -> None:
    """Takes edges away from some heads of a group until each of them is best left as it is."""
    while len(active_K):
        before = {name: value[active_K] for name, value in group.items()}
        after, changed_K = _round(reporter, taken, before, z_NRD, human_N, price_K[active_K], sizes)
        for name, value in group.items():
            value[active_K] = after[name]
        active_K = active_K[changed_K]


def _sizes(
    reporter: Reporter,
    taken: list[str],
    one: Weights,
    z_NRD: Tensor,
    human_N: Tensor,
    n_heads: int,
    room: float,
) -> _Sizes:
    """Returns how many of so many heads there is room for, by what this one takes with its largest
    edges alone: few enough for every candidate.
    """
    least = (
        torch.cat([one[name].abs().flatten() for name in taken])
        .sort(descending=True)
        .values[:MANY][-1]
    )
    few = one | {name: torch.where(one[name].abs() >= least, one[name], 0) for name in taken}

    def heads(k: int) -> Weights:
        return {name: value.expand(k, *value.shape).clone() for name, value in few.items()}

    keep_1JE = _candidates(
        _saliency(reporter, taken, heads(1), z_NRD, human_N, 1),
        _units({name: few[name] for name in taken}),
    )
    return _Sizes(
        at_once(
            n_heads,
            lambda k: _tried(
                reporter, taken, heads(k), keep_1JE.expand(k, -1, -1), z_NRD, human_N, 1
            ),
            room,
        ),
        at_once(
            max(1, READ // z_NRD.numel()),
            lambda k: _errors(reporter, heads(k), z_NRD, human_N, k),
            room,
        ),
        at_once(PROBED, lambda k: _saliency(reporter, taken, heads(k), z_NRD, human_N, k), room),
    )


def _round(
    reporter: Reporter,
    taken: list[str],
    weights: Weights,
    z_NRD: Tensor,
    human_N: Tensor,
    price_K: Tensor,
    sizes: _Sizes,
) -> tuple[Weights, Tensor]:
    """Returns the best candidate of each head, and whether it has fewer edges than before."""
    saliency_KE = _saliency(reporter, taken, weights, z_NRD, human_N, sizes.probed)
    keep_KJE = _candidates(saliency_KE, _units({name: weights[name][0] for name in taken}))
    candidates, (head_P, keep_PE, place_KJ) = _tried(
        reporter, taken, weights, keep_KJE, z_NRD, human_N
    )
    edges_P = keep_PE.sum(dim=1)
    total_P = _errors(reporter, candidates, z_NRD, human_N, sizes.read) + price_K[head_P] * edges_P
    row_K = torch.arange(len(place_KJ), device=place_KJ.device)
    best_K = place_KJ[row_K, total_P[place_KJ].argmin(dim=1)]
    return {name: value[best_K] for name, value in candidates.items()}, edges_P[best_K] < edges_P[
        place_KJ[:, 0]
    ]


class _Distinct(NamedTuple):
    """Candidates without repetition: whose they are, which edges they keep, and which of them each
    candidate of a head is.
    """

    head_P: Tensor
    keep_PE: Tensor
    place_KJ: Tensor


def _tried(
    reporter: Reporter,
    taken: list[str],
    weights: Weights,
    keep_KJE: Tensor,
    z_NRD: Tensor,
    human_N: Tensor,
    steps: int = STEPS,
) -> tuple[Weights, _Distinct]:
    """Returns the distinct candidates of every head, refitted."""
    own_KJ1 = (
        torch.arange(len(keep_KJE), device=keep_KJE.device)
        .view(-1, 1, 1)
        .expand(*keep_KJE.shape[:2], 1)
    )
    distinct_PE, place_KJ = (
        torch.cat([own_KJ1, keep_KJE.long()], dim=2)
        .flatten(0, 1)
        .unique(dim=0, return_inverse=True)
    )
    found = _Distinct(
        distinct_PE[:, 0], distinct_PE[:, 1:].bool(), place_KJ.view(keep_KJE.shape[:2])
    )
    masks = _unflattened(found.keep_PE, {name: weights[name] for name in taken})
    return (
        _refitted(
            reporter,
            {name: value[found.head_P] for name, value in weights.items()},
            masks,
            z_NRD,
            human_N,
            steps,
        ),
        found,
    )


@torch.no_grad()
def _errors(
    reporter: Reporter, candidates: Weights, z_NRD: Tensor, human_N: Tensor, size: int
) -> Tensor:
    """Returns nats of all episodes, shape (P,); so many candidates read at once."""

    def errors(one: Weights) -> Tensor:
        return nll(functional_call(reporter, one, (z_NRD,)).log_odds_N, human_N).sum()

    return vmap(errors, chunk_size=size)(candidates)


def _saliency(
    reporter: Reporter,
    taken: list[str],
    weights: Weights,
    z_NRD: Tensor,
    human_N: Tensor,
    size: int,
) -> Tensor:
    """Returns ½ w² h of every edge, shape (K, E), and -1 of those that are gone; h is the empirical
    Fisher information, estimated with random signs of the episodes.
    """
    chance = torch.Generator().manual_seed(0)
    sign_PN = (torch.randint(2, (PROBES, len(z_NRD)), generator=chance) * 2.0 - 1).to(z_NRD)

    def curvature(one: Weights) -> Weights:
        edges = {name: one[name] for name in taken}

        def probe(edges: Weights, sign_N: Tensor) -> Tensor:
            return (
                sign_N * functional_call(reporter, one | edges, (z_NRD,)).errors_N(human_N)
            ).sum()

        found = vmap(grad(probe), in_dims=(None, 0))(edges, sign_PN)
        return {
            name: (value.square().mean(dim=0) + TINY) * edges[name].square() / 2
            for name, value in found.items()
        }

    with torch.no_grad():
        saliency = vmap(curvature, chunk_size=size)(weights)
    live = torch.cat([(weights[name] != 0).flatten(1) for name in taken], dim=1)
    return torch.where(live, torch.cat([saliency[name].flatten(1) for name in taken], dim=1), -1.0)


def _units(one: Weights) -> Tensor:
    """Returns which edges belong to each unit of a head, shape (U, E)."""
    places, letters = (
        {},
        {
            letter: value.shape[i]
            for name, value in one.items()
            for letter, i in unit_axes(name).items()
        },
    )
    for letter, size in letters.items():
        marks = []
        for name, value in one.items():
            axis = unit_axes(name).get(letter)
            index = (
                torch.arange(size).view([-1 if i == axis else 1 for i in range(value.dim())])
                if axis is not None
                else torch.tensor(-1)
            )
            marks.append(index.expand(value.shape).flatten())
        places[letter] = torch.cat(marks) == torch.arange(size)[:, None]
    return torch.cat(list(places.values()))


def _candidates(saliency_KE: Tensor, unit_UE: Tensor) -> Tensor:
    """Returns which edges each candidate keeps, shape (K, J, E): all, all but the least of each
    fraction, and of heads with few edges all but one of the least, and all but those of one of the
    least units; for others these places say all again.
    """
    live_KE = saliency_KE >= 0
    n_K = live_KE.sum(dim=1)
    few_K1 = n_K[:, None] <= MANY
    order_KE = torch.where(live_KE, saliency_KE, torch.inf).argsort(dim=1)
    rank_KE = order_KE.argsort(dim=1)
    without = [torch.zeros_like(live_KE)]
    without += [rank_KE < (n_K * fraction).long()[:, None] for fraction in FRACTIONS]
    without += [(rank_KE == place) & few_K1 for place in range(min(SINGLES, live_KE.shape[1]))]
    unit_UE = unit_UE.to(live_KE.device)
    salient_KU = saliency_KE.clamp_min(0) @ unit_UE.T.to(saliency_KE)
    least_KJ = (
        torch.where((live_KE.float() @ unit_UE.T.float()) > 0, salient_KU, torch.inf)
        .topk(min(UNITS, len(unit_UE)), largest=False)
        .indices
    )
    return live_KE[:, None] & ~torch.cat(
        [torch.stack(without, dim=1), unit_UE[least_KJ] & few_K1[:, None]], dim=1
    )


def _refitted(
    reporter: Reporter, weights: Weights, masks: Weights, z_NRD: Tensor, human_N: Tensor, steps: int
) -> Weights:
    """Returns candidates (P, ...) after a few steps of Adam on the expected errors, without the
    edges that their masks take away.
    """

    def errors(one: Weights, z_BRD: Tensor, human_B: Tensor) -> Tensor:
        return functional_call(reporter, one, (z_BRD,)).errors_N(human_B).mean()

    chance = torch.Generator().manual_seed(0)

    def losses(weights: Weights, step: int) -> Tensor:
        batch_B = torch.randint(len(z_NRD), (min(BATCH, len(z_NRD)),), generator=chance).to(
            z_NRD.device
        )
        return vmap(errors, in_dims=(0, None, None))(weights, z_NRD[batch_B], human_N[batch_B])

    return descended(
        {name: value * masks.get(name, 1) for name, value in weights.items()},
        losses,
        steps,
        RATE,
        masks,
    )


def _unflattened(keep_PE: Tensor, weights: Weights) -> Weights:
    """Returns masks shaped like the weights, with leading axis P."""
    parts = keep_PE.split([value[0].numel() for value in weights.values()], dim=1)
    return {
        name: part.reshape(-1, *value.shape[1:]).to(value)
        for (name, value), part in zip(weights.items(), parts, strict=True)
    }
