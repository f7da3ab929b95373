"""The circuit of a finished head: which of its edges are live, and how many units a head has that
is made smaller by all the others.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, grad

from reporters.reporter import Reporter, is_weight, unit_axes
from reporters.stack import Weights


def live_edges(reporter: Reporter, weights: Weights, z_NLD: Tensor, sign_N: Tensor) -> Weights:
    """Returns which weights of one head are not 0 and change, for some episode, its log-odds where
    it stops or its chance to stop until there.

    An edge on a dead path has a gradient of exactly 0 on every episode; random factors an episode
    (sign_N) keep live ones from cancelling. The last exit always stops, so a head that stops there
    depends on what let it go on until then.
    """

    def said(one: Weights) -> Tensor:
        reading = functional_call(reporter, one, (z_NLD,))
        exits = reading.halt_NT.shape[1]
        until_exit_NT = (
            torch.arange(exits, device=z_NLD.device) <= reading.exit_N.clamp(max=exits - 2)[:, None]
        )
        return (sign_N * (reading.log_odds_N + (reading.halt_NT * until_exit_NT).sum(dim=1))).sum()

    return {
        name: (weights[name] != 0) & (gradient != 0)
        for name, gradient in grad(said)(weights).items()
        if is_weight(name)
    }


def count(live: Weights) -> Tensor:
    """Returns how many edges of one head are live."""
    return torch.stack([value.sum() for value in live.values()]).sum().float()


def live_units(live: Weights) -> dict[str, Tensor]:
    """Returns, for each letter of the axes of one head's weights, how many units have a live edge."""
    alive: dict[str, Tensor] = {}
    for name, value in live.items():
        for letter, i in unit_axes(name).items():
            here = value.movedim(i, 0).flatten(1).any(dim=1)
            alive[letter] = alive[letter] | here if letter in alive else here
    return {letter: here.sum() for letter, here in alive.items()}
