"""Variational bits of a finished head: how precisely its numbers must be told for it to say what it
says.

N: episodes, B: episodes of a batch, L: levels, D: width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from priors.simplicity import SCALE_BITS
from reporters.adam import descended
from reporters.code_lengths import choice_bits, subset_bits
from reporters.reporter import Reporter, is_choice, is_weight, nll
from reporters.stack import Weights, grouped, over_heads

STEPS, RATE, BATCH, SAMPLES = 100, 0.15, 512, 16
"""Steps of Adam on the precision of every parameter, their first rate, episodes a step, and draws
from which the errors are measured.
"""
START = 0.2
"""Where every parameter's standard deviation begins, in units of its tensor's root mean square."""
FACTORS = (1.0, 0.5, 0.25)
"""What the standard deviations that were found are multiplied with; the shortest code of these
counts. Where few numbers matter, errors are rare and large, and descent overshoots.
"""


class Variational(NamedTuple):
    """A variational code of a head and of the training labels, in bits, each of shape (G, S, M)."""

    total: Tensor
    """Of the labels: of the head, and of its errors."""
    model: Tensor
    """Of the head alone."""


def variational(
    reporter: Reporter, weights: Weights, z_NLD: Tensor, human_N: Tensor
) -> Variational:
    """Returns the bits of a variational code of the training labels (Hinton and van Camp 1993) for
    every head of a stack.

    q = N(w, sigma²) about the finished head's own parameters w; sigma is fitted, w is not. The
    prior is N(0, s²) a tensor with s at its optimum and 6 bits to name it; parameters that are 0
    are named as such and cost no more, and choices are named among all they could have been. To
    KL(q, prior) come the errors of heads drawn from q. It is an upper bound, and close for heads
    that trained under `simplicity`; others have not been pushed to where rough numbers do.
    """
    chance = torch.Generator().manual_seed(0)
    live = {name: (value != 0).to(value) * (not is_choice(name)) for name, value in weights.items()}
    z_GNRD = grouped(z_NLD, reporter)

    def drawn(log_sigma: Weights, weights: Weights, live: Weights, noise: Weights) -> Weights:
        return {
            name: value + live[name] * log_sigma[name].exp() * noise[name]
            for name, value in weights.items()
        }

    def kl(log_sigma: Weights, weights: Weights, live: Weights) -> Tensor:
        """In nats, over live parameters."""
        parts = []
        for name, value in weights.items():
            if is_choice(name):
                continue
            n = live[name].sum().clamp_min(1)
            square = (live[name] * (value.square() + (2 * log_sigma[name]).exp())).sum() / n
            parts.append(
                (live[name] * (square.clamp_min(1e-30).log() / 2 - log_sigma[name])).sum()
                + SCALE_BITS * math.log(2) * (live[name].any())
            )
        return torch.stack(parts).sum()

    def loss(
        log_sigma: Weights,
        weights: Weights,
        live: Weights,
        noise: Weights,
        z_BRD: Tensor,
        human_B: Tensor,
    ) -> Tensor:
        errors = 0.0
        for sign in (1, -1):
            mirrored = {name: sign * value for name, value in noise.items()}
            errors += (
                functional_call(reporter, drawn(log_sigma, weights, live, mirrored), (z_BRD,))
                .errors_N(human_B)
                .mean()
                / 2
            )
        return errors + kl(log_sigma, weights, live) / len(human_N)

    def noise() -> Weights:
        """One draw a parameter, the same for every head: a head's bits do not depend on its
        company.
        """
        return {
            name: torch.randn(value.shape[3:], generator=chance).to(value)
            for name, value in weights.items()
        }

    axes = ((0, 0, 0, None, 0, None), *2 * ((0, 0, 0, None, None, None),))

    def losses(log_sigma: Weights, step: int) -> Tensor:
        batch_B = torch.randint(len(human_N), (min(BATCH, len(human_N)),), generator=chance).to(
            human_N.device
        )
        return over_heads(loss, *axes)(
            log_sigma, weights, live, noise(), z_GNRD[:, batch_B], human_N[batch_B]
        )  # type: ignore[no-any-return]

    log_sigma = descended(
        {name: _start(value) for name, value in weights.items()}, losses, STEPS, RATE
    )

    def errors(
        log_sigma: Weights,
        weights: Weights,
        live: Weights,
        noise: Weights,
        z_NRD: Tensor,
        human_N: Tensor,
    ) -> Tensor:
        return nll(
            functional_call(reporter, drawn(log_sigma, weights, live, noise), (z_NRD,)).log_odds_N,
            human_N,
        ).sum()

    with torch.no_grad():
        measured, draws = over_heads(errors, *axes), [noise() for _ in range(SAMPLES)]

        def code(factor: float) -> Variational:
            finer = {name: value + math.log(factor) for name, value in log_sigma.items()}
            errors_GSM = torch.stack(
                [measured(finer, weights, live, draw, z_GNRD, human_N) for draw in draws]
            ).mean(dim=0)
            model_GSM = over_heads(kl)(finer, weights, live)
            model_GSM = model_GSM / math.log(2) + choice_bits(
                {name: value[0, 0, 0] for name, value in weights.items()}
            )
            return Variational(errors_GSM / math.log(2) + model_GSM, model_GSM)

        codes = [code(factor) for factor in FACTORS]
        total_GSM, which_GSM = torch.stack([one.total for one in codes]).min(dim=0)
        model_GSM = torch.stack([one.model for one in codes]).gather(0, which_GSM[None])[0]
        edges = [value.flatten(3) for name, value in live.items() if is_weight(name)]
        if not edges:
            return Variational(total_GSM, model_GSM)
        n_GSM, all_of_them = (
            torch.cat(edges, dim=3).sum(dim=3),
            sum(value.shape[3] for value in edges),
        )
        named_GSM = torch.where(n_GSM == all_of_them, 1.0, 1.0 + subset_bits(all_of_them, n_GSM))
        return Variational(total_GSM + named_GSM, model_GSM + named_GSM)


def _start(value: Tensor) -> Tensor:
    """Returns where log sigma begins for a tensor with leading axes (G, S, M)."""
    size = value.square().reshape(*value.shape[:3], -1).mean(dim=3).sqrt().clamp_min(1e-3)
    return (
        (START * size)
        .log()
        .reshape(*value.shape[:3], *[1] * (value.dim() - 3))
        .expand_as(value)
        .contiguous()
    )
