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
    """What the predictor read, where a prior wants to run it again."""


class Observed(NamedTuple):
    """Activations of any episodes, unlabelled, and what the predictor predicts there to be seen, in
    nats of log-odds.
    """

    z_NLD: Tensor
    opinion_N: Tensor
