"""L-BFGS for many heads at once (Liu and Nocedal 1989).

K: heads, W: coordinates of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

REMEMBERED = 20
"""Steps that are remembered."""
HALVINGS = 20
"""How often a step is halved at most."""
DECREASE = 1e-4
"""The share of the decrease that the gradient predicts which a step must bring."""
WINDOW = 10
"""Steps whose decrease tells whether a head still gets anywhere."""

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From coordinates (k, W) and the numbers k of heads to what each pays and the gradient of it."""


class Minimum(NamedTuple):
    """Where heads have arrived."""

    phi_KW: Tensor
    loss_K: Tensor
    gap_K: Tensor
    """What further steps could bring: the larger of what the curvature predicts and what the last
    steps brought.
    """


class _Step(NamedTuple):
    """One step: the move, the change of the gradient, and 1 over their product; 0 where the product
    is not positive.
    """

    move_KW: Tensor
    change_KW: Tensor
    inverse_K1: Tensor


def minimise(
    evaluate: Evaluate, start_KW: Tensor, tolerance: float, steps: int, rounding: float = 1e-9
) -> Minimum:
    """Returns every head at a minimum; heads that have arrived leave the batch.

    Args:
        tolerance: a head has arrived where neither the curvature predicts nor the last steps
            brought a larger decrease.
        steps: most steps of a head.
        rounding: what a loss may seem to rise by because products are rounded.
    """
    best_KW = start_KW.clone()
    best_loss_K = torch.full_like(start_KW[:, 0], torch.inf)
    gap_K = torch.full_like(start_KW[:, 0], torch.inf)
    k = torch.arange(len(start_KW), device=start_KW.device)
    phi_KW = start_KW
    loss_K, gradient_KW = evaluate(phi_KW, k)
    past: list[Tensor] = []
    remembered: list[_Step] = []
    for _ in range(steps):
        direction_KW = -_multiply_inverse_curvature(gradient_KW, remembered)
        predicted_K = (gradient_KW * direction_KW).sum(dim=1)
        past = [*past[-WINDOW:], loss_K]
        brought_K = past[0] - loss_K if len(past) > WINDOW else torch.full_like(loss_K, torch.inf)
        best_KW[k], best_loss_K[k] = phi_KW, loss_K
        gap_K[k] = torch.maximum(-predicted_K / 2, brought_K)
        active_K = gap_K[k] > tolerance
        if not active_K.all():
            k, phi_KW, loss_K = k[active_K], phi_KW[active_K], loss_K[active_K]
            gradient_KW, direction_KW = gradient_KW[active_K], direction_KW[active_K]
            past = [value[active_K] for value in past]
            remembered = [_Step(*(value[active_K] for value in step)) for step in remembered]
        if not len(k):
            break
        before_KW, before_gradient_KW = phi_KW, gradient_KW
        phi_KW, loss_K, gradient_KW = _search_line(
            evaluate, k, phi_KW, loss_K, gradient_KW, direction_KW, rounding
        )
        step = _describe_step(phi_KW - before_KW, gradient_KW - before_gradient_KW)
        remembered = [*remembered[1 - REMEMBERED :], step]
    else:
        best_KW[k], best_loss_K[k] = phi_KW, loss_K
    return Minimum(best_KW, best_loss_K, gap_K)


def _describe_step(move_KW: Tensor, change_KW: Tensor) -> _Step:
    product_K1 = (move_KW * change_KW).sum(dim=1, keepdim=True)
    inverse_K1 = torch.where(product_K1 > 0, 1 / product_K1, torch.zeros_like(product_K1))
    return _Step(move_KW, change_KW, inverse_K1)


def _search_line(
    evaluate: Evaluate,
    k: Tensor,
    phi_KW: Tensor,
    loss_K: Tensor,
    gradient_KW: Tensor,
    direction_KW: Tensor,
    rounding: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns every head a step further, with its loss and gradient there; a step is halved until
    it decreases the loss enough.
    """
    predicted_K = (gradient_KW * direction_KW).sum(dim=1)
    next_KW = phi_KW + direction_KW
    next_loss_K, next_gradient_KW = evaluate(next_KW, k)
    length = 1.0
    for _ in range(HALVINGS):
        most_K = loss_K + DECREASE * length * predicted_K + rounding
        high = (~(next_loss_K <= most_K)).nonzero().flatten()
        if not len(high):
            break
        length /= 2
        next_KW[high] = phi_KW[high] + length * direction_KW[high]
        next_loss_K[high], next_gradient_KW[high] = evaluate(next_KW[high], k[high])
    return next_KW, next_loss_K, next_gradient_KW


def _multiply_inverse_curvature(gradient_KW: Tensor, steps: Sequence[_Step]) -> Tensor:
    """Returns the gradients times the inverse curvature that the last steps imply: the two loops of
    Nocedal (1980).
    """
    product_KW = gradient_KW
    shares = []
    for step in reversed(steps):
        share_K1 = step.inverse_K1 * (step.move_KW * product_KW).sum(dim=1, keepdim=True)
        product_KW = product_KW - share_K1 * step.change_KW
        shares.append(share_K1)
    if steps:
        last = steps[-1]
        size_K1 = last.inverse_K1 * last.change_KW.square().sum(dim=1, keepdim=True)
        product_KW = product_KW / torch.where(size_K1 > 0, size_K1, torch.ones_like(size_K1))
    for step, share_K1 in zip(steps, reversed(shares), strict=True):
        back_K1 = step.inverse_K1 * (step.change_KW * product_KW).sum(dim=1, keepdim=True)
        product_KW = product_KW + step.move_KW * (share_K1 - back_K1)
    return product_KW
