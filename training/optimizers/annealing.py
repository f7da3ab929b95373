"""Simulated annealing: random jumps, shorter and fewer with time.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from console.ranges import LearningRate, NotNegative
from priors.prior import Prior
from reporters.reporter import Reporter
from reporters.stack import align_with
from training.optimizers.gradient_free import GradientFree, check_size
from training.optimizers.optimizer import Groups, Losses, StepOptimizer

MOST = 200
"""Numbers of a head. In 800 steps on 512 of 4,096 planted episodes a linear head came 99% of the
way from its start to the optimum with 17 numbers, 90% with 65, 60% with 129 and 10% with 257.
"""


@dataclass(frozen=True)
class Annealing(StepOptimizer):
    """Simulated annealing (Kirkpatrick, Gelatt and Vecchi 1983). At each step each head tries one
    jump in a random direction, longer the higher its own loss is. It takes the jump if it then pays
    less, or, with probability exp(-increase / temperature), if it pays more. The lengths fall along
    a cosine and the temperature with their square, so that jumps become shorter and fewer.

    Args:
        learning_rate: the length of the first jumps of a head, for each nat of its loss.
        temperature: of the first step, in nats an episode.
    """

    uses_gradients: ClassVar[bool] = False

    learning_rate: LearningRate
    temperature: NotNegative

    def check(self, prior: Prior, reporter: Reporter) -> None:
        check_size("annealing", reporter, MOST)

    def build(
        self, groups: Groups, seed_S: Tensor, share_M: Tensor | None
    ) -> torch.optim.Optimizer:
        return Jumps(groups, seed_S, share_M, self.temperature)


class Jumps(GradientFree):
    """The steps of `Annealing`."""

    def __init__(
        self, groups: Groups, seed_S: Tensor, share_M: Tensor | None, temperature: float
    ) -> None:
        super().__init__(groups, seed_S, share_M)
        self.temperature = temperature

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Losses) -> Tensor:  # type: ignore[override]
        parameters = self.parameters
        before = [parameter.clone() for parameter in parameters]
        paid_GSM, loss_GSM = closure()
        lengths, normals = self.list_first_lengths(), self.draw_normal(0)
        for parameter, length, normal_S in zip(parameters, lengths, normals, strict=True):
            size = self.remaining_share * length * align_with(loss_GSM, parameter)
            parameter.add_(size * normal_S[None, :, None])
        jumped_GSM, _ = closure()
        temperature = self.temperature * self.remaining_share**2
        chance_S = self.draw_uniform(len(parameters), ()).to(paid_GSM)
        allowed_S1 = -temperature * chance_S.log()[:, None]
        accepted_GSM = jumped_GSM - paid_GSM <= allowed_S1
        for parameter, start in zip(parameters, before, strict=True):
            jumped = parameter.clone()
            torch.where(align_with(accepted_GSM, parameter), jumped, start, out=parameter)
        self.end_step()
        return loss_GSM
