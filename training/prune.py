"""Prune and refit: edges are taken out of finished heads as long as that lowers the sum of errors
and the price of edges.

K: heads of one group, J: candidates of a head, Q: distinct candidates of all heads, U: units, E:
edges, N: episodes, B: episodes of a batch, R: levels a head is given, D: width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from compute.memory import choose_part_size
from reporters.adam import minimise_with_adam
from reporters.reporter import Reporter, find_unit_axes, is_weight, nll
from reporters.stack import Weights

FRACTIONS = (1 / 2, 1 / 4, 1 / 8)
"""Shares of a head's least salient edges that are taken out together."""
SINGLES = 8
"""How many of its least salient edges are taken out one by one."""
UNITS = 6
"""How many of its least salient units are taken out one by one, with all their edges."""
MANY = 32
"""Edges of a head above which no edge and no unit is taken out by itself."""
PROBED = 8
"""Most heads whose saliencies are computed together."""
READ = 2**28
"""Most activations times candidates that are read together."""
STEPS, BATCH, RATE = 60, 256, 0.1
"""Adam steps of a refit, episodes a step, learning rate at its start."""
PROBES = 8
"""Random signs from which the curvature of the errors is estimated."""
TINY = 1e-9
"""Curvature added everywhere, so that edges that do not matter are ranked by their size."""


@dataclass(frozen=True)
class _Group:
    """What the heads of one group are pruned on."""

    reporter: Reporter
    names: list[str]
    """The parameters whose elements are edges."""
    z_NRD: Tensor
    human_N: Tensor


class _Sizes(NamedTuple):
    """How many are worked on at once."""

    heads: int
    """Heads whose candidates are refitted."""
    read: int
    """Candidates that read all episodes."""
    probed: int
    """Heads whose edges are ranked."""


class _Distinct(NamedTuple):
    """The candidates of some heads without repetition."""

    head_Q: Tensor
    """The head that each is a candidate of."""
    keep_QE: Tensor
    """The edges that it keeps."""
    index_KJ: Tensor
    """The distinct candidate that each candidate of a head is."""


def prune_edges(
    reporter: Reporter,
    weights: Weights,
    z_GNRD: Tensor,
    human_N: Tensor,
    price_M: Tensor,
    memory_budget: float = math.inf,
) -> Weights:
    """Returns a stack of finished heads (G, S, M), each with the edges that are worth their price,
    refitted without the others.

    Greedy, as in optimal brain damage (LeCun, Denker and Solla 1990): edges are ranked by ½ w²
    times the curvature of the errors; sets of the least salient edges, and the least salient ones
    one by one, are taken out; every candidate of every head is refitted in one batch; and each head
    takes its best candidate until the best is to keep all edges. Biases are refitted and free.

    Args:
        price_M: nats that an edge costs for the whole training set, by strength; where it is 0
            no edge is taken out.
        memory_budget: bytes that this may need.
    """
    pruned = {}
    for name, value in weights.items():
        pruned[name] = value.clone(memory_format=torch.contiguous_format)
    grid = next(iter(weights.values())).shape[:3]
    price_K = price_M.expand(grid[1], -1).flatten()
    charged_K = price_K.nonzero().flatten()
    if not len(charged_K):
        return pruned
    names = [name for name in weights if is_weight(name)]
    groups = [_Group(reporter, names, z_NRD, human_N) for z_NRD in z_GNRD]
    first = {name: value[0, 0, 0].nan_to_num(1.0) for name, value in weights.items()}
    sizes = _measure_sizes(groups[0], first, len(charged_K), memory_budget)
    # One group at a time, so that heads that are done leave the batch.
    for g, group in enumerate(groups):
        heads = {name: value[g].flatten(0, 1) for name, value in pruned.items()}
        for active_K in charged_K.split(sizes.heads):
            _prune_heads(group, heads, active_K, price_K, sizes)
        for name, value in pruned.items():
            value[g] = heads[name].unflatten(0, grid[1:])
    return pruned


def _prune_heads(
    group: _Group, heads: Weights, active_K: Tensor, price_K: Tensor, sizes: _Sizes
) -> None:
    """Prunes the active heads in place until each of them is best left as it is."""
    while len(active_K):
        before = {name: value[active_K] for name, value in heads.items()}
        after, changed_K = _choose_best(group, before, price_K[active_K], sizes)
        for name, value in heads.items():
            value[active_K] = after[name]
        active_K = active_K[changed_K]


def _choose_best(
    group: _Group, weights: Weights, price_K: Tensor, sizes: _Sizes
) -> tuple[Weights, Tensor]:
    """Returns the best candidate of each head, and whether it has fewer edges than before."""
    saliency_KE = _compute_saliency(group, weights, sizes.probed)
    unit_UE = _find_units({name: weights[name][0] for name in group.names})
    keep_KJE = _propose(saliency_KE, unit_UE)
    candidates, (head_Q, keep_QE, index_KJ) = _refit_distinct(group, weights, keep_KJE)
    edges_Q = keep_QE.sum(dim=1)
    total_Q = _compute_errors(group, candidates, sizes.read) + price_K[head_Q] * edges_Q
    row_K = torch.arange(len(index_KJ), device=index_KJ.device)
    best_K = index_KJ[row_K, total_Q[index_KJ].argmin(dim=1)]
    best = {name: value[best_K] for name, value in candidates.items()}
    # The first candidate of a head keeps all its edges.
    return best, edges_Q[best_K] < edges_Q[index_KJ[:, 0]]


def _measure_sizes(group: _Group, head: Weights, n_heads: int, memory_budget: float) -> _Sizes:
    """Returns how many of n heads are worked on at once, from what this head needs with its largest
    edges alone: few enough that every kind of candidate is tried.
    """
    edges_E = torch.cat([head[name].abs().flatten() for name in group.names])
    least = edges_E.sort(descending=True).values[:MANY][-1]
    few = dict(head)
    for name in group.names:
        few[name] = torch.where(head[name].abs() >= least, head[name], 0)

    def repeat(k: int) -> Weights:
        return {name: value.expand(k, *value.shape).clone() for name, value in few.items()}

    unit_UE = _find_units({name: few[name] for name in group.names})
    keep_1JE = _propose(_compute_saliency(group, repeat(1), 1), unit_UE)
    return _Sizes(
        choose_part_size(
            n_heads,
            lambda k: _refit_distinct(group, repeat(k), keep_1JE.expand(k, -1, -1), steps=1),
            memory_budget,
        ),
        choose_part_size(
            max(1, READ // group.z_NRD.numel()),
            lambda k: _compute_errors(group, repeat(k), k),
            memory_budget,
        ),
        choose_part_size(PROBED, lambda k: _compute_saliency(group, repeat(k), k), memory_budget),
    )


def _compute_saliency(group: _Group, weights: Weights, size: int) -> Tensor:
    """Returns ½ w² h of every edge, shape (K, E), and -1 of those that are already taken out; h is
    the empirical Fisher information, estimated with random signs of the episodes.

    Args:
        size: heads that are worked on at once.
    """
    rng = torch.Generator().manual_seed(0)
    z_NRD = group.z_NRD
    sign_PN = (torch.randint(2, (PROBES, len(z_NRD)), generator=rng) * 2.0 - 1).to(z_NRD)

    def estimate(head: Weights) -> Weights:
        edges = {name: head[name] for name in group.names}

        def probe(edges: Weights, sign_N: Tensor) -> Tensor:
            reading = functional_call(group.reporter, head | edges, (z_NRD,))
            return (sign_N * reading.errors_N(group.human_N)).sum()

        gradients = vmap(grad(probe), in_dims=(None, 0))(edges, sign_PN)
        saliency = {}
        for name, value in gradients.items():
            saliency[name] = (value.square().mean(dim=0) + TINY) * edges[name].square() / 2
        return saliency

    with torch.no_grad():
        saliency = vmap(estimate, chunk_size=size)(weights)
    live_KE = torch.cat([(weights[name] != 0).flatten(1) for name in group.names], dim=1)
    saliency_KE = torch.cat([saliency[name].flatten(1) for name in group.names], dim=1)
    return torch.where(live_KE, saliency_KE, -1.0)


def _find_units(head: Weights) -> Tensor:
    """Returns which edges belong to each unit of a head, shape (U, E)."""
    sizes = {}
    for name, value in head.items():
        for letter, axis in find_unit_axes(name).items():
            sizes[letter] = value.shape[axis]
    unit_UE = []
    for letter, size in sizes.items():
        number = []
        for name, value in head.items():
            own_axis = find_unit_axes(name).get(letter)
            number_of_edge = torch.tensor(-1)
            if own_axis is not None:
                shape = [1] * value.dim()
                shape[own_axis] = -1
                number_of_edge = torch.arange(size).view(shape)
            number.append(number_of_edge.expand(value.shape).flatten())
        unit_UE.append(torch.cat(number) == torch.arange(size)[:, None])
    return torch.cat(unit_UE)


def _propose(saliency_KE: Tensor, unit_UE: Tensor) -> Tensor:
    """Returns which edges each candidate keeps, shape (K, J, E): all; all but the least salient of
    each fraction; and, of heads with few edges, all but one of the least salient, and all but those
    of one of the least salient units. For other heads the last two keep all.
    """
    live_KE = saliency_KE >= 0
    n_K = live_KE.sum(dim=1)
    few_K1 = n_K[:, None] <= MANY
    order_KE = torch.where(live_KE, saliency_KE, torch.inf).argsort(dim=1)
    rank_KE = order_KE.argsort(dim=1)
    without = [torch.zeros_like(live_KE)]
    for fraction in FRACTIONS:
        without.append(rank_KE < (n_K * fraction).long()[:, None])
    for rank in range(min(SINGLES, live_KE.shape[1])):
        without.append((rank_KE == rank) & few_K1)
    unit_UE = unit_UE.to(live_KE.device)
    has_edges_KU = (live_KE.float() @ unit_UE.T.float()) > 0
    saliency_KU = saliency_KE.clamp_min(0) @ unit_UE.T.to(saliency_KE)
    rank_KU = torch.where(has_edges_KU, saliency_KU, torch.inf)
    least_KJ = rank_KU.topk(min(UNITS, len(unit_UE)), largest=False).indices
    without_unit_KJE = unit_UE[least_KJ] & few_K1[:, None]
    without_KJE = torch.cat([torch.stack(without, dim=1), without_unit_KJE], dim=1)
    return live_KE[:, None] & ~without_KJE


def _refit_distinct(
    group: _Group, weights: Weights, keep_KJE: Tensor, steps: int = STEPS
) -> tuple[Weights, _Distinct]:
    """Returns the distinct candidates of every head, refitted."""
    distinct = _find_distinct(keep_KJE)
    masks = _build_masks(distinct.keep_QE, {name: weights[name] for name in group.names})
    start = {name: value[distinct.head_Q] for name, value in weights.items()}
    return _refit(group, start, masks, steps), distinct


def _find_distinct(keep_KJE: Tensor) -> _Distinct:
    head_K11 = torch.arange(len(keep_KJE), device=keep_KJE.device).view(-1, 1, 1)
    head_KJ1 = head_K11.expand(*keep_KJE.shape[:2], 1)
    candidates = torch.cat([head_KJ1, keep_KJE.long()], dim=2).flatten(0, 1)
    rows_Q, index = candidates.unique(dim=0, return_inverse=True)
    return _Distinct(rows_Q[:, 0], rows_Q[:, 1:].bool(), index.view(keep_KJE.shape[:2]))


def _build_masks(keep_QE: Tensor, weights: Weights) -> Weights:
    """Returns masks shaped like the weights, with leading axis Q: 1 where an edge is kept."""
    parts = keep_QE.split([value[0].numel() for value in weights.values()], dim=1)
    masks = {}
    for (name, value), part in zip(weights.items(), parts, strict=True):
        masks[name] = part.reshape(-1, *value.shape[1:]).to(value)
    return masks


def _refit(group: _Group, weights: Weights, masks: Weights, steps: int) -> Weights:
    """Returns candidates (Q, ...) after a few steps of Adam on the expected errors, without the
    edges that their masks take out.
    """
    rng = torch.Generator().manual_seed(0)
    z_NRD, human_N = group.z_NRD, group.human_N

    def compute_errors(head: Weights, z_BRD: Tensor, human_B: Tensor) -> Tensor:
        return functional_call(group.reporter, head, (z_BRD,)).errors_N(human_B).mean()

    def compute_losses(weights: Weights, step: int) -> Tensor:
        size = min(BATCH, len(z_NRD))
        batch_B = torch.randint(len(z_NRD), (size,), generator=rng).to(z_NRD.device)
        in_dims = (0, None, None)
        return vmap(compute_errors, in_dims)(weights, z_NRD[batch_B], human_N[batch_B])

    start = {name: value * masks.get(name, 1) for name, value in weights.items()}
    return minimise_with_adam(start, compute_losses, steps, RATE, masks)


@torch.no_grad()
def _compute_errors(group: _Group, candidates: Weights, size: int) -> Tensor:
    """Returns nats of all episodes, shape (Q,).

    Args:
        size: candidates that are read at once.
    """

    def compute(head: Weights) -> Tensor:
        log_odds_N = functional_call(group.reporter, head, (group.z_NRD,)).log_odds_N
        return nll(log_odds_N, group.human_N).sum()

    return vmap(compute, chunk_size=size)(candidates)
