"""A parallel-time prior: the depth of a head of logic gates."""

from __future__ import annotations

from torch import Tensor

from priors.gates import gate_price
from priors.prior import Prior, Training
from reporters.logic import Logic
from reporters.reporter import Reporter


class CircuitDepth(Prior):
    """As much for a level of depth as for a gate: 2 ln P + ln 10 nats, for a head with P places.

    A circuit of depth d has a path of d gates; this charges for that path alone, once for the whole
    head, and leaves all beside it free, thresholds too. It is thus the least that the prior on
    gates can charge for such a depth, and both charge the gates of a chain the same: where they
    differ, they differ by what runs in parallel. Depth is the time that a circuit takes when all
    its gates work at once; an arbitrary table of n rows takes some log2 n of it. Charged is the
    expected depth, which for a finished head is the depth itself.
    """

    def charge(self, training: Training) -> Tensor:
        if not isinstance(training.reporter, Logic):
            return training.reading.log_odds_NT.new_zeros(())
        return (
            gate_price(training)
            * training.reporter.expected_depth(training.used)
            / training.n_examples
        )

    def lacks(self, reporter: Reporter) -> str | None:
        return None if isinstance(reporter, Logic) else "logic gates, as reporter=logic has"
