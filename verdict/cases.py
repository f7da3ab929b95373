"""What the judge knows of the episodes it judges on, and what heads answered.

K: heads, N: episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Cases:
    """Ground truth of N episodes; for judging alone, never for training a head."""

    concept_N: Bools
    human_N: Bools
    tampered_N: Bools
    family_N: NDArray[np.str_]
    cluster_N: NDArray[np.int64]

    @classmethod
    def of(cls, episodes: Dataset) -> Cases:
        columns = episodes.select_columns(["concept", "human", "tampered", "family", "cluster"]).with_format("numpy")[:]
        return cls(*(columns[name] for name in ("concept", "human", "tampered", "family", "cluster")))

    def __len__(self) -> int:
        return len(self.concept_N)


class Pair(NamedTuple):
    """Something said of both twins: of the first, where X = H = False, and of the second, where one of them is True."""

    first: Cases
    second: Cases


@dataclass(frozen=True)
class Bench:
    """The episodes on which heads are judged. Twins are None in a world that cannot make them."""

    easy: Cases
    disputed: Cases
    concept_twins: Pair | None
    human_twins: Pair | None


class PairAnswers(NamedTuple):
    """Log-odds of K heads on both twins, in nats."""

    first_KN: Scores
    second_KN: Scores


@dataclass(frozen=True)
class Answers:
    """Log-odds of K heads on the episodes of a bench, in nats; a head says yes above 0."""

    easy_KN: Scores
    disputed_KN: Scores
    concept_twins: PairAnswers | None
    human_twins: PairAnswers | None
