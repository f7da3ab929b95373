"""Finished heads with the edges that are worth their price: a search over sets of edges.

G: groups of levels, S: seeds, M: strengths, K: heads of one group, J: single edges, C: single edges
at each price, W: parameters of a head in one row, N: episodes, R: levels a head is given, D: width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from reporters.reporter import Reporter
from reporters.stack import Weights, split_rows
from training.convex import is_linear
from training.edge_fits import ExactFits, Fits, QuickFits
from training.edge_moves import (
    MOVES,
    EdgeSets,
    Move,
    count_edges,
    take_out,
    take_out_shares,
    thin_out,
)
from training.edge_search import search
from training.expected import has_moments, unflatten
from training.last_exit import LastExit
from training.linear_fits import LinearFits
from training.settling import SETTLED

STARTS = 64
"""Single edges that searches begin from: those that gain most."""
FEW = 4
"""Edges of the best head known above which no search begins from single edges."""
CANDIDATES = 64
"""About how many candidates a head has at once."""
BYTES = 200
"""Bytes that a parameter of a candidate needs at most: all copies, and gaps between tensors."""


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

    Of heads that cannot be refitted exactly edges are only taken out; their sum is NaN. Of heads
    that end with `MANY` edges or more not every move was tried.

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
        charged = price_K.nonzero().flatten()
        if not can_refit_exactly(reporter, z_NRD[:16]):
            for k in split_rows(charged, size):
                theta_KW[k] = search(quick, theta_KW[k], price_K[k], (thin_out, take_out)).theta_KW
            total_K[:] = torch.nan
            continue
        kind = LinearFits if is_linear(reporter, z_NRD[:64].float()) else ExactFits
        exact = kind(reporter, z_NRD, human_N, memory_budget)
        anew = choose_fits_anew(exact, memory_budget)
        for k in split_rows(charged, size):
            found = prune_heads(quick, exact, anew, theta_KW[k], price_K[k], moves)
            theta_KW[k], total_K[k] = found.theta_KW, found.total_K
        free_K = price_K == 0
        if free_K.any():
            total_K[free_K] = quick.compute_errors(theta_KW[free_K])
    pruned = unflatten(theta_GKW.unflatten(1, grid[1:]), sizes)
    pruned = {name: value.contiguous() for name, value in pruned.items()}
    return pruned, total_GK.unflatten(1, grid[1:])


def can_refit_exactly(reporter: Reporter, z_NRD: Tensor) -> bool:
    """Whether exact refits end in good time: not those of heads that stop early and whose log-odds
    are not linear, as attention's, of which one search took longer than a minute and a half.
    """
    weights = {name: value.to(z_NRD) for name, value in reporter.named_parameters()}
    has_one_exit = functional_call(reporter, weights, (z_NRD,)).halt_NT.shape[1] == 1
    return has_one_exit or has_moments(reporter, z_NRD)


def prune_heads(
    quick: Fits,
    exact: Fits,
    anew: Fits | None,
    theta_KW: Tensor,
    price_K: Tensor,
    moves: Sequence[Move],
) -> EdgeSets:
    """Returns heads of one group. Heads of many edges are first thinned out with quick refits.

    Other searches begin without the head's own edges; a head takes their result where that is
    better.

    Args:
        anew: the refits of these searches; None for no such search.
    """
    theta_KW = search(quick, theta_KW, price_K, (thin_out,)).theta_KW
    theta_KW = search(exact, theta_KW, price_K, (take_out_shares,)).theta_KW
    found = search(exact, theta_KW, price_K, moves)
    if anew:
        price_M, index_K = price_K.unique(return_inverse=True)
        best = search_anew(anew, price_M, moves)
        if isinstance(anew.reporter, LastExit):
            best = best._replace(theta_KW=anew.reporter.never_stop_early(best.theta_KW))
        take_better(found, best.choose(index_K))
    return found


def choose_fits_anew(exact: Fits, memory_budget: float) -> Fits | None:
    """Returns the refits of searches that begin from no edges: those of the heads themselves where
    every set of edges has one optimum, else those of heads that read to their last exit, where that
    is so of these. None where it is of neither.
    """
    if exact.convex:
        return exact
    to_the_end = LastExit(exact.reporter)
    if not (to_the_end.is_known and is_linear(to_the_end, exact.z_NRD[:64].float())):
        return None
    return LinearFits(to_the_end, exact.z_NRD, exact.human_N, memory_budget)


def search_anew(fits: Fits, price_M: Tensor, moves: Sequence[Move]) -> EdgeSets:
    """Returns the best head that searches find at each price from no edges; and, where that has few
    edges, from single edges too.
    """
    none_MW = torch.zeros(len(price_M), len(fits.edge_W)).to(price_M)
    best = search(fits, none_MW, price_M, moves)
    # A head that costs no more than one edge cannot be improved by another with edges.
    few_M = (count_edges(fits, best.keep_KW) <= FEW) & (best.total_K > price_M + SETTLED)
    if not few_M.any():
        return best
    free_1W = ~fits.edge_W[None]
    gain_W = fits.score(fits.refit(none_MW[:1], free_1W).theta_QW, free_1W).gain_KW[0]
    edge_J = gain_W.topk(min(STARTS, int(fits.edge_W.sum()))).indices
    start_JW = torch.nn.functional.one_hot(edge_J, len(gain_W)).to(none_MW)
    n_few, n_starts = int(few_M.sum()), len(start_JW)
    price_C = price_M[few_M].repeat_interleave(n_starts)
    found = search(fits, start_JW.repeat(n_few, 1), price_C, moves)
    least_M = found.total_K.view(n_few, n_starts).argmin(dim=1)
    least_M += torch.arange(n_few, device=least_M.device) * n_starts
    improved = EdgeSets(*(value[few_M] for value in best))
    take_better(improved, EdgeSets(*(value[least_M] for value in found)))
    for value, improved_value in zip(best, improved, strict=True):
        value[few_M] = improved_value
    return best


def take_better(found: EdgeSets, other: EdgeSets) -> None:
    """Replaces each head in place by the other one where that is better."""
    better_K = other.total_K < found.total_K - SETTLED
    for value, other_value in zip(found, other, strict=True):
        value[better_K] = other_value[better_K]
