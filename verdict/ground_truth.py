"""The ground truth of the evaluation data; for judging alone, never for training a head.

N: episodes, P: pairs of an exchange.
"""

from __future__ import annotations

from dataclasses import dataclass
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
        return cls(*(columns[name] for name in JUDGING_COLUMNS))

    def __len__(self) -> int:
        return len(self.concept_N)


class TwinCases(NamedTuple):
    """Ground truth of N pairs of twins: in the first X = H = False, in the second one of them is
    True.
    """

    first: Cases
    second: Cases


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
    concept_twins: TwinCases | None = None
    human_twins: TwinCases | None = None
    deployed: DeployedCases | None = None

    @cached_property
    def pool(self) -> Cases:
        """The easy episodes, then the disputed ones. H is X on easy ones: their answers may be
        noisy.
        """
        easy, disputed = self.easy, self.disputed
        return Cases(
            concept_N=np.concatenate([easy.concept_N, disputed.concept_N]),
            human_N=np.concatenate([easy.concept_N, disputed.human_N]),
            tampered_N=np.concatenate([easy.tampered_N, disputed.tampered_N]),
            family_N=np.concatenate([easy.family_N, disputed.family_N]),
            cluster_N=np.concatenate([easy.cluster_N, disputed.cluster_N]),
        )

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
