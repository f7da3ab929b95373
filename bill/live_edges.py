"""The live edges of one finished head: the weights that its reports depend on.

N: episodes, L: levels, D: width, T: exits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, grad

from reporters.reporter import Reading, Reporter, find_unit_axes, is_weight
from reporters.stack import Weights


def find_live_edges(reporter: Reporter, weights: Weights, z_NLD: Tensor, sign_N: Tensor) -> Weights:
    """Returns whether each weight of one head is live: it is not 0 and, on some episode, it changes
    the log-odds at the exit where the head stops, or the probability of stopping by that exit.

    An edge on a dead path has a gradient of exactly 0 on every episode; random factors of the
    episodes (`sign_N`) keep live ones from cancelling. A head always stops at the last exit, so
    one that stops there depends on the probability of stopping before it.
    """

    def compute_signed_sum(weights: Weights) -> Tensor:
        reading = functional_call(reporter, weights, (z_NLD,))
        reached_NT = _find_exits_until_stop(reading)
        return (sign_N * (reading.log_odds_N + (reading.halt_NT * reached_NT).sum(dim=1))).sum()

    live = {}
    for name, gradient in grad(compute_signed_sum)(weights).items():
        if is_weight(name):
            live[name] = (weights[name] != 0) & (gradient != 0)
    return live


def _find_exits_until_stop(reading: Reading) -> Tensor:
    """Returns which exits a head reaches until it stops, shape (N, T); never the last, where every
    head stops.
    """
    exits = reading.halt_NT.shape[1]
    last_N = reading.exit_N.clamp(max=exits - 2)
    return torch.arange(exits, device=last_N.device) <= last_N[:, None]


def count_edges(live: Weights) -> Tensor:
    """Returns the number of live edges of one head."""
    return torch.stack([value.sum() for value in live.values()]).sum().float()


def count_live_units(live: Weights) -> dict[str, Tensor]:
    """Returns how many units of one head have a live edge, for each letter of the axes."""
    is_live: dict[str, Tensor] = {}
    for name, value in live.items():
        for letter, axis in find_unit_axes(name).items():
            has_edge = value.movedim(axis, 0).flatten(1).any(dim=1)
            is_live[letter] = is_live[letter] | has_edge if letter in is_live else has_edge
    return {letter: units.sum() for letter, units in is_live.items()}
