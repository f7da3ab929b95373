"""Exact refits of heads whose log-odds are linear in their parameters: Newton's method for many
sets of edges at once.

K: heads, Q: candidates, W: parameters of a head, P: those kept, N: episodes, R: levels a head is
given, D: width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reporters.reporter import Reporter, nll
from training.convex import read_features
from training.edge_fits import CLOSE, NOTHING, ROUNDING, Fits, Refit, Scores, pack

NEWTON_STEPS = 50
"""Most steps of a refit."""
HALVINGS = 20
"""How often a step is halved at most."""
MORE = 2.0
"""What a refit may bring at most, as a multiple of what the curvature predicts."""
RIDGE = 1e-6
"""What is added to curvatures, and as a share of their mean: two edges may read the same, and heads
that are sure of all episodes have no curvature.
"""
WHOLE = 2**22
"""Most numbers that are worked on at once: candidates times kept parameters times episodes."""
OVERHEAD = 32
"""Bytes that each of them needs at most, all copies together."""


class LinearFits(Fits):
    """Heads with one optimum for each set of edges, found by Newton's method."""

    convex = True
    tried = 8
    swapped = 4

    def __init__(
        self, reporter: Reporter, z_NRD: Tensor, human_N: Tensor, memory_budget: float
    ) -> None:
        super().__init__(reporter, z_NRD, human_N)
        self.a_WN = read_features(reporter, z_NRD).to(z_NRD).T.contiguous()
        self.square_WN = self.a_WN.square()
        self.whole = int(min(WHOLE, memory_budget / OVERHEAD))

    def refit(self, start_QW: Tensor, keep_QW: Tensor, limit_Q: Tensor | None = None) -> Refit:
        theta_QW = torch.zeros_like(start_QW)
        errors_Q = torch.zeros_like(start_QW[:, 0])
        if limit_Q is None:
            limit_Q = torch.full_like(errors_Q, torch.inf)
        n_kept_Q = keep_QW.sum(dim=1)
        for n_kept in n_kept_Q.unique().tolist():
            size = max(1, self.whole // (max(1, n_kept) * len(self.human_N)))
            for q in (n_kept_Q == n_kept).nonzero().flatten().split(size):
                index_QP, _ = pack(keep_QW[q])
                start_QP = start_QW[q].gather(1, index_QP)
                theta_QP, errors_Q[q] = fit_by_newton(
                    self.a_WN[index_QP], self.human_N, start_QP, limit_Q[q]
                )
                theta_QW[q] = theta_QW[q].scatter(1, index_QP, theta_QP)
        return Refit(theta_QW, errors_Q)

    def score(self, theta_KW: Tensor, keep_KW: Tensor) -> Scores:
        """Takes the curvature between edges into account: the score test of Rao (1948)."""
        size = max(1, self.whole // (int(keep_KW.sum(dim=1).max()) * len(self.human_N)))
        parts = zip(theta_KW.split(size), keep_KW.split(size), strict=True)
        loss, gain = zip(*[self._score_part(*part) for part in parts], strict=True)
        return Scores(torch.cat(loss), torch.cat(gain))

    def _score_part(self, theta_KW: Tensor, keep_KW: Tensor) -> Scores:
        log_odds_KN = theta_KW @ self.a_WN
        probability_KN = log_odds_KN.sigmoid()
        gradient_KW = (probability_KN - self.human_N) @ self.a_WN.T
        weight_KN = probability_KN * (1 - probability_KN)
        own_KW = weight_KN @ self.square_WN.T
        index_KP, kept_KP = pack(keep_KW)
        a_KPN = self.a_WN[index_KP] * kept_KP[:, :, None]
        cross_KPW = (a_KPN * weight_KN[:, None]) @ self.a_WN.T
        index_KPP = index_KP[:, None].expand(-1, index_KP.shape[1], -1)
        between_KPP = cross_KPW.gather(2, index_KPP)
        explained_KPW = solve(add_ridge(between_KPP), cross_KPW)
        free_KW = own_KW - (cross_KPW * explained_KPW).sum(dim=1)
        # An edge that the others explain fully gains nothing.
        free_KW = free_KW.clamp_min(1e-3 * own_KW).clamp_min(RIDGE)
        gain_KW = torch.where(keep_KW, -torch.inf, gradient_KW.square() / free_KW / 2)
        # What is lost without a refit: near separation the curvature is no measure of it.
        log_odds_KPN = log_odds_KN[:, None] - a_KPN * theta_KW.gather(1, index_KP)[:, :, None]
        errors_K1 = nll(log_odds_KN, self.human_N).sum(dim=1, keepdim=True)
        loss_KP = nll(log_odds_KPN, self.human_N).sum(dim=2) - errors_K1
        is_edge_KP = self.edge_W[index_KP] & kept_KP
        loss_KW = torch.full_like(theta_KW, torch.inf)
        loss_KW.scatter_(1, index_KP, torch.where(is_edge_KP, loss_KP, torch.inf))
        return Scores(loss_KW, gain_KW)


def fit_by_newton(
    a_QPN: Tensor, human_N: Tensor, theta_QP: Tensor, limit_Q: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the parameters of logistic regressions, each on features of its own, and their errors
    in nats of all episodes. Those that have arrived leave the batch.

    Where features separate the episodes there is no optimum: errors fall until they are NOTHING.

    Args:
        theta_QP: where they start.
        limit_Q: those whose errors will stay above this leave the batch too.
    """
    q = torch.arange(len(a_QPN), device=a_QPN.device)
    log_odds_QN = (theta_QP[:, None] @ a_QPN)[:, 0]
    errors_Q = nll(log_odds_QN, human_N).sum(dim=1)
    final_QP, final_Q = theta_QP.clone(), errors_Q.clone()
    for _ in range(NEWTON_STEPS):
        probability_QN = log_odds_QN.sigmoid()
        gradient_QP1 = a_QPN @ (probability_QN - human_N)[:, :, None]
        weighted_QPN = a_QPN * (probability_QN * (1 - probability_QN))[:, None]
        curvature_QPP = add_ridge(weighted_QPN @ a_QPN.mT)
        step_QP1 = solve(curvature_QPP, gradient_QP1)
        predicted_Q = (gradient_QP1 * step_QP1).sum(dim=(1, 2)) / 2
        hopeful_Q = errors_Q - MORE * predicted_Q < limit_Q
        active_Q = (predicted_Q > CLOSE) & (errors_Q > NOTHING) & hopeful_Q
        if not active_Q.all():
            q, a_QPN, step_QP1 = q[active_Q], a_QPN[active_Q], step_QP1[active_Q]
            theta_QP, log_odds_QN = theta_QP[active_Q], log_odds_QN[active_Q]
            errors_Q, limit_Q = errors_Q[active_Q], limit_Q[active_Q]
        if not len(q):
            break
        change_QN = (step_QP1.mT @ a_QPN)[:, 0]
        length_Q1 = _choose_length(log_odds_QN, change_QN, errors_Q, human_N)
        theta_QP = theta_QP - length_Q1 * step_QP1[:, :, 0]
        log_odds_QN = log_odds_QN - length_Q1 * change_QN
        errors_Q = nll(log_odds_QN, human_N).sum(dim=1)
        final_QP[q], final_Q[q] = theta_QP, errors_Q
    return final_QP, final_Q


def solve(matrix_QPP: Tensor, right_QPM: Tensor) -> Tensor:
    """Returns the solutions of linear equations. Of a matrix that rounding has made singular, its
    diagonal alone counts: as a step of Newton's method, that still leads downwards.
    """
    solution_QPM, info_Q = torch.linalg.solve_ex(matrix_QPP, right_QPM)
    diagonal_QP1 = matrix_QPP.diagonal(dim1=1, dim2=2)[:, :, None]
    is_singular_Q11 = (info_Q != 0)[:, None, None]
    return torch.where(is_singular_Q11, right_QPM / diagonal_QP1, solution_QPM)


def _choose_length(
    log_odds_QN: Tensor, change_QN: Tensor, errors_Q: Tensor, human_N: Tensor
) -> Tensor:
    """Returns the share of each step that does not raise the errors, halved until it does not."""
    length_Q1 = torch.ones_like(errors_Q)[:, None]
    rising = torch.arange(len(errors_Q), device=errors_Q.device)
    for _ in range(HALVINGS):
        log_odds = log_odds_QN[rising] - length_Q1[rising] * change_QN[rising]
        rises = nll(log_odds, human_N).sum(dim=1) > errors_Q[rising] + ROUNDING
        rising = rising[rises]
        if not len(rising):
            break
        length_Q1[rising] /= 2
    return length_Q1


def add_ridge(curvature_QPP: Tensor) -> Tensor:
    """Returns curvatures that have an inverse."""
    diagonal_QP = curvature_QPP.diagonal(dim1=1, dim2=2)
    ridge_Q1 = RIDGE * (1 + diagonal_QP.mean(dim=1, keepdim=True))
    return curvature_QPP + torch.diag_embed(ridge_Q1.expand_as(diagonal_QP))
