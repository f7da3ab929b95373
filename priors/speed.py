"""A speed prior: the FLOPs that a report takes, the predictor's up to the deepest level read included."""

import math

from torch import Tensor

from priors.prior import Prior, Training


class Speed(Prior):
    """ln 2 nats a step, one step being the FLOPs of one block of the predictor; what is charged is the expectation over exits.

    After Schmidhuber (2002), "The speed prior": a computation twice as long is worth one bit less for every step here, not for every doubling. A head
    without exits spends the same on every episode: it is charged, and nothing that training does can change it.
    """

    def charge(self, training: Training) -> Tensor:
        flops_N = training.reading.halt_NT @ training.flops_T
        return math.log(2) * flops_N.mean() / training.flops_step
