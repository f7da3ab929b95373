"""The contract of a world: it makes episodes, knows the concept X and the human's answer H of each,
and makes twins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from datasets import Dataset

from console.errors import UserError

Split = Literal["predictor", "easy", "disputed", "tampered", "amiss"]
Flips = Literal["concept", "human"]


class NoTwins(UserError):
    """Raised by a world that cannot make twins at all."""


class NoNegations(UserError):
    """Raised where there are no pairs of a statement and its negation."""


class World(ABC):
    """A source of episodes. The same arguments give the same rows on any machine."""

    name: ClassVar[str]
    """A plain name, as tables show it."""
    reads: ClassVar[tuple[str, ...]]
    """The columns that a predictor reads: only what it would see in deployment."""
    concept_shows_in: ClassVar[tuple[str, str] | None]
    """The predicted (column, class) that follows from X: there the predictor gives its own opinion
    of X. None for worlds of text.
    """
    surface: ClassVar[str | None] = None
    """The column of raw text, if there is one: a bag of its words must not give X away."""

    @property
    @abstractmethod
    def predicts(self) -> tuple[str, ...]:
        """The columns that a predictor is trained on, class -1 where there is nothing to predict;
        empty for worlds of text.
        """

    @property
    @abstractmethod
    def human_shows_in(self) -> tuple[str, str] | None:
        """The predicted (column, class) that follows from H; None where no single column does."""

    @property
    def share_of_errors(self) -> float:
        """The share of easy episodes on which the human errs and nobody knows: the label is H, and
        X is not.
        """
        return 0.0

    @property
    def compares(self) -> bool:
        """Whether X and H can be compared: H is known, and disputed episodes have both values of X.
        Where it is not, disputed episodes are those that no head trains on, and their column
        `human` holds no information.
        """
        return True

    @property
    def undecidable(self) -> str | None:
        """Why no verdict can be given on heads that are judged on these episodes, and the cure;
        None where one can.
        """
        return None

    def count(self, split: Split) -> int | None:
        """Returns how many episodes of a split there are; None where there are any number."""
        return None

    @abstractmethod
    def episodes(self, split: Split, n: int, seed: int) -> Dataset:
        """Returns n episodes of a split, as a dataset with the columns `reads`, `predicts` and
        `worlds.columns.JUDGING_COLUMNS`.

        predictor: all kinds, as the world makes them. easy: X = H by construction, but for
        `share_of_errors`, and balanced; heads train on them. disputed: X ≠ H, balanced over X and,
        within each X, over the families that can cause it. amiss: something is amiss (somebody
        interfered, or the human's view failed), and yet X = H; balanced in the same way. tampered:
        somebody interfered, balanced over families.

        The splits easy, disputed and amiss together hold every cell of X × H × amiss, so that "H,
        turned round where something is amiss" is not X there.

        Raises:
            UserError: the world has no such episodes, or fewer than n.
        """

    def affirm(self, episodes: Dataset) -> Dataset:
        """Returns the same episodes, row by row, as a person would check them: without what makes
        them disputed or amiss, so that X = H. They show what a predictor knows beforehand.

        Raises:
            UserError: the world has no such form of its episodes.
        """
        raise UserError(
            f"data.known: {self.name} has no form of its episodes that shows what a predictor knows"
            " beforehand. Use data.known=false."
        )

    def told(self, n: int, seed: int) -> Dataset:
        """Returns what a language model may be told of X and H: statements in every form on n
        subjects of which no other statement speaks.

        Raises:
            UserError: the world has no such statements, or fewer.
        """
        raise UserError(
            "core_model: quirky is told X and H of statements in easy and disputed forms, and"
            f" {self.name} has none. Use world=cities or opinions."
        )

    def describe_shortage(self, easy: int, disputed: int, twins: int) -> str | None:
        """Returns which of these episodes, or of twins of either kind, the world has too few of;
        None where it has enough, as a world has that makes any number.
        """
        return None

    def negate(self, easy: Dataset) -> Dataset:
        """Returns the negations of easy episodes, row by row: X holds of one of the two. They are
        alike in all that the negation does not change.

        A world need not have this method. Heads that learn from pairs use the labels of easy
        episodes alone, and never those of negations.

        Raises:
            NoNegations: the world has none.
        """
        raise NoNegations(
            f"world: {self.name} has no negations. Use world=cities, opinions or ladder."
        )

    @abstractmethod
    def twins(self, flips: Flips, n: int, seed: int) -> tuple[Dataset, Dataset]:
        """Returns two datasets of n rows, equal row by row except for one change.

        In the first X = H: False in one half of the rows, True in the other. In the second only the
        concept has flipped (flips="concept"; the human sees the same), or only the human's answer
        has (flips="human").

        Raises:
            NoTwins: the world cannot make twins.
            UserError: it makes fewer than n.
        """
