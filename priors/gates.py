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
    """2 ln P + ln 10 nats a gate: to name its two operands among P places, and which of the 10
    functions that need both it is.

    A threshold costs ln D + ½ ln N nats: to name one of D activations, and to state the value as
    precisely as N episodes can tell. Wires, NOT and constants are free. Charged is the expected
    number of live gates and thresholds, which for a finished head is the number itself; parts that
    could be shared are counted each time. Almost every table of n rows takes some n / log2 n gates
    (Shannon 1949; Lupanov 1958), a rule may take few.
    """

    def charge(self, training: Training) -> Tensor:
        if not isinstance(training.reporter, Logic):
            return training.reading.log_odds_NT.new_zeros(())
        width, n_examples = training.used["input_choice_BD"].shape[-1], training.n_examples
        gates, thresholds = (
            training.reporter.expected_gates(training.used),
            training.reporter.expected_thresholds(training.used),
        )
        return (
            gate_price(training) * gates + (math.log(width) + math.log(n_examples) / 2) * thresholds
        ) / n_examples

    def lacks(self, reporter: Reporter) -> str | None:
        return None if isinstance(reporter, Logic) else "logic gates, as reporter=logic has"


def gate_price(training: Training) -> float:
    """Returns what one gate costs, in nats for the whole training set."""
    return 2 * math.log(training.used["output_choice_P"].shape[-1]) + math.log(10)
