"""What optimizers without gradients share: a head's numbers at random, from its seed alone.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from console.errors import UserError
from reporters.reporter import Reporter
from reporters.stack import align_with
from training.noise import uniform
from training.optimizers.optimizer import Groups

STREAM = 2**20
"""The first stream of an optimizer's numbers; the noise of priors is in those from 0 on."""


class GradientFree(torch.optim.Optimizer):
    """A torch optimizer that draws numbers at random and measures time by its learning rate.

    Args:
        seed_S: the seeds of the heads.
        share_M: as in `StepOptimizer.build`.
    """

    def __init__(self, groups: Groups, seed_S: Tensor, share_M: Tensor | None) -> None:
        super().__init__(groups, {"n_steps": 0})
        self.seed_S = seed_S
        self.share_M = share_M
        self.n_numbers = sum(parameter[0, 0, 0].numel() for parameter in self.parameters)
        """Of a head, with its prior's state."""

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters of all groups."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @property
    def remaining_share(self) -> float:
        """The learning rate as a share of the first: falls from 1 to 0."""
        group = self.param_groups[0]
        return float(group["lr"] / group["initial_lr"])

    def list_first_lengths(self) -> list[Tensor]:
        """Returns by how much each number of a parameter moves at the first step, if the move of
        all numbers of a head is as long as the learning rate.
        """
        lengths = []
        for group in self.param_groups:
            for parameter in group["params"]:
                share_M = torch.ones(1) if self.share_M is None else self.share_M
                share_11M = share_M[None, None].to(parameter)
                length = group["initial_lr"] * self.n_numbers**-0.5
                lengths.append(length * align_with(share_11M, parameter))
        return lengths

    def draw_uniform(self, stream: int, shape: Sequence[int]) -> Tensor:
        """Returns numbers of this step that are uniform on (0, 1), shape (S, ...)."""
        n_steps = self.param_groups[0]["n_steps"]
        return uniform(self.seed_S, n_steps, STREAM + stream, tuple(shape))

    def draw_normal(self, draw: int) -> list[Tensor]:
        """Returns standard normal numbers of this step for each parameter, shape (S, ...).

        Args:
            draw: its number at this step, from 0.
        """
        numbers = []
        for i, parameter in enumerate(self.parameters):
            stream = draw * len(self.parameters) + i
            uniform_S = self.draw_uniform(stream, parameter.shape[3:]).to(parameter)
            numbers.append(torch.special.ndtri(uniform_S))
        return numbers

    def end_step(self) -> None:
        """Counts the step, so that the next one draws other numbers."""
        self.param_groups[0]["n_steps"] += 1


def check_size(name: str, reporter: Reporter, most: int) -> None:
    """Raises UserError where a head has more numbers than an optimizer finds at random.

    Args:
        name: of the optimizer in its group.
    """
    n = sum(parameter.numel() for parameter in reporter.parameters())
    if n > most:
        raise UserError(
            f"optimizer: {name} finds at most {most} numbers at random, and a head of"
            f" {type(reporter).__name__} has {n}. Use optimizer=auto, or a smaller reporter."
        )
