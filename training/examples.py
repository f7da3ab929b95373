"""What heads learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Examples(NamedTuple):
    """What heads learn from."""

    z_NLD: Tensor
    human_N: Tensor
    """The human's answers, 0 or 1, float."""
    inputs_N: Tensor | None = None
    """What the predictor read, for a prior that runs it again."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The fields that are not None."""
        return tuple(value for value in self if value is not None)

    def select(self, row_N: Tensor) -> Examples:
        """Returns some of them."""
        return Examples(*(value[row_N] for value in self.tensors))


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Returns the same episodes as several predictors read them: their levels, one predictor after
    the other.
    """
    return parts[0]._replace(z_NLD=torch.cat([part.z_NLD for part in parts], dim=1))


class Observed(NamedTuple):
    """Activations of any episodes, unlabelled, and the predictor's prediction of what will be seen
    there, in nats of log-odds.
    """

    z_NLD: Tensor
    opinion_NL: Tensor
    """A column for all levels, or one for each level where these are of several predictors."""
