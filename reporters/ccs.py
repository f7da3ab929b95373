"""Contrast-consistent search: a direction that answers a statement and its negation consistently
and with confidence (Burns et al. 2022).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from console.ranges import Count, LearningRate
from reporters.adam import minimise_with_adam
from reporters.fitted_linear import FittedLinear
from reporters.reporter import Lesson
from reporters.stack import Weights
from reporters.standardiser import compute_standardiser


class CCS(FittedLinear):
    """log-odds = w · z + b at the least of (p₊ + p₋ − 1)² + min(p₊, p₋)², mean over pairs: p₊ is
    the probability of a statement, p₋ that of its negation.

    Each half of the pairs is normalised by itself, so that no "not" can be read. The best of
    several restarts is kept. No labels are used, but for the sign: that with which more easy
    statements are answered as the human does. Anything that a pair has in only one of its halves
    fits the loss, whether it is truth or not (Farquhar et al. 2023): a lower loss is not always
    more truth, and tests/reporters/test_ccs.py plants a case.
    K: restarts, N: pairs, D: width.

    Args:
        restarts: the number of random directions from which the search starts.
        steps: steps of Adam, on all pairs at once.
        learning_rate: of the first step.
    """

    needs: ClassVar[tuple[Literal["negations"], ...]] = ("negations",)
    uses_seed: ClassVar[bool] = True

    def __init__(
        self,
        n_levels: int,
        width: int,
        restarts: Count,
        steps: Count,
        learning_rate: LearningRate,
    ) -> None:
        super().__init__(n_levels, width)
        self.restarts, self.steps, self.learning_rate = restarts, steps, learning_rate
        self.seed = int(torch.randint(2**31, ()))

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.negated_NLD is not None
        statement_ND, negation_ND = lesson.z_NLD.flatten(1), lesson.negated_NLD.flatten(1)
        mean_D, std_D = compute_standardiser(statement_ND)
        statement_ND = (statement_ND - mean_D) / std_D
        negated_mean_D, negated_std_D = compute_standardiser(negation_ND)
        negation_ND = (negation_ND - negated_mean_D) / negated_std_D
        weights_K = self._search(statement_ND, negation_ND)
        best = int(compute_loss(weights_K, statement_ND, negation_ND).argmin())
        weight_D, bias = weights_K["weight_KD"][best], weights_K["bias_K"][best]
        agrees_N = (statement_ND @ weight_D + bias > 0) == (lesson.human_N > 0.5)
        if agrees_N.float().mean() < 0.5:
            weight_D, bias = -weight_D, -bias
        weight_D = weight_D / std_D
        return {"weight_1D": weight_D[None], "bias": bias - weight_D @ mean_D}

    def _search(self, statement_ND: Tensor, negation_ND: Tensor) -> Weights:
        """Returns the directions and biases where the restarts end."""
        rng = torch.Generator().manual_seed(self.seed)
        start_KD = torch.randn(self.restarts, statement_ND.shape[1], generator=rng)
        start_KD = start_KD / start_KD.norm(dim=1, keepdim=True)
        start = {
            "weight_KD": start_KD.to(statement_ND),
            "bias_K": statement_ND.new_zeros(len(start_KD)),
        }

        def compute_losses(weights_K: Weights, step: int) -> Tensor:
            return compute_loss(weights_K, statement_ND, negation_ND)

        with torch.enable_grad():
            return minimise_with_adam(start, compute_losses, self.steps, self.learning_rate)


def compute_loss(weights_K: Weights, statement_ND: Tensor, negation_ND: Tensor) -> Tensor:
    """Returns the loss of each direction, mean over pairs: consistency and confidence."""
    weight_KD, bias_K1 = weights_K["weight_KD"], weights_K["bias_K"][:, None]
    yes_KN = torch.sigmoid(weight_KD @ statement_ND.T + bias_K1)
    no_KN = torch.sigmoid(weight_KD @ negation_ND.T + bias_K1)
    consistency_KN = (yes_KN - (1 - no_KN)).square()
    confidence_KN = torch.minimum(yes_KN, no_KN).square()
    return (consistency_KN + confidence_KN).mean(dim=1)
