"""An evolution strategy: candidates around each head, ranked by what they pay.

G: groups of levels, S: seeds, M: strengths; P: pairs of candidates, C: candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from console.ranges import LearningRate, Range
from priors.prior import Prior
from reporters.reporter import Reporter
from training.optimizers.gradient_free import GradientFree, check_size
from training.optimizers.optimizer import Groups, Losses, StepOptimizer

MOST = 2_000
"""Numbers of a head. In 800 steps on 512 of 4,096 planted episodes a linear head came 99.5% of the
way from its start to the optimum with 65 numbers, 96% with 257, 62% with 1,025 and 19% with 4,097.
"""


@dataclass(frozen=True)
class Evolution(StepOptimizer):
    """A separable natural evolution strategy (Wierstra et al. 2014). At each step each head draws
    candidates in pairs of opposites around its weights, and moves towards those that pay less; the
    spread of each number grows where far candidates pay less and shrinks where near ones do.

    Args:
        learning_rate: the distance of the first candidates from their head. By what share of the
            spreads a step moves a head, and changes them, falls from 1 to 0 along a cosine.
        pairs: pairs of candidates of a head.
    """

    uses_gradients: ClassVar[bool] = False

    learning_rate: LearningRate
    pairs: Annotated[int, Range(1, 1000)]

    def check(self, prior: Prior, reporter: Reporter) -> None:
        check_size("evolution", reporter, MOST)

    def build(
        self, groups: Groups, seed_S: Tensor, share_M: Tensor | None
    ) -> torch.optim.Optimizer:
        return Candidates(groups, seed_S, share_M, self.pairs)


class Candidates(GradientFree):
    """The steps of `Evolution`."""

    def __init__(
        self, groups: Groups, seed_S: Tensor, share_M: Tensor | None, n_pairs: int
    ) -> None:
        super().__init__(groups, seed_S, share_M)
        self.n_pairs = n_pairs
        self.utility_C = compute_utilities(2 * n_pairs)
        self.spread_rate = (3 + math.log(self.n_numbers)) / (5 * math.sqrt(self.n_numbers))
        """As Wierstra et al. recommend."""

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Losses) -> Tensor:  # type: ignore[override]
        _, loss_GSM = closure()
        means = [parameter.clone() for parameter in self.parameters]
        spreads = self._get_spreads()
        draws = [self.draw_normal(pair) for pair in range(self.n_pairs)]
        paid = []
        for draw in draws:
            for sign in (1, -1):
                moved = zip(self.parameters, means, spreads, draw, strict=True)
                for parameter, mean, spread, normal_S in moved:
                    parameter.copy_(mean + sign * spread * normal_S[None, :, None])
                paid.append(closure()[0])
        for parameter, mean in zip(self.parameters, means, strict=True):
            parameter.copy_(mean)
        rank_CGSM = torch.stack(paid).argsort(dim=0).argsort(dim=0)
        utility_CGSM = self.utility_C.to(paid[0])[rank_CGSM]
        first_PGSM, second_PGSM = utility_CGSM[0::2], utility_CGSM[1::2]
        for i, (parameter, spread) in enumerate(zip(self.parameters, spreads, strict=True)):
            normal_PS = torch.stack([draw[i] for draw in draws])
            towards = _sum_over_pairs(first_PGSM - second_PGSM, normal_PS)
            wider = _sum_over_pairs(first_PGSM + second_PGSM, normal_PS.square() - 1)
            parameter.add_(self.remaining_share * spread * towards)
            spread.mul_((self.remaining_share * self.spread_rate / 2 * wider).exp())
        self.end_step()
        return loss_GSM

    def _get_spreads(self) -> list[Tensor]:
        """Returns the standard deviation of the candidates of each number."""
        for parameter, length in zip(self.parameters, self.list_first_lengths(), strict=True):
            if not self.state[parameter]:
                self.state[parameter]["spread"] = length * torch.ones_like(parameter)
        return [self.state[parameter]["spread"] for parameter in self.parameters]


def compute_utilities(n: int) -> Tensor:
    """Returns the weight of each of n candidates by its rank, the best first: above 0 for the
    better half, and 0 in sum.

    >>> compute_utilities(4)
    tensor([ 0.4804,  0.0196, -0.2500, -0.2500])
    """
    rank_C = torch.arange(1, n + 1)
    utility_C = (math.log(n / 2 + 1) - rank_C.log()).clamp_min(0)
    return utility_C / utility_C.sum() - 1 / n


def _sum_over_pairs(weight_PGSM: Tensor, value_PS: Tensor) -> Tensor:
    """Returns the weighted sum of the values, shape (G, S, M, ...)."""
    return torch.einsum("pgsm,ps...->gsm...", weight_PGSM, value_PS)
