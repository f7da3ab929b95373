"""What heads learn from."""

from __future__ import annotations

from typing import NamedTuple

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


class Observed(NamedTuple):
    """Activations of any episodes, unlabelled, and the predictor's prediction of what will be seen
    there, in nats of log-odds.
    """

    z_NLD: Tensor
    opinion_N: Tensor
