"""The interface of an optimizer: how it moves stacked heads, and which heads it cannot serve.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from priors.prior import Prior
from reporters.reporter import Reporter

Groups = list[dict[str, Any]]
"""Parameters of stacked heads, each of shape (G, S, M, ...), with their learning rates, as torch
takes them.
"""
Losses = Callable[[], tuple[Tensor, Tensor]]
"""Evaluates all heads, as their parameters are at the time, on the batch of a step. Returns what
each pays, and its loss with the charge at full strength, shape (G, S, M), in nats an episode.
"""


class Optimizer:
    """How heads are found."""

    def check(self, prior: Prior, reporter: Reporter) -> None:
        """Raises UserError where it cannot train such heads under such a prior."""


class StepOptimizer(Optimizer, ABC):
    """An optimizer that moves all heads a step on each batch. No head's step depends on another
    head, and all chance comes from the heads' seeds.
    """

    uses_gradients: ClassVar[bool] = True
    """Whether a step needs gradients."""
    learning_rate: float
    """The length of its first steps where the schedule names none; lengths fall to 0 along a
    cosine.
    """

    @abstractmethod
    def build(
        self, groups: Groups, seed_S: Tensor, share_M: Tensor | None
    ) -> torch.optim.Optimizer:
        """Returns torch's optimizer of the heads. Its state is all that a fit needs to resume.

        With gradients, `step` is called with a function that computes them. Without, it is called
        with `Losses`, which have the same batch and the same noise at each call. Either way it
        returns the losses before the step.

        Args:
            share_M: the learning rate of each strength as a share of that of the groups; None where
                all have the same.
        """
