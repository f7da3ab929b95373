"""Adam on a stack of heads in plain tensors: what refits and measures use, where no Lightning fit is needed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from reporters.stack import Weights


def descended(weights: Weights, gradients: Callable[[Weights, int], Weights], steps: int, rate: float) -> Weights:
    """Returns weights after so many steps of Adam (Kingma and Ba 2015); its rate falls to 0 along a cosine.

    Adam looks at each number by itself, so heads stacked along any axes descend as each would alone.

    Args:
        gradients: from the weights and the step, from 0.
    """
    leaves = {name: torch.nn.Parameter(value.clone()) for name, value in weights.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=rate, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    now: Weights = {name: leaf.data for name, leaf in leaves.items()}
    for step in range(steps):
        with torch.no_grad():
            for name, gradient in gradients(now, step).items():
                leaves[name].grad = gradient
        optimizer.step()
        schedule.step()
    return now
