"""Logistic regression with a squared penalty, solved to its one optimum by Newton's method."""

from __future__ import annotations

import torch
from torch import Tensor

from console.ranges import Positive
from reporters.fitted_linear import FittedLinear
from reporters.reporter import ClosedForm, nll

STEPS = 30
"""Newton steps; the error of each is about the square of that of the last."""
HALVINGS = 10
"""How often a step may be halved."""


class Logistic(FittedLinear, ClosedForm):
    """log-odds = w · z + b at the least of C Σ errors + ½ ‖w‖²: `LogisticRegression` of
    scikit-learn on standardised activations; the bias is free (Cox 1958).

    It is `reporter=linear prior=gaussian` at the strength 1 / C with scale 1, for a strength that
    belongs to the head: no prior changes it, and it is solved once.

    Args:
        C: nats of errors that count as much as ½ of ‖w‖²; a small one shrinks more.
    """

    def __init__(self, n_levels: int, width: int, C: Positive) -> None:
        super().__init__(n_levels, width)
        self.C = C

    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        z_ND = z_NLD.flatten(1)
        weight_D, bias = solve_logistic(z_ND, human_N, self.C)
        return {"weight_1D": weight_D[None], "bias": bias}


def solve_logistic(
    z_ND: Tensor, target_N: Tensor, C: float, has_bias: bool = True
) -> tuple[Tensor, Tensor]:
    """Returns the weight and the bias at the least of C Σ errors + ½ ‖weight‖², in nats.

    Each Newton step is as long as the best of the whole one and its halves. There is no branch on
    data, so it runs under `torch.func.vmap`.

    Args:
        target_N: 0 or 1, float.
        has_bias: without one the bias is 0.
    """
    ones_N1 = torch.full_like(z_ND[:, :1], float(has_bias))
    a_NW = torch.cat([z_ND, ones_N1], dim=1).double()
    target_N = target_N.double()
    decay_W = torch.full_like(a_NW[0], 1 / C)
    # The bias is free. So small a penalty only keeps its curvature above 0.
    decay_W = torch.cat([decay_W[:-1], decay_W[-1:] * 0 + 1e-12])
    length_S1 = 0.5 ** torch.arange(HALVINGS + 1, dtype=a_NW.dtype, device=a_NW.device)[:, None]
    theta_W = torch.zeros_like(decay_W)
    for _ in range(STEPS):
        log_odds_N = a_NW @ theta_W
        probability_N = log_odds_N.sigmoid()
        gradient_W = (probability_N - target_N) @ a_NW + decay_W * theta_W
        curvature_N1 = (probability_N * (1 - probability_N))[:, None]
        curvature_WW = a_NW.T @ (curvature_N1 * a_NW) + torch.diag_embed(decay_W)
        step_W = torch.linalg.solve_ex(curvature_WW, gradient_W[:, None])[0][:, 0]
        log_odds_SN = log_odds_N - length_S1 * (a_NW @ step_W)
        theta_SW = theta_W - length_S1 * step_W
        errors_S = nll(log_odds_SN, target_N).sum(dim=1)
        losses_S = errors_S + (decay_W * theta_SW.square()).sum(dim=1) / 2
        best_1 = losses_S.argmin(dim=0, keepdim=True)
        theta_W = theta_W - length_S1[:, 0].gather(0, best_1) * step_W
    theta_W = theta_W.to(z_ND)
    return theta_W[:-1], theta_W[-1]
