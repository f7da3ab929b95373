"""A parallel-time prior: the depth of a head of logic gates."""

from __future__ import annotations

from torch import Tensor

from priors.gates import compute_gate_price, find_missing_gates
from priors.prior import Prior, Training
from reporters.logic import Logic
from reporters.reporter import Reporter


class CircuitDepth(Prior):
    """A level of depth costs as much as a gate: 2 ln P + ln 10 nats, for a head with P places.

    A circuit of depth d has a path of d gates. This prior charges for that path alone, once for the
    whole head; everything else is free, thresholds too. So it is the least that the prior on gates
    can charge for such a depth. Both priors charge the gates of a chain equally, and differ only by
    the gates that run in parallel.

    Depth is the time that a circuit takes if all its gates work at once; an arbitrary table of n
    rows takes about log2 n of it. The charge is the expected depth, which for a finished head is
    the depth itself.
    """

    def charge(self, training: Training) -> Tensor:
        if not isinstance(training.reporter, Logic):
            return training.reading.log_odds_NT.new_zeros(())
        depth = training.reporter.expected_depth(training.used)
        return compute_gate_price(training) * depth / training.n_examples

    def lacks(self, reporter: Reporter) -> str | None:
        return find_missing_gates(reporter)
