"""Each head's best weights on held-out episodes, and when a head is done.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reporters.stack import Weights, to_parameters, to_tensors


class BestWeights(nn.Module):
    """The best weights of every head so far. It is a module so that a checkpoint holds it.

    Args:
        start: the weights before training.
        settled: epochs until charge and bonus no longer change.
        patience: epochs without improvement after which a head is done, counted once charge and
            bonus have settled.
    """

    total_GSM: Tensor
    """Nats an episode of the best weights: errors and the charge at full strength."""
    nll_GSM: Tensor
    """Their errors alone; NaN before the first epoch."""
    epoch_GSM: Tensor
    """The epoch that they were found in, from 0."""

    def __init__(self, start: Weights, settled: int, patience: int) -> None:
        super().__init__()
        self.settled, self.patience = settled, patience
        some = next(iter(start.values()))
        grid, dtype = some.shape[:3], some.dtype
        self.parameters_by_name = to_parameters(start).requires_grad_(False)
        self.register_buffer("total_GSM", torch.full(grid, torch.inf, dtype=dtype))
        self.register_buffer("nll_GSM", torch.full(grid, torch.nan, dtype=dtype))
        self.register_buffer("epoch_GSM", torch.zeros(grid, dtype=torch.long))

    @property
    def weights(self) -> Weights:
        """The best weights so far."""
        return to_tensors(self.parameters_by_name)

    @torch.no_grad()
    def update(self, weights: Weights, nll_GSM: Tensor, charge_GSM: Tensor, epoch: int) -> None:
        """Keeps the weights of the heads that are not done and have improved.

        Args:
            nll_GSM: the errors on held-out episodes, in nats an episode.
            charge_GSM: the charge there, at full strength.
        """
        total_GSM = nll_GSM + charge_GSM
        better_GSM = (total_GSM < self.total_GSM) & ~self.is_done(epoch)
        self.total_GSM[better_GSM] = total_GSM[better_GSM]
        self.nll_GSM[better_GSM] = nll_GSM[better_GSM]
        self.epoch_GSM[better_GSM] = epoch
        for name, value in self.weights.items():
            value[better_GSM] = weights[name][better_GSM]

    def is_done(self, epoch: int) -> Tensor:
        """Returns for each head whether it has not improved for longer than its patience; a bool
        tensor of shape (G, S, M).
        """
        return epoch - self.epoch_GSM.clamp_min(self.settled) > self.patience
