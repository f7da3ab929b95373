"""The promise of a prior: what it charges a head for, in nats, whatever the head.

All of it is said for one head; a population runs it for K heads at once. N: episodes, T: exits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from reporters.reporter import Reading
from reporters.stack import Weights


class Training(NamedTuple):
    """What a charge may depend on, for one head in training."""

    weights: Weights
    """The trained parameters, before `Prior.transform`."""
    state: Weights
    """The prior's own trainable state."""
    reading: Reading
    """What the head said of a batch of episodes."""
    flops_T: Tensor
    """FLOPs an episode spent at each exit: the predictor's up to the deepest level read, and the head's own."""
    flops_step: float
    """FLOPs of one block of the predictor, an episode."""
    n_examples: int
    """Episodes in the training set."""


class Prior(ABC):
    """A charge. Strength 1 is the price that a code of minimum length would charge."""

    draws: int = 0
    """How many independent noise values each parameter needs at each step."""

    @abstractmethod
    def charge(self, training: Training) -> Tensor:
        """Returns the charge at strength 1, in nats an episode of the training set, as a differentiable scalar."""

    def state(self, weights: Weights) -> Weights:
        """Returns the prior's own trainable state, as it begins for a head with these weights."""
        return {}

    def transform(self, weights: Weights, state: Weights, noise: Sequence[Weights]) -> Weights:
        """Returns the weights that a head in training uses; noise holds `draws` dicts of numbers uniform on (0, 1)."""
        return weights

    def finish(self, weights: Weights, state: Weights) -> Weights:
        """Returns the weights of the finished head."""
        return weights


def is_bias(name: str) -> bool:
    """Whether a parameter is a bias: its name says so. All others are weights, and their elements are edges."""
    return name.endswith("bias")
