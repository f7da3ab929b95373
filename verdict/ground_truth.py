"""The ground truth of the evaluation data; for judging alone, never for training a head.

N: episodes, P: pairs of an exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from worlds.columns import JUDGING_COLUMNS

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Scores = NDArray[np.float64]
Variable = Literal["concept", "human"]
"""The concept X, or the human's answer H."""


@dataclass(frozen=True)
class Cases:
    """Ground truth of N episodes."""

    concept_N: Bools
    human_N: Bools
    tampered_N: Bools
    family_N: NDArray[np.str_]
    cluster_N: Ints

    @classmethod
    def of(cls, episodes: Dataset) -> Cases:
        """Returns the ground truth that the columns of a dataset hold."""
        columns = episodes.select_columns(list(JUDGING_COLUMNS)).with_format("numpy")[:]
        if not len(episodes):  # an empty column has no type
            types = (bool, bool, bool, str, np.int64)
            return cls(*(np.empty(0, kind) for kind in types))
        return cls(*(columns[name] for name in JUDGING_COLUMNS))

    def __len__(self) -> int:
        return len(self.concept_N)

    @property
    def amiss_N(self) -> Bools:
        """Whether somebody interfered, or the human's view failed."""
        return (self.family_N != "none") | self.tampered_N

    def with_exact_human(self) -> Cases:
        """Returns easy episodes with H = X: their recorded answers may be noisy."""
        return replace(self, human_N=self.concept_N)


def join_cases(parts: Sequence[Cases]) -> Cases:
    """Returns the ground truth of several sets of episodes, one after the other."""
    joined = [
        np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(Cases)
    ]
    return Cases(*joined)


class Cells(NamedTuple):
    """To which cell each of N episodes belongs."""

    cell_N: Ints
    names: list[str]
    """Of each cell, in words."""


def number_cells(cases: Cases, by_family: bool = False) -> Cells:
    """Returns the cells of X × H × amiss, or of X × H × family, that occur.

    >>> concept, human, tampered = np.array([[True, False], [True, True], [False, True]])
    >>> cases = Cases(concept, human, tampered, np.array(["none", "loop"]), np.arange(2))
    >>> number_cells(cases).names, number_cells(cases, by_family=True).names
    (['X no, H yes, amiss', 'X yes, H yes, not amiss'], ['X no, H yes, loop', 'X yes, H yes, none'])
    """
    label_N = cases.family_N if by_family else np.where(cases.amiss_N, "amiss", "not amiss")
    labels, label_N = np.unique(label_N, return_inverse=True)
    codes, cell_N = np.unique(
        4 * label_N + 2 * cases.concept_N + cases.human_N, return_inverse=True
    )
    answer = ("no", "yes")
    names = [f"X {answer[c // 2 % 2]}, H {answer[c % 2]}, {labels[c // 4]}" for c in codes]
    return Cells(cell_N, names)


class TwinCases(NamedTuple):
    """Ground truth of N pairs of twins: X = H in the first; in the second, one has flipped."""

    first: Cases
    second: Cases

    @property
    def sign_N(self) -> Ints:
        """1 where what flips becomes True, -1 where it becomes False."""
        return np.where(self.first.concept_N, -1, 1)


class Exchange(NamedTuple):
    """P pairs of rows between which a part of the activations is exchanged. Each two episodes
    exchange in both directions and are one cluster.
    """

    base_P: Ints
    """The row whose activations are changed."""
    source_P: Ints
    """The row from which the part is taken."""
    sign_P: Ints
    """1 where what differs is True in the source and False in the base, -1 the other way round."""
    cluster_P: Ints


def draw_exchange(differs_N: Bools, same_N: Bools, rng: np.random.Generator) -> Exchange:
    """Returns random pairs of episodes that differ in one variable and agree in the other; no
    episode is in two pairs.

    >>> differs, same = np.array([True, False, False]), np.array([True, True, False])
    >>> exchange = draw_exchange(differs, same, np.random.default_rng(0))
    >>> exchange.base_P.tolist(), exchange.source_P.tolist(), exchange.sign_P.tolist()
    ([0, 1], [1, 0], [-1, 1])
    """
    firsts, seconds = [], []
    for stratum_N in (same_N, ~same_N):
        true_rows = rng.permutation(np.flatnonzero(stratum_N & differs_N))
        false_rows = rng.permutation(np.flatnonzero(stratum_N & ~differs_N))
        n_pairs = min(len(true_rows), len(false_rows))
        firsts.append(true_rows[:n_pairs])
        seconds.append(false_rows[:n_pairs])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    base_P = np.concatenate([first, second])
    source_P = np.concatenate([second, first])
    sign_P = np.repeat([-1, 1], len(first))
    cluster_P = np.tile(np.arange(len(first)), 2)
    return Exchange(base_P, source_P, sign_P, cluster_P)


@dataclass(frozen=True)
class DeployedCases:
    """What is known of N episodes as deployment brings them. X is not."""

    human_N: Bools
    sure_N: Bools
    """Where the model of the human is sure of that answer."""
    cluster_N: Ints

    @classmethod
    def of(cls, episodes: Dataset, log_odds_N: Scores | None, sure: float = 0.95) -> DeployedCases:
        """Returns what is known of episodes.

        Args:
            log_odds_N: log-odds, in nats, that the human answers yes, by a model of the human.
                None where there is no model: every answer then counts as sure.
            sure: least probability of the human's answer at which the model is sure.
        """
        columns = episodes.select_columns(["human", "cluster"]).with_format("numpy")[:]
        human_N, cluster_N = columns["human"], columns["cluster"]
        if log_odds_N is None:
            return cls(human_N, np.ones(len(human_N), bool), cluster_N)
        log_odds_of_answer_N = np.where(human_N, log_odds_N, -log_odds_N)
        return cls(human_N, log_odds_of_answer_N >= np.log(sure / (1 - sure)), cluster_N)


@dataclass(frozen=True)
class GroundTruth:
    """Ground truth of the episodes on which heads are judged.

    Twins are None in a world that cannot make them; `deployed` is None where heads are not
    evaluated on such episodes.
    """

    easy: Cases
    disputed: Cases
    amiss: Cases
    """Where something is amiss, and yet X = H."""
    concept_twins: TwinCases | None = None
    human_twins: TwinCases | None = None
    deployed: DeployedCases | None = None

    @cached_property
    def pool(self) -> Cases:
        """The easy episodes, then the disputed ones. H is X on easy ones: their answers may be
        noisy.
        """
        return join_cases([self.easy.with_exact_human(), self.disputed])

    @cached_property
    def all_cells(self) -> Cases:
        """The easy episodes, the disputed ones and those amiss: every cell of X × H × amiss."""
        return join_cases([self.easy.with_exact_human(), self.disputed, self.amiss])

    @cached_property
    def concept_exchange(self) -> Exchange:
        """Pairs of the pool with different X and the same H, as many of each H; always the same
        pairs.
        """
        return draw_exchange(self.pool.concept_N, self.pool.human_N, np.random.default_rng(0))

    @cached_property
    def human_exchange(self) -> Exchange:
        """Pairs of the pool with different H and the same X."""
        return draw_exchange(self.pool.human_N, self.pool.concept_N, np.random.default_rng(1))

    def get_exchange(self, differs: Variable) -> Exchange:
        """Returns the pairs that differ in one variable."""
        return self.concept_exchange if differs == "concept" else self.human_exchange

    def get_twins(self, differs: Variable) -> TwinCases | None:
        """Returns the twins that differ in one variable."""
        return self.concept_twins if differs == "concept" else self.human_twins
