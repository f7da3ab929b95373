"""The promise of a world: it makes episodes, knows the concept X and the human's answer H of each,
and makes twins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from datasets import Dataset

from console.errors import UserError

Split = Literal["predictor", "easy", "disputed", "tampered"]
Flips = Literal["concept", "human"]

JUDGING_COLUMNS = ("concept", "human", "tampered", "family", "cluster")
"""What every dataset of a world holds beside what the predictor reads.

concept: bool, the fact X. human: bool, the answer H. tampered: bool, somebody interfered. family:
str, how ("none" where nobody did and X = H).
cluster: int, episodes with the same number belong together (copies, twins, statements on one city):
they are never split between trainer and judging, and intervals resample them as one.
"""


class NoTwins(UserError):
    """Raised by a world that cannot make twins at all."""


class World(ABC):
    """A source of episodes. The same arguments give the same rows on any machine."""

    name: ClassVar[str]
    """Plain name, as tables write it."""
    reads: ClassVar[tuple[str, ...]]
    """The columns that a predictor reads: nothing that it would not see in deployment."""
    predicts: ClassVar[tuple[str, ...]]
    """The columns that a predictor is trained on, class -1 where there is nothing to predict; empty
    for worlds of text.
    """
    concept_shows_in: ClassVar[tuple[str, str] | None]
    """Which predicted (column, class) follows from X: the predictor's own opinion of X. None for
    worlds of text.
    """
    human_shows_in: ClassVar[tuple[str, str] | None]
    """Which predicted (column, class) follows from H."""
    surface: ClassVar[str | None] = None
    """The column of raw text, where there is one: a bag of words read from it must not give X away."""

    @abstractmethod
    def episodes(self, split: Split, n: int, seed: int) -> Dataset:
        """Returns n episodes of a split, as a dataset with the columns `reads`, `predicts` and
        `JUDGING_COLUMNS`.

        predictor: everything, as it comes. easy: X = H by the world's making, X balanced; heads
        train here. disputed: X ≠ H, balanced over X and, within each X, over the families that can
        cause it. tampered: somebody interfered, balanced over families.

        Raises:
            UserError: the world has no such episodes, or not so many.
        """

    @abstractmethod
    def twins(self, flips: Flips, n: int, seed: int) -> tuple[Dataset, Dataset]:
        """Returns two datasets of n rows, alike row by row but for one change.

        In the first X = H = False. In the second only the concept is True (flips="concept"; what
        the human sees is the same), or only the human's answer is (flips="human").

        Raises:
            NoTwins: the world cannot make twins.
            UserError: not so many.
        """
