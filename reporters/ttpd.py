"""Truth and polarity directions: truth is read apart from whether a statement is negated (Bürger,
Hamprecht and Nadler 2024).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from console.ranges import Positive
from reporters.fitted_linear import FittedLinear
from reporters.logistic import solve_logistic
from reporters.reporter import Lesson


class TTPD(FittedLinear):
    """log-odds = a (t · z) + b (p · z) + c, with a truth direction t and a polarity direction p.

    Centred activations are fitted by τ t + τ π u, where τ is ±1 by the answer, π is +1 for a
    statement and −1 for its negation, and u is how truth changes its direction with the polarity. p
    is the weight of a logistic regression of π. A logistic regression on the two projections gives
    a, b and c.

    The negation of a statement with the answer yes has the answer no. That is the rule of a pair:
    no label of a negation is used.

    Args:
        C: as in `Logistic`, of both regressions.
    """

    needs: ClassVar[tuple[Literal["negations"], ...]] = ("negations",)

    def __init__(self, n_levels: int, width: int, C: Positive) -> None:
        super().__init__(n_levels, width)
        self.C = C

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.negated_NLD is not None
        z_ND = torch.cat([lesson.z_NLD, lesson.negated_NLD]).flatten(1)
        answer_N = torch.cat([lesson.human_N, 1 - lesson.human_N])
        is_statement_N = torch.cat([torch.ones_like(lesson.human_N), 0 * lesson.human_N])
        truth_D = find_truth_direction(z_ND, answer_N)
        polarity_D, _ = solve_logistic(z_ND, is_statement_N, self.C)
        basis_2D = torch.stack([truth_D, polarity_D])
        projected_N2 = z_ND @ basis_2D.T
        mean_2, std_2 = projected_N2.mean(dim=0), projected_N2.std(dim=0).clamp_min(1e-12)
        weight_2, bias = solve_logistic((projected_N2 - mean_2) / std_2, answer_N, self.C)
        weight_2 = weight_2 / std_2
        return {
            "weight_1D": (weight_2 @ basis_2D)[None],
            "bias": bias - (weight_2 * mean_2).sum(),
        }


def find_truth_direction(z_ND: Tensor, answer_N: Tensor) -> Tensor:
    """Returns the direction along which the answer moves statements and negations alike, by least
    squares: with as many statements as negations, a mean.
    """
    truth_N1 = 2 * answer_N[:, None] - 1
    return (truth_N1 * (z_ND - z_ND.mean(dim=0))).mean(dim=0)
