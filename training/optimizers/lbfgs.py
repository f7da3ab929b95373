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
        tolerance: nats of the whole training set that another step could still bring at most, as
            far as the gradient predicts.
        steps: after this many, a head that has not settled is left as it is.
        starts: heads that are tried for each seed; the best is kept.
    """

    tolerance: Positive
    steps: Count
    starts: Count
