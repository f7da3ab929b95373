"""The bill: what finished heads cost, in every unit, whichever prior they were trained under.

K = G · S · M heads; N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad
from torch.nn import functional as F

from priors.prior import is_bias
from reporters.reporter import Reporter
from reporters.stack import Weights, grouped, over_heads

PRECISIONS = range(-2, 12)
"""Binary places to which weights are rounded in a two-part code; the code names one of them."""


@dataclass(frozen=True)
class Bill:
    """What each of K finished heads costs. Measured on the heads as they are, never taken from the training charge."""

    bits_K: Tensor
    """Two-part code of the training labels: the rounded parameters, and the labels given them; at the precision that makes it shortest."""
    model_bits_K: Tensor
    """The first part alone: it says little without the second, which is short only for a head that fits."""
    flops_K: Tensor
    """FLOPs an episode of the training split: the predictor's up to the deepest level read, and the head's own."""
    level_K: Tensor
    """Mean deepest level read on the training split."""
    edges_K: Tensor
    """Weights that are not 0 and through which what the head says, or when it stops, depends on them for some episode."""


def measure(
    reporter: Reporter, weights: Weights, z_NLD: Tensor, human_N: Tensor, level_KN: Tensor, own_flops_KN: Tensor, flops_by_level: Sequence[float]
) -> Bill:
    """Returns the bill of a stack of finished heads.

    Args:
        z_NLD: standardised activations of the training episodes.
        human_N: the human's answers on them, 0 or 1.
        level_KN: the deepest level that each head read on each of them, and below the FLOPs that it spent itself.
        flops_by_level: the predictor's FLOPs an episode to reach each of its levels.
    """
    axes = (0, 0, None, None), (0, None, None, None), (0, None, None, None)
    given_GNLD = grouped(z_NLD, reporter)

    def bits(one: Weights, z_NLD: Tensor, human_N: Tensor, _: None) -> tuple[Tensor, Tensor]:
        return two_part_bits(reporter, one, z_NLD, human_N)

    def edges(one: Weights, z_NLD: Tensor, sign_N: Tensor, _: None) -> Tensor:
        return live_edges(reporter, one, z_NLD, sign_N)

    sign_N = torch.randn(len(z_NLD), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        bits_GSM, model_bits_GSM = over_heads(bits, *axes)(weights, given_GNLD, human_N.float(), None)
    edges_GSM = over_heads(edges, *axes)(weights, given_GNLD, sign_N, None)
    flops_KN = torch.tensor(flops_by_level, dtype=torch.float64)[level_KN] + own_flops_KN
    return Bill(bits_GSM.flatten(), model_bits_GSM.flatten(), flops_KN.mean(dim=1), level_KN.double().mean(dim=1), edges_GSM.flatten())


def two_part_bits(reporter: Reporter, weights: Weights, z_NLD: Tensor, human_N: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the length in bits of a two-part code (Rissanen 1978) for one head, and that of its first part.

    The parameters are rounded to multiples of 2^-p. Named are: p, how many of the P multiples are not 0, which, and each by its sign and the Elias
    gamma code of its size. Then come the labels, each by the probability that the rounded head gives it.
    """
    totals, models = [], []
    for places in PRECISIONS:
        step = 2.0**-places
        rounded = {name: (value / step).round() for name, value in weights.items()}
        count_P = torch.cat([value.flatten() for value in rounded.values()]).abs()
        live = (count_P > 0).sum()
        size = torch.tensor(float(len(count_P)))
        choose = torch.lgamma(size + 1) - torch.lgamma(live + 1) - torch.lgamma(size - live + 1)
        gamma = torch.where(count_P > 0, 2 + 2 * count_P.clamp_min(1).log2().floor(), 0.0).sum()
        model = math.log2(len(PRECISIONS)) + math.log2(len(count_P) + 1) + choose / math.log(2) + gamma
        log_odds_N = functional_call(reporter, {name: value * step for name, value in rounded.items()}, (z_NLD,)).log_odds_N
        errors = (F.softplus(log_odds_N) - human_N * log_odds_N).sum() / math.log(2)
        totals.append(model + errors)
        models.append(model)
    total, which = torch.stack(totals).min(dim=0)
    return total, torch.stack(models).gather(0, which[None])[0]


def live_edges(reporter: Reporter, weights: Weights, z_NLD: Tensor, sign_N: Tensor) -> Tensor:
    """Returns how many weights of one head are not 0 and change, for some episode, its log-odds where it stops or its chance to stop until there.

    An edge on a dead path has a gradient of exactly 0 on every episode; random factors an episode (sign_N) keep live ones from cancelling.
    The last exit always stops, so a head that stops there depends on what let it go on until then.
    """

    def said(one: Weights) -> Tensor:
        reading = functional_call(reporter, one, (z_NLD,))
        exits = reading.halt_NT.shape[1]
        until_exit_NT = torch.arange(exits, device=z_NLD.device) <= reading.exit_N.clamp(max=exits - 2)[:, None]
        return (sign_N * (reading.log_odds_N + (reading.halt_NT * until_exit_NT).sum(dim=1))).sum()

    gradients = grad(said)(weights)
    live = [((weights[name] != 0) & (gradient != 0)).sum() for name, gradient in gradients.items() if not is_bias(name)]
    return torch.stack(live).sum()
