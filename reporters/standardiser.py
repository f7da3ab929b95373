"""What activations are standardised with.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def compute_standardiser(z_NLD: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean and the standard deviation over episodes, of the shape of one; a dimension
    that never varies keeps its scale.
    """
    std_LD = z_NLD.std(dim=0)
    return z_NLD.mean(dim=0), torch.where(std_LD > 1e-6, std_LD, torch.ones_like(std_LD))
