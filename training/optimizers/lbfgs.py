"""L-BFGS on all training episodes at once."""

from __future__ import annotations

from dataclasses import dataclass

from console.ranges import Count, Positive
from training.optimizers.optimizer import Optimizer


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Every head is moved by L-BFGS (Liu and Nocedal 1989) on all training episodes until it has
    settled. The objective must be the same function at every step.

    Args:
        tolerance: nats of the whole training set that further steps would still bring, as far as
            the curvature and the last ten steps show. In flat valleys they show too little, so use
            less than the 0.01 below which a head counts as settled.
        steps: after this many, a head that has not settled is left as it is.
    """

    tolerance: Positive
    steps: Count
