"""Gradients of stacked heads, each clipped by its own norm.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reporters.stack import align_with


def clip_gradients(gradients: Sequence[Tensor], most: float) -> tuple[list[Tensor], Tensor]:
    """Returns gradients, of shape (G, S, M, ...), scaled so that no head's norm is above `most`,
    and what each head's norm was before.

    A gradient that is not a number makes its own head's gradients NaN, and no other's.
    """
    grid = gradients[0].shape[:3]
    norms = [torch.linalg.vector_norm(value.reshape(*grid, -1), dim=3) for value in gradients]
    norm_GSM = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    scale_GSM = (most / norm_GSM.clamp_min(1e-12)).clamp(max=1)
    clipped = []
    for value in gradients:
        clipped.append((value * align_with(scale_GSM, value)).contiguous())
    return clipped, norm_GSM
