"""A speed prior: the FLOPs of a report, those of the predictor up to the deepest level read
included.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from console.ranges import LogAlpha
from priors.hard_concrete import compute_final_gates, compute_open_probability, sample_gates
from priors.prior import Aid, Prior, Training
from reporters.reporter import Reporter, count_units, find_unit_axes
from reporters.stack import Weights


class Speed(Prior):
    """ln 2 nats a step, where one step is the FLOPs of one block of the predictor. The charge is
    the expectation over exits and over gates on units.

    After Schmidhuber (2002), "The speed prior", but here each step costs one bit, and not each
    doubling of the computation. Exits as in PonderNet (Banino, Balaguer and Blundell 2021).

    Gates as in Louizos, Welling and Kingma (2018), on whole units: every unit of every axis of the
    head's weights (an input, a hidden unit) has one, and a head of E[in] inputs and E[out] outputs
    spends 2 · E[in] · E[out]. A finished head has each gate at its middle, and the units whose gate
    is 0 can be removed from it.

    Args:
        log_alpha: the initial value of every gate; above 0 is open.
        gates: which heads have gates. auto: those that cannot stop early, so that nothing else is
            charged. A head that can pays for its exits, of which each costs what many thousand
            units do, and for all its units; then nothing in its training is left to chance.
    """

    def __init__(
        self, log_alpha: LogAlpha, gates: Literal["auto", "always", "never"] = "always"
    ) -> None:
        self.log_alpha = log_alpha
        self.gates = gates

    def state(self, weights: Weights, aid: Aid) -> Weights:
        gates: Weights = {}
        if self.gates == "never" or (self.gates == "auto" and aid.has_exits):
            return gates
        for name, value in weights.items():
            for letter, axis in find_unit_axes(name).items():
                gates[letter] = value.new_full((value.shape[axis],), self.log_alpha)
        return gates

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        gates = {letter: sample_gates(state[letter], noise[letter]) for letter in state}
        return _apply_gates(weights, gates)

    def lacks(self, reporter: Reporter) -> str | None:
        # With one level, a head with an exit for each level has one.
        has_exits = len(reporter.flops(count_units(reporter, 2))) > 1
        has_units = any(find_unit_axes(name) for name, _ in reporter.named_parameters())
        if has_exits or (has_units and self.gates != "never"):
            return None
        return "exits, or weights whose units can be switched off"

    def charge(self, training: Training) -> Tensor:
        if self.lacks(training.reporter):
            return training.reach_T.new_zeros(())
        n_levels = training.z_NLD.shape[1]
        expected_units: dict[str, Any] = dict(count_units(training.reporter, n_levels))
        for letter, log_alpha in training.state.items():
            expected_units[letter] = compute_open_probability(log_alpha).sum()
        own_flops = training.reporter.flops(expected_units)
        own_T = torch.stack([torch.as_tensor(own).to(training.reach_T) for own in own_flops])
        flops_T = training.reach_T + own_T
        return math.log(2) * (training.reading.halt_NT @ flops_T).mean() / training.flops_step

    def finish(self, weights: Weights, state: Weights) -> Weights:
        gates = {letter: compute_final_gates(log_alpha) for letter, log_alpha in state.items()}
        return _apply_gates(weights, gates)


def _apply_gates(weights: Weights, gates: Weights) -> Weights:
    """Returns the weights times the gates of all their units."""
    if not gates:
        return weights
    gated = dict(weights)
    for name, value in weights.items():
        for letter, axis in find_unit_axes(name).items():
            shape = [1] * value.dim()
            shape[axis] = -1
            gated[name] = gated[name] * gates[letter].reshape(shape)
    return gated
