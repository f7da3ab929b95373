"""A circuit-complexity prior: the two-input gates of a head of logic gates, and the thresholds that
they read.
"""

from __future__ import annotations

import math

from torch import Tensor

from priors.prior import Prior, Training
from reporters.logic import Logic
from reporters.reporter import Reporter


class Gates(Prior):
    """2 ln P + ln 10 nats a gate: to name its two operands among P places, and its function among
    the 10 that depend on both.

    A threshold costs ln D + ½ ln N nats: to name one of D activations, and to state the value as
    precisely as N episodes can determine it. Wires, NOT and constants are free. The charge is the
    expected number of live gates and thresholds, which for a finished head is the number itself;
    parts that could be shared are counted each time. Almost every table of n rows takes about
    n / log2 n gates (Shannon 1949; Lupanov 1958), while a rule may take few.
    """

    def charge(self, training: Training) -> Tensor:
        if not isinstance(training.reporter, Logic):
            return training.reading.log_odds_NT.new_zeros(())
        width = training.used["input_choice_BD"].shape[-1]
        threshold_price = math.log(width) + math.log(training.n_examples) / 2
        gates = training.reporter.expected_gates(training.used)
        thresholds = training.reporter.expected_thresholds(training.used)
        total = compute_gate_price(training) * gates + threshold_price * thresholds
        return total / training.n_examples

    def lacks(self, reporter: Reporter) -> str | None:
        return find_missing_gates(reporter)


def compute_gate_price(training: Training) -> float:
    """Returns the price of one gate, in nats for the whole training set."""
    return 2 * math.log(training.used["output_choice_P"].shape[-1]) + math.log(10)


def find_missing_gates(reporter: Reporter) -> str | None:
    """Returns what a prior on gates finds missing in a reporter; None for a head of gates."""
    return None if isinstance(reporter, Logic) else "logic gates, as reporter=logic has"
