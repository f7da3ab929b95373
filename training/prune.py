"""Finished heads with the edges that are worth their price: a search over sets of edges.

K: heads of one group, Q: candidates, W: parameters of a head in one row, N: episodes, B: episodes
of a batch, R: levels a head is given, D: width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reporters.reporter import Reporter
from reporters.stack import Weights
from training.convex import is_linear, unflatten
from training.edge_fits import ExactFits, Fits, QuickFits
from training.edge_moves import MOVES, Found, Move, take_out_shares, thin_out
from training.edge_search import SETTLED, search
from training.linear_fits import LinearFits

CANDIDATES = 64
"""About how many candidates a head has at once."""
BYTES = 32
"""Bytes that a parameter of a candidate needs at most, all copies together."""


def prune_edges(
    reporter: Reporter,
    weights: Weights,
    z_GNRD: Tensor,
    human_N: Tensor,
    price_M: Tensor,
    memory_budget: float = math.inf,
    moves: Sequence[Move] = MOVES,
) -> tuple[Weights, Tensor]:
    """Returns a stack of finished heads (G, S, M), each with edges of which no move lowers the sum
    of errors and price; and that sum, shape (G, S, M), in nats of the whole training set.

    Args:
        price_M: nats that an edge costs for the whole training set, by strength; where it is 0
            heads are left as they are.
        memory_budget: bytes that this may need.
        moves: the kinds of moves, from the one that is tried first.
    """
    sizes = {name: value.shape for name, value in reporter.named_parameters()}
    grid = next(iter(weights.values())).shape[:3]
    rows = [weights[name].reshape(*grid, -1) for name in sizes]
    theta_GKW = torch.cat(rows, dim=3).flatten(1, 2)
    price_K = price_M.expand(grid[1], -1).flatten()
    total_GK = torch.empty_like(theta_GKW[:, :, 0])
    room = memory_budget / (CANDIDATES * BYTES * theta_GKW.shape[2])
    size = max(1, int(min(room, len(price_K))))
    for theta_KW, total_K, z_NRD in zip(theta_GKW, total_GK, z_GNRD, strict=True):
        quick = QuickFits(reporter, z_NRD, human_N, memory_budget)
        kind = LinearFits if is_linear(reporter, z_NRD[:64]) else ExactFits
        exact = kind(reporter, z_NRD, human_N, memory_budget)
        for k in price_K.nonzero().flatten().split(size):
            found = prune_heads(quick, exact, theta_KW[k], price_K[k], moves)
            theta_KW[k], total_K[k] = found.theta_KW, found.total_K
        free_K = price_K == 0
        if free_K.any():
            total_K[free_K] = quick.compute_errors(theta_KW[free_K])
    theta_GSMW = theta_GKW.unflatten(1, grid[1:])
    return unflatten(theta_GSMW, sizes), total_GK.unflatten(1, grid[1:])


def prune_heads(
    quick: Fits, exact: Fits, theta_KW: Tensor, price_K: Tensor, moves: Sequence[Move]
) -> Found:
    """Returns heads of one group. Heads of many edges are first thinned out with quick refits.

    Where every set of edges has one optimum, a head also starts without any edges, and is what it
    comes to from there if that is better.
    """
    theta_KW = search(quick, theta_KW, price_K, (thin_out,)).theta_KW
    theta_KW = search(exact, theta_KW, price_K, (take_out_shares,)).theta_KW
    found = search(exact, theta_KW, price_K, moves)
    if exact.convex:
        # Without edges all heads of one price are the same.
        distinct, index_K = price_K.unique(return_inverse=True)
        none = torch.zeros_like(theta_KW[: len(distinct)])
        other = search(exact, none, distinct, moves)
        other = Found(*(value[index_K] for value in other))
        better_K = other.total_K < found.total_K - SETTLED
        for value, other_value in zip(found, other, strict=True):
            value[better_K] = other_value[better_K]
    return found
