"""L-BFGS for many heads at once (Liu and Nocedal 1989), a step at a time.

K: heads, W: coordinates of a head, P: steps remembered.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

REMEMBERED = 20
"""Steps that are remembered."""
WINDOW = 10
"""Steps whose decrease tells whether a head still gets anywhere."""
HALVINGS = 20
"""How often a step is halved at most."""
DECREASE = 1e-4
"""The share of the decrease that the gradient predicts which a step must bring."""
ROUNDING = 1e-8
"""Nats an episode that a loss may seem to rise by because products are rounded."""

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From coordinates (k, W) and the numbers k of heads to the loss of each and its gradient."""


class LBFGSState(nn.Module):
    """Heads on their way to a minimum. It is a module so that a checkpoint holds it, and so that it
    moves to the device of the fit.

    Args:
        start_KW: float64, so that small steps are not lost.
    """

    phi_KW: Tensor
    loss_K: Tensor
    """Infinity before the first step."""
    gradient_KW: Tensor
    gap_K: Tensor
    """What further steps could bring: the larger of what the curvature predicts and what the last
    steps brought.
    """
    past_PK: Tensor
    """The losses before the last steps, the latest last."""
    move_PKW: Tensor
    change_PKW: Tensor
    """The changes of the gradients along the moves."""
    inverse_PK: Tensor
    """1 over the products of moves and changes; 0 where there is no move that curvature can be
    learned from.
    """
    scale_K: Tensor
    """The size of the first inverse curvature."""
    direction_KW: Tensor
    """Of the next step."""
    turn: Tensor
    """Steps taken."""

    def __init__(self, start_KW: Tensor) -> None:
        super().__init__()
        n_heads, n_coordinates = start_KW.shape
        unknown_K = start_KW.new_full((n_heads,), torch.inf)
        empty_PKW = start_KW.new_zeros(REMEMBERED, n_heads, n_coordinates)
        buffers = {
            "phi_KW": start_KW.clone(),
            "loss_K": unknown_K,
            "gradient_KW": torch.zeros_like(start_KW),
            "gap_K": unknown_K.clone(),
            "past_PK": start_KW.new_full((WINDOW, n_heads), torch.inf),
            "move_PKW": empty_PKW,
            "change_PKW": empty_PKW.clone(),
            "inverse_PK": start_KW.new_zeros(REMEMBERED, n_heads),
            "scale_K": start_KW.new_ones(n_heads),
            "direction_KW": torch.zeros_like(start_KW),
            "turn": torch.tensor(0),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forget(self, evaluate: Evaluate, k: Tensor) -> None:
        """Begins anew with heads k where they are, because their losses are now others."""
        self.inverse_PK[:, k] = 0
        self.scale_K[k] = 1
        self.past_PK[:, k] = torch.inf
        self.gap_K[k] = torch.inf
        self.loss_K[k], self.gradient_KW[k] = evaluate(self.phi_KW[k], k)
        self.direction_KW[k] = -self.gradient_KW[k]

    def step(self, evaluate: Evaluate, k: Tensor) -> None:
        """Moves heads k a step. No head's step depends on another head."""
        before_KW, before_gradient_KW = self.phi_KW[k], self.gradient_KW[k]
        self.past_PK[:, k] = torch.cat([self.past_PK[1:, k], self.loss_K[None, k]])
        self._search_line(evaluate, k)
        move_KW = self.phi_KW[k] - before_KW
        change_KW = self.gradient_KW[k] - before_gradient_KW
        product_K = (move_KW * change_KW).sum(dim=1)
        is_curved_K = product_K > 0
        slot = int(self.turn) % REMEMBERED
        self.turn += 1
        self.move_PKW[slot, k], self.change_PKW[slot, k] = move_KW, change_KW
        self.inverse_PK[slot, k] = torch.where(is_curved_K, 1 / product_K, 0)
        scale_K = product_K / change_KW.square().sum(dim=1)
        self.scale_K[k] = torch.where(is_curved_K, scale_K, self.scale_K[k])
        self.direction_KW[k] = -self._multiply_inverse_curvature(k)
        predicted_K = -(self.gradient_KW[k] * self.direction_KW[k]).sum(dim=1) / 2
        self.gap_K[k] = torch.maximum(predicted_K, self.past_PK[0, k] - self.loss_K[k])

    def _search_line(self, evaluate: Evaluate, k: Tensor) -> None:
        """Moves every head; a step is halved until it decreases the loss enough."""
        start_KW, start_K, direction_KW = self.phi_KW[k], self.loss_K[k], self.direction_KW[k]
        predicted_K = (self.gradient_KW[k] * direction_KW).sum(dim=1)
        remaining = torch.arange(len(k), device=k.device)
        length = 1.0
        for _ in range(HALVINGS):
            own = k[remaining]
            next_KW = start_KW[remaining] + length * direction_KW[remaining]
            loss_K, gradient_KW = evaluate(next_KW, own)
            self.phi_KW[own], self.loss_K[own], self.gradient_KW[own] = next_KW, loss_K, gradient_KW
            most_K = start_K[remaining] + DECREASE * length * predicted_K[remaining] + ROUNDING
            # No step helps a head that is not a number where it is.
            remaining = remaining[~(loss_K <= most_K) & ~most_K.isnan()]
            if not len(remaining):
                return
            length /= 2

    def _multiply_inverse_curvature(self, k: Tensor) -> Tensor:
        """Returns the gradients times the inverse curvature that the last steps imply: the two
        loops of Nocedal (1980).
        """
        remembered = []
        for age in range(REMEMBERED):
            slot = (int(self.turn) + age) % REMEMBERED
            inverse_K1 = self.inverse_PK[slot, k, None]
            remembered.append((self.move_PKW[slot, k], self.change_PKW[slot, k], inverse_K1))
        product_KW = self.gradient_KW[k]
        shares = []
        for move_KW, change_KW, inverse_K1 in reversed(remembered):
            share_K1 = inverse_K1 * (move_KW * product_KW).sum(dim=1, keepdim=True)
            product_KW = product_KW - share_K1 * change_KW
            shares.append(share_K1)
        product_KW = product_KW * self.scale_K[k, None]
        for move_KW, change_KW, inverse_K1 in remembered:
            back_K1 = inverse_K1 * (change_KW * product_KW).sum(dim=1, keepdim=True)
            product_KW = product_KW + move_KW * (shares.pop() - back_K1)
        return product_KW


def minimise(
    evaluate: Evaluate, start_KW: Tensor, tolerance: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Returns heads at a minimum, and what further steps could bring; heads that have arrived are
    left alone.

    Args:
        tolerance: a head has arrived where further steps could bring no more.
        steps: most steps.
    """
    state = LBFGSState(start_KW)
    k = torch.arange(len(start_KW), device=start_KW.device)
    state.forget(evaluate, k)
    for _ in range(steps):
        state.step(evaluate, k)
        k = k[state.gap_K[k] > tolerance]
        if not len(k):
            break
    return state.phi_KW, state.gap_K
