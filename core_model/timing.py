"""What reading a predictor costs, in FLOPs and in seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass

from datasets import Dataset

from core_model.predictor import Predictor

MOST_EPISODES = 1000
"""The largest number of episodes on which a predictor is timed."""
SECONDS = 0.3
"""About how long the timing takes."""


@dataclass(frozen=True)
class ReadingCosts:
    """What it costs to reach each level of a predictor."""

    flops: tuple[float, ...]
    """FLOPs an episode."""
    seconds: tuple[float, ...]
    """Seconds for 1,000 episodes on this machine."""


def measure_reading_costs(
    predictor: Predictor, episodes: Dataset, seconds: tuple[float, ...] | None = None
) -> ReadingCosts:
    """Returns what reaching each level costs on these episodes.

    Args:
        seconds: those of another predictor of the same recipe, which take as long; by default
            they are measured.
    """
    flops = tuple(predictor.flops(episodes).tolist())
    return ReadingCosts(flops, seconds or time_levels(predictor, episodes))


def time_levels(predictor: Predictor, episodes: Dataset) -> tuple[float, ...]:
    """Returns the seconds that a predictor takes for 1,000 episodes to reach each level.

    The number of episodes is chosen so that the timing takes about `SECONDS`.
    """
    few = min(16, len(episodes))
    deepest = predictor.n_levels - 1
    share = SECONDS / predictor.n_levels / time_level(predictor, episodes, few, deepest)
    n = int(min(len(episodes), MOST_EPISODES, max(few, few * share)))
    seconds = [time_level(predictor, episodes, n, level) for level in range(predictor.n_levels)]
    return tuple(value * 1000 / n for value in seconds)


def time_level(predictor: Predictor, episodes: Dataset, n: int, level: int) -> float:
    """Returns the seconds that it takes to read one level of the first n episodes."""
    start = time.perf_counter()
    predictor.read(episodes.select(range(n)), [level])
    return time.perf_counter() - start
