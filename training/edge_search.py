"""A local search over the edges of heads: edges are taken out, put in and swapped as long as that
lowers the sum of errors and the price of edges.

K: heads, C: candidates of all heads, Q: those that are refitted, W: parameters of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.edge_fits import Fits, Scores
from training.edge_moves import Candidates, EdgeSets, Move, count_edges
from training.settling import SETTLED


def search(fits: Fits, theta_KW: Tensor, price_K: Tensor, moves: Sequence[Move]) -> EdgeSets:
    """Returns heads that no move improves.

    All candidates of all heads are refitted in one batch, and each head takes its best one. A head
    tries a kind of move only if no kind before it improves the head. A move that lowers the sum by
    less than SETTLED improves nothing.
    """
    found = refit(fits, theta_KW, price_K)
    active_K = torch.arange(len(theta_KW), device=theta_KW.device)
    while len(active_K):
        before = found.choose(active_K)
        after = try_moves(fits, before, moves)
        for value, changed in zip(found, after, strict=True):
            value[active_K] = changed
        active_K = active_K[after.total_K < before.total_K]
    return found


def refit(fits: Fits, theta_KW: Tensor, price_K: Tensor) -> EdgeSets:
    """Returns heads refitted on all their edges."""
    keep_KW = (theta_KW != 0) | ~fits.edge_W
    theta_KW, errors_K = fits.refit(theta_KW, keep_KW)
    total_K = errors_K + price_K * count_edges(fits, keep_KW)
    return EdgeSets(theta_KW, keep_KW, errors_K, price_K.clone(), total_K)


def try_moves(fits: Fits, before: EdgeSets, moves: Sequence[Move]) -> EdgeSets:
    """Returns heads after their best move of the first kind that improves them."""
    after = EdgeSets(*(value.clone() for value in before))
    all_scores = fits.score(before.theta_KW, before.keep_KW)
    k = torch.arange(len(before.total_K), device=before.total_K.device)
    for move in moves:
        found = before.choose(k)
        candidates = move(fits, found, Scores(*(value[k] for value in all_scores)))
        improved_K, best = take_best(fits, found, candidates)
        for value, changed in zip(after, best, strict=True):
            value[k[improved_K]] = changed
        k = k[~improved_K]
        if not len(k):
            break
    return after


def take_best(fits: Fits, found: EdgeSets, candidates: Candidates) -> tuple[Tensor, EdgeSets]:
    """Returns which heads a candidate improves, and the best candidate of each of these."""
    head_C, keep_CW, start_CW = candidates
    cost_C = found.price_K[head_C] * count_edges(fits, keep_CW)
    # Errors are never below 0: where edges alone cost too much, no refit is needed.
    affordable_C = cost_C < found.total_K[head_C] - SETTLED
    differs_C = (keep_CW != found.keep_KW[head_C]).any(dim=1)
    c = (affordable_C & differs_C).nonzero().flatten()
    if not len(c):
        none_K = torch.zeros_like(found.total_K, dtype=torch.bool)
        return none_K, found.choose(none_K)
    head_C, keep_CW, start_CW, cost_C = head_C[c], keep_CW[c], start_CW[c], cost_C[c]
    first_Q, index_C = find_distinct(head_C, keep_CW)
    limit_C = found.total_K[head_C] - SETTLED - cost_C
    theta_QW, errors_Q = fits.refit(start_CW[first_Q], keep_CW[first_Q], limit_C[first_Q])
    total_C = errors_Q[index_C] + cost_C
    best_K = found.total_K.scatter_reduce(0, head_C, total_C, "amin")
    improved_K = best_K < found.total_K - SETTLED
    # Of candidates that are as good as the best, a head takes the first.
    good = (improved_K[head_C] & (total_C < best_K[head_C] + SETTLED)).nonzero().flatten()
    chosen_K = good.new_full(best_K.shape, len(c))
    c = chosen_K.scatter_reduce(0, head_C[good], good, "amin")[improved_K]
    q = index_C[c]
    price = found.price_K[improved_K]
    return improved_K, EdgeSets(theta_QW[q], keep_CW[c], errors_Q[q], price, total_C[c])


def find_distinct(head_C: Tensor, keep_CW: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first of all equal candidates of a head, and which of these each candidate is."""
    rng = torch.Generator().manual_seed(0)
    code_W = torch.randint(-(2**62), 2**62, keep_CW.shape[1:], generator=rng)
    # The sum of random numbers tells sets apart.
    code_C = (keep_CW * code_W.to(keep_CW.device)).sum(dim=1)
    distinct_Q2, index_C = torch.stack([head_C, code_C], dim=1).unique(dim=0, return_inverse=True)
    place_C = torch.arange(len(head_C), device=head_C.device)
    first_Q = place_C.new_full((len(distinct_Q2),), len(place_C))
    return first_Q.scatter_reduce(0, index_C, place_C, "amin"), index_C
