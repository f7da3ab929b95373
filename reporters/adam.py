"""Adam on a stack of heads in plain tensors: what refits and measures use, where no Lightning fit
is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from reporters.stack import Weights


def descended(
    weights: Weights,
    losses: Callable[[Weights, int], Tensor],
    steps: int,
    rate: float,
    masks: Mapping[str, Tensor] | None = None,
) -> Weights:
    """Returns weights after so many steps of Adam (Kingma and Ba 2015); its rate falls to 0 along a
    cosine.

    Adam looks at each number by itself, and no head's loss knows of another's weights: heads
    stacked along any axes descend as each would alone.

    Args:
        losses: each head's loss, from the weights and the step, from 0.
        masks: 1 where a number descends, 0 where it stays as it is; by name, all ones where nothing
            is said.
    """
    leaves = {name: torch.nn.Parameter(value.clone()) for name, value in weights.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=rate, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        for name, slope in slopes(leaves, losses(dict(leaves), step)).items():
            leaves[name].grad = slope.mul_(masks[name]) if masks and name in masks else slope
        optimizer.step()
        schedule.step()
    return {name: leaf.data for name, leaf in leaves.items()}


def slopes(leaves: Mapping[str, Tensor], losses: Tensor) -> Weights:
    """Returns the gradient of each head's own loss: that of their sum, by one backward pass."""
    return dict(
        zip(
            leaves,
            torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True),
            strict=True,
        )
    )
