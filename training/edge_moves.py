"""The moves of a search over edges: what each head may change to.

K: heads, J: candidates of a head, C: candidates of all heads, W: parameters of a head, U: units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from reporters.reporter import find_unit_axes
from training.edge_fits import Fits, Scores

SHARES = (1 / 2, 1 / 4, 1 / 8)
"""Shares of a head's least salient edges that are taken out together."""
SINGLES = 8
"""How many of its least salient edges are taken out one by one."""
UNITS = 6
"""How many of its least salient units are taken out one by one, with all their edges."""
MANY = 32
"""Edges of a head above which only shares of them are taken out."""
NOTHING_LEFT = 0.01
"""Nats of errors of the whole training set below which no edge is put in or swapped."""


class EdgeSets(NamedTuple):
    """Heads, each refitted on the edges that it keeps."""

    theta_KW: Tensor
    keep_KW: Tensor
    """Which parameters may differ from 0; all but edges always may."""
    errors_K: Tensor
    """Nats of the whole training set."""
    price_K: Tensor
    """Of an edge, in nats of the whole training set."""
    total_K: Tensor
    """Errors and the price of all edges, in nats of the whole training set."""

    def choose(self, k: Tensor) -> EdgeSets:
        """Returns some of the heads."""
        return EdgeSets(*(value[k] for value in self))


class Candidates(NamedTuple):
    """What heads may change to, in the order of heads and, for each, from the best guess on."""

    head_C: Tensor
    keep_CW: Tensor
    """The edges of each candidate, and all other parameters."""
    start_CW: Tensor
    """Where its refit starts."""


Move = Callable[[Fits, EdgeSets, Scores], Candidates]


def count_edges(fits: Fits, keep_KW: Tensor) -> Tensor:
    """Returns the edges of each head."""
    return (keep_KW & fits.edge_W).sum(dim=1)


def take_out_shares(fits: Fits, found: EdgeSets, scores: Scores) -> Candidates:
    """Takes out a share of a head's edges: the least salient ones."""
    n_K = count_edges(fits, found.keep_KW)
    rank_KW = scores.loss_KW.argsort(dim=1, stable=True).argsort(dim=1)
    out = [rank_KW < (n_K * share).long()[:, None] for share in SHARES]
    return _list(found.keep_KW[:, None] & ~torch.stack(out, dim=1), found.theta_KW)


def thin_out(fits: Fits, found: EdgeSets, scores: Scores) -> Candidates:
    """Takes out shares of the edges of heads that have many."""
    candidates = take_out_shares(fits, found, scores)
    many_C = (count_edges(fits, found.keep_KW) > MANY)[candidates.head_C]
    return Candidates(*(value[many_C] for value in candidates))


def take_out(fits: Fits, found: EdgeSets, scores: Scores) -> Candidates:
    """Takes out one edge, or one unit with all its edges."""
    few_K = (count_edges(fits, found.keep_KW) <= MANY).nonzero().flatten()
    keep_KW, loss_KW = found.keep_KW[few_K], scores.loss_KW[few_K]
    singles_KJW = keep_KW[:, None] & ~_find_least(loss_KW, SINGLES)
    unit_UW = find_units(fits).to(keep_KW.device)
    loss_of_edges_KW = torch.where(loss_KW.isinf(), 0, loss_KW)
    live_KU = ((keep_KW & fits.edge_W).float() @ unit_UW.T.float()) > 0
    loss_KU = torch.where(live_KU, loss_of_edges_KW @ unit_UW.T.to(loss_KW), torch.inf)
    least_KJ = loss_KU.topk(min(UNITS, len(unit_UW)), largest=False).indices
    units_KJW = keep_KW[:, None] & ~unit_UW[least_KJ]
    return _list(torch.cat([singles_KJW, units_KJW], dim=1), found.theta_KW[few_K], few_K)


def put_in_or_swap(fits: Fits, found: EdgeSets, scores: Scores) -> Candidates:
    """Puts in an edge, or swaps one of the least salient edges for another: of all such sets, those
    that the curvature predicts to be best.
    """
    few_K = count_edges(fits, found.keep_KW) < MANY
    k = (few_K & (found.errors_K > NOTHING_LEFT)).nonzero().flatten()
    if not len(k):
        return Candidates(k, found.keep_KW[k], found.theta_KW[k])
    bases = build_bases(fits, found.choose(k), Scores(*(value[k] for value in scores)))
    price_KJ = found.price_K[k, None] * (bases.keep_KJW & fits.edge_W).sum(dim=2)
    total_KJW = (bases.errors_KJ + price_KJ)[:, :, None] - bases.gain_KJW
    n_tried = min(fits.tried, total_KJW[0].numel())
    best_KC = total_KJW.flatten(1).topk(n_tried, largest=False).indices
    row_K1 = torch.arange(len(k), device=k.device)[:, None]
    base_KC = best_KC // len(fits.edge_W)
    added_KC1 = (best_KC % len(fits.edge_W))[:, :, None]
    keep_KCW = bases.keep_KJW[row_K1, base_KC].scatter(2, added_KC1, True)
    return _list(keep_KCW, bases.theta_KJW[row_K1, base_KC], k)


class Bases(NamedTuple):
    """What an edge is put into: each head, and the head without one of its edges."""

    theta_KJW: Tensor
    keep_KJW: Tensor
    errors_KJ: Tensor
    gain_KJW: Tensor
    """Nats of errors that each edge would save."""


def build_bases(fits: Fits, heads: EdgeSets, scores: Scores) -> Bases:
    """Returns heads, and heads refitted without one of their least salient edges."""
    out_KJW = _find_least(scores.loss_KW, fits.swapped)
    without_KJW = heads.keep_KW[:, None] & ~out_KJW
    without_CW = without_KJW.flatten(0, 1)
    start_CW = heads.theta_KW.repeat_interleave(out_KJW.shape[1], dim=0)
    theta_CW, errors_C = fits.refit(start_CW, without_CW)
    gain_KJW = fits.score(theta_CW, without_CW).gain_KW.view_as(without_KJW)
    # An edge that has been taken out is not put in again.
    is_out_KJW = out_KJW | ~out_KJW.any(dim=2, keepdim=True)
    gain_KJW = gain_KJW.masked_fill(is_out_KJW, -torch.inf)
    return Bases(
        torch.cat([heads.theta_KW[:, None], theta_CW.view_as(without_KJW)], dim=1),
        torch.cat([heads.keep_KW[:, None], without_KJW], dim=1),
        torch.cat([heads.errors_K[:, None], errors_C.view(out_KJW.shape[:2])], dim=1),
        torch.cat([scores.gain_KW[:, None], gain_KJW], dim=1),
    )


MOVES: tuple[Move, ...] = (take_out, put_in_or_swap)
"""From the quicker to the slower."""


def find_units(fits: Fits) -> Tensor:
    """Returns which edges belong to each unit of a head, shape (U, W)."""
    n_units = {}
    for name, size in fits.sizes.items():
        for letter, axis in find_unit_axes(name).items():
            n_units[letter] = size[axis]
    unit_UW = []
    for letter, n in n_units.items():
        number = []
        for name, size in fits.sizes.items():
            own_axis = find_unit_axes(name).get(letter)
            number_of_edge = torch.tensor(-1)
            if own_axis is not None:
                shape = [1] * len(size)
                shape[own_axis] = -1
                number_of_edge = torch.arange(n).view(shape)
            number.append(number_of_edge.expand(size).flatten())
        unit_UW.append(torch.cat(number) == torch.arange(n)[:, None])
    return torch.cat(unit_UW)


def _find_least(value_KW: Tensor, n: int) -> Tensor:
    """Returns one-hot rows of the n least finite values, shape (K, n, W); where a head has fewer,
    rows without any.
    """
    least_KJ = value_KW.topk(min(n, value_KW.shape[1]), largest=False)
    one_hot_KJW = torch.nn.functional.one_hot(least_KJ.indices, value_KW.shape[1]).bool()
    return one_hot_KJW & least_KJ.values.isfinite()[:, :, None]


def _list(keep_KJW: Tensor, start: Tensor, head_K: Tensor | None = None) -> Candidates:
    """Returns the candidates of all heads.

    Args:
        start: where refits start: for each head, or for each of its candidates.
        head_K: the numbers of the heads, if they are not all.
    """
    if head_K is None:
        head_K = torch.arange(len(keep_KJW), device=keep_KJW.device)
    start_KJW = (start[:, None] if start.dim() == 2 else start).expand(keep_KJW.shape)
    head_C = head_K.repeat_interleave(keep_KJW.shape[1])
    return Candidates(head_C, keep_KJW.flatten(0, 1), (start_KJW * keep_KJW).flatten(0, 1))
