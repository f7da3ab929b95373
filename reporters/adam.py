"""Adam on a stack of heads in plain tensors, for refits and measures that need no Lightning fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from reporters.stack import Weights


def minimise_with_adam(
    weights: Weights,
    losses: Callable[[Weights, int], Tensor],
    steps: int,
    rate: float,
    masks: Mapping[str, Tensor] | None = None,
) -> Weights:
    """Returns the weights after a number of steps of Adam (Kingma and Ba 2015); the learning rate
    falls to 0 along a cosine.

    Adam updates each number on its own, and no head's loss depends on another head's weights. So
    heads that are stacked along any axes are trained as each would be alone.

    Args:
        losses: maps the weights and the step, which starts at 0, to each head's loss.
        steps: the number of steps.
        rate: the learning rate of the first step.
        masks: by name, 1 where a number is trained and 0 where it stays as it is. Weights without a
            mask are trained.
    """
    leaves = {name: torch.nn.Parameter(value.clone()) for name, value in weights.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=rate, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        gradients = compute_gradients(leaves, losses(dict(leaves), step))
        for name, gradient in gradients.items():
            if masks and name in masks:
                gradient.mul_(masks[name])
            leaves[name].grad = gradient
        optimizer.step()
        schedule.step()
    return {name: leaf.data for name, leaf in leaves.items()}


def compute_gradients(leaves: Mapping[str, Tensor], losses: Tensor) -> Weights:
    """Returns the gradient of each head's own loss, from one backward pass through their sum."""
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True))
