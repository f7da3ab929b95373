"""A Gaussian prior: plain weight decay, in nats. The baseline that everybody knows."""

import torch
from torch import Tensor

from priors.prior import Prior, Training
from reporters.reporter import Reporter, is_weight, no_weights


class Gaussian(Prior):
    """charge = ½ Σ w² / s² nats for the whole head: what a maximum a posteriori fit under weights ~
    N(0, s²) is charged (MacKay 1992).

    It can be gamed by rescaling. Where one layer's output is multiplied into the next, W1 · 100 and
    W2 / 100 leave a ReLU head's answers alone and change the charge without limit, so its size says
    nothing of the function; `simplicity` pays for a scale and is not moved. Biases are free.

    Args:
        scale: the standard deviation s of a weight, on standardised activations.
    """

    convex = True

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def charge(self, training: Training) -> Tensor:
        squares = [
            value.square().sum() for name, value in training.weights.items() if is_weight(name)
        ]
        return torch.stack([*squares, training.reach_T.new_zeros(())]).sum() / (
            2 * self.scale**2 * training.n_examples
        )

    def lacks(self, reporter: Reporter) -> str | None:
        return no_weights(reporter)
