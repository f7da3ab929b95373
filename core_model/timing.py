"""What reading a predictor costs, in FLOPs and in seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass

from datasets import Dataset

from core_model.predictor import Predictor

TIMED = 1000
"""Most episodes on which a predictor is timed."""
SECONDS = 0.3
"""About how long the timing takes."""


@dataclass(frozen=True)
class ReadingCosts:
    """What a predictor takes to reach each of its levels."""

    flops: tuple[float, ...]
    """FLOPs an episode."""
    seconds: tuple[float, ...]
    """Seconds for 1,000 episodes, by the clock of this machine."""


def measure_reading_costs(predictor: Predictor, episodes: Dataset) -> ReadingCosts:
    """Returns what reaching each level costs on these episodes."""
    return ReadingCosts(tuple(predictor.flops(episodes).tolist()), time_levels(predictor, episodes))


def time_levels(predictor: Predictor, episodes: Dataset) -> tuple[float, ...]:
    """Returns the seconds that a predictor takes for 1,000 episodes to reach each level.

    The number of episodes is such that the timing takes about a third of a second.
    """
    few = min(16, len(episodes))
    deepest = predictor.n_levels - 1
    share = SECONDS / predictor.n_levels / time_level(predictor, episodes, few, deepest)
    n = int(min(len(episodes), TIMED, max(few, few * share)))
    return tuple(
        time_level(predictor, episodes, n, level) * 1000 / n for level in range(predictor.n_levels)
    )


def time_level(predictor: Predictor, episodes: Dataset, n: int, level: int) -> float:
    """Returns the seconds that reading one level of the first n episodes takes."""
    start = time.perf_counter()
    predictor.read(episodes.select(range(n)), [level])
    return time.perf_counter() - start
