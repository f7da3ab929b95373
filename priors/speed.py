"""A speed prior: the FLOPs that a report takes, the predictor's up to the deepest level read
included.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from priors.hard_concrete import drawn, is_open, settled
from priors.prior import Aid, Prior, Training
from reporters.reporter import Reporter, unit_axes, units
from reporters.stack import Weights


class Speed(Prior):
    """ln 2 nats a step, one step being the FLOPs of one block of the predictor; what is charged is
    the expectation over exits and over gates on units.

    After Schmidhuber (2002), "The speed prior": a computation twice as long is worth one bit less
    for every step here, not for every doubling. Exits as in PonderNet (Banino, Balaguer and
    Blundell 2021). Gates as Louizos, Welling and Kingma (2018) on whole units: every unit of every
    axis of the head's weights (an input, a hidden unit) has one, and a head of E[in] inputs and
    E[out] outputs spends 2 · E[in] · E[out]. A finished head has each gate at its middle, and can
    be made smaller by the units whose gate is 0.

    Args:
        log_alpha: where every gate begins; above 0 is open.
    """

    def __init__(self, log_alpha: float) -> None:
        self.log_alpha = log_alpha

    def state(self, weights: Weights, aid: Aid) -> Weights:
        sizes = {
            letter: (value, i)
            for name, value in weights.items()
            for letter, i in unit_axes(name).items()
        }
        return {
            letter: value.new_full((value.shape[i],), self.log_alpha)
            for letter, (value, i) in sizes.items()
        }

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        return _gate(
            weights,
            {letter: drawn(log_alpha, noise[letter]) for letter, log_alpha in state.items()},
        )

    def lacks(self, reporter: Reporter) -> str | None:
        can_change = len(reporter.flops(units(reporter, 1))) > 1 or any(
            unit_axes(name) for name, _ in reporter.named_parameters()
        )
        return None if can_change else "exits, or weights whose units can be switched off"

    def charge(self, training: Training) -> Tensor:
        if self.lacks(training.reporter):
            return training.reach_T.new_zeros(())
        open_units = {
            letter: is_open(log_alpha).sum() for letter, log_alpha in training.state.items()
        }
        own_T = training.reporter.flops(
            units(training.reporter, training.z_NLD.shape[1]) | open_units
        )
        flops_T = training.reach_T + torch.stack(
            [torch.as_tensor(own).to(training.reach_T) for own in own_T]
        )
        return math.log(2) * (training.reading.halt_NT @ flops_T).mean() / training.flops_step

    def finish(self, weights: Weights, state: Weights) -> Weights:
        return _gate(weights, {letter: settled(log_alpha) for letter, log_alpha in state.items()})


def _gate(weights: Weights, gates: Weights) -> Weights:
    """Returns the weights times the gate of every unit that they belong to."""
    gated = {}
    for name, value in weights.items():
        gated[name] = value
        for letter, i in unit_axes(name).items():
            shape = [1] * value.dim()
            shape[i] = -1
            gated[name] = gated[name] * gates[letter].reshape(shape)
    return gated
