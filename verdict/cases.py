"""What the judge knows of the episodes it judges on, and what is asked of heads about them.

K: heads, N: episodes, P: exchanges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Scores = NDArray[np.float64]
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Cases:
    """Ground truth of N episodes; for judging alone, never for training a head."""

    concept_N: Bools
    human_N: Bools
    tampered_N: Bools
    family_N: NDArray[np.str_]
    cluster_N: Ints

    @classmethod
    def of(cls, episodes: Dataset) -> Cases:
        columns = episodes.select_columns(
            ["concept", "human", "tampered", "family", "cluster"]
        ).with_format("numpy")[:]
        return cls(
            *(columns[name] for name in ("concept", "human", "tampered", "family", "cluster"))
        )

    def __len__(self) -> int:
        return len(self.concept_N)

    def __getitem__(self, rows: Ints | Bools | slice) -> Cases:
        return Cases(*(column[rows] for column in vars(self).values()))


class Pair(NamedTuple):
    """Something said of both twins: of the first, where X = H = False, and of the second, where one
    of them is True.
    """

    first: Cases
    second: Cases


class Exchange(NamedTuple):
    """Which episodes lend a part of their activations to which: numbers of rows. Every pair lends
    both ways and is a cluster of its own.
    """

    base_P: Ints
    source_P: Ints
    sign_P: Ints
    """1 where what is exchanged is True in the source and False in the base, -1 the other way
    round.
    """
    cluster_P: Ints


def exchange(differs_N: Bools, same_N: Bools, chance: np.random.Generator) -> Exchange:
    """Returns pairs of episodes with another value of the one and the same of the other, drawn at
    random, no episode in two of them.

    >>> pairs = exchange(np.array([True, False, False]), np.array([True, True, False]), np.random.default_rng(0))
    >>> pairs.base_P.tolist(), pairs.source_P.tolist(), pairs.sign_P.tolist()
    ([0, 1], [1, 0], [-1, 1])
    """
    firsts, seconds = [], []
    for stratum_N in (same_N, ~same_N):
        sides = [
            chance.permutation(np.flatnonzero(stratum_N & (differs_N == value)))
            for value in (True, False)
        ]
        fewest = min(map(len, sides))
        firsts.append(sides[0][:fewest])
        seconds.append(sides[1][:fewest])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    sign = np.repeat([-1, 1], len(first))
    return Exchange(
        np.concatenate([first, second]),
        np.concatenate([second, first]),
        sign,
        np.tile(np.arange(len(first)), 2),
    )


@dataclass(frozen=True)
class Deployed:
    """N episodes as deployment brings them. X is not known of them."""

    human_N: Bools
    sure_N: Bools
    """Where the model of the human is sure of that answer."""
    cluster_N: Ints

    @classmethod
    def of(cls, episodes: Dataset, log_odds_N: Scores | None, sure: float = 0.95) -> Deployed:
        """Returns what may be known of them.

        Args:
            log_odds_N: that the human says yes, in nats, as a model of the human has it; where
                there is none, every answer counts as sure.
            sure: least probability of the human's own answer.
        """
        columns = episodes.select_columns(["human", "cluster"]).with_format("numpy")[:]
        human_N, cluster_N = columns["human"], columns["cluster"]
        sure_N = (
            np.ones(len(human_N), bool)
            if log_odds_N is None
            else np.where(human_N, log_odds_N, -log_odds_N) >= np.log(sure / (1 - sure))
        )
        return cls(human_N, sure_N, cluster_N)


@dataclass(frozen=True)
class Bench:
    """The episodes on which heads are judged. Twins are None in a world that cannot make them."""

    easy: Cases
    disputed: Cases
    concept_twins: Pair | None
    human_twins: Pair | None
    deployed: Deployed | None = None

    @property
    def pool(self) -> Cases:
        """The easy episodes and then the disputed ones; H is X on easy ones, where answers may be
        noisy.
        """
        both = zip(vars(self.easy).values(), vars(self.disputed).values(), strict=True)
        joined = Cases(*(np.concatenate(columns) for columns in both))
        return Cases(
            joined.concept_N,
            np.concatenate([self.easy.concept_N, self.disputed.human_N]),
            *list(vars(joined).values())[2:],
        )

    @property
    def concept_exchange(self) -> Exchange:
        """Pairs of the pool with another X and the same H, as many of each H; always the same ones."""
        return exchange(self.pool.concept_N, self.pool.human_N, np.random.default_rng(0))

    @property
    def human_exchange(self) -> Exchange:
        """Pairs of the pool with another H and the same X."""
        return exchange(self.pool.human_N, self.pool.concept_N, np.random.default_rng(1))


class Both(NamedTuple, Generic[T]):
    """One thing for each of two twins."""

    first: T
    second: T


class Swapped(NamedTuple, Generic[T]):
    """One thing for each swap of a part of the activations, over the pairs of an exchange: X's
    part, H's, and random parts of equal rank.
    """

    concept: T
    human: T
    random_concept: T
    """Over the pairs with another X."""
    random_human: T
    """Over the pairs with another H."""


class Erased(NamedTuple, Generic[T]):
    """One thing for each erasure, over the bases of the pairs with another X: as many episodes of
    each X and H.
    """

    concept: T
    human: T
    random: T


class Written(NamedTuple, Generic[T]):
    """One thing for each part that is exchanged at an earlier level, from which the predictor then
    runs on: over the pairs with another X.
    """

    concept: T
    random: T
    """A random part of the same rank."""


@dataclass(frozen=True)
class Asked(Generic[T]):
    """One thing, activations or answers, for each question to a head; None for what cannot be
    asked.
    """

    easy: T
    disputed: T
    concept_twins: Both[T] | None = None
    human_twins: Both[T] | None = None
    swapped: Swapped[T] | None = None
    erased: Erased[T] | None = None
    run_on: Written[T] | None = None
    deployed: T | None = None

    @property
    def each(self) -> list[T]:
        """All of them."""
        several = (
            *(self.concept_twins or ()),
            *(self.human_twins or ()),
            *(self.swapped or ()),
            *(self.erased or ()),
            *(self.run_on or ()),
        )
        return [
            self.easy,
            self.disputed,
            *several,
            *([] if self.deployed is None else [self.deployed]),
        ]

    def map(self, answer: Callable[[T], U]) -> Asked[U]:
        """Returns what a function makes of each."""
        return Asked(
            answer(self.easy),
            answer(self.disputed),
            Both(*map(answer, self.concept_twins)) if self.concept_twins else None,
            Both(*map(answer, self.human_twins)) if self.human_twins else None,
            Swapped(*map(answer, self.swapped)) if self.swapped else None,
            Erased(*map(answer, self.erased)) if self.erased else None,
            Written(*map(answer, self.run_on)) if self.run_on else None,
            None if self.deployed is None else answer(self.deployed),
        )


Answers = Asked[Scores]
"""Log-odds of K heads, shape (K, N) for each question, in nats; a head says yes above 0."""
