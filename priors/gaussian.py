"""A Gaussian prior: plain weight decay, in nats. The well-known baseline."""

from typing import Annotated

import torch
from torch import Tensor

from console.ranges import Range
from priors.prior import Prior, Training
from reporters.reporter import Reporter, find_missing_weights, is_weight


class Gaussian(Prior):
    """charge = ½ Σ w² / s² nats for the whole head: the charge of a maximum a posteriori fit under
    weights ~ N(0, s²) (MacKay 1992).

    It can be gamed by rescaling. Where one layer's output is multiplied into the next, W1 · 100 and
    W2 / 100 leave the answers of a ReLU head as they are and change the charge without limit, so
    the charge says nothing about the function. `simplicity` pays for a scale, so rescaling does not
    change its charge. Biases are free.

    Args:
        scale: the standard deviation s of a weight, on standardised activations.
    """

    convex = True

    def __init__(self, scale: Annotated[float, Range(1e-6, 1_000_000)]) -> None:
        self.scale = scale

    def charge(self, training: Training) -> Tensor:
        weights = [value for name, value in training.weights.items() if is_weight(name)]
        squares = [value.square().sum() for value in weights]
        total = torch.stack([*squares, training.reach_T.new_zeros(())]).sum()
        return total / (2 * self.scale**2 * training.n_examples)

    def lacks(self, reporter: Reporter) -> str | None:
        return find_missing_weights(reporter)
