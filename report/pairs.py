"""Priors two by two at matched accuracy: by how much more often does one find translators, and is
that so beyond chance?
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from report.intervals import Mean, by_prior, paired

ENOUGH = 0.5
"""Share of a prior's heads that must pass the gates before anything is said of whom they follow."""


@dataclass(frozen=True)
class Pair:
    """Two priors under one reporter: how the first one's heads differ from the second one's, on the
    same predictors with the same seeds.
    """

    reporter: str
    first: str
    second: str
    translators: Mean
    """Difference of the shares of heads that are direct translators."""
    follows: Mean
    """Difference of the shares of disputed episodes on which heads follow X."""

    def turned(self) -> Pair:
        """Returns the same difference from the other side."""
        return Pair(
            self.reporter, self.second, self.first, _minus(self.translators), _minus(self.follows)
        )


def pairs(heads: pd.DataFrame) -> list[Pair]:
    """Returns every pair of priors whose heads passed the gates, the one that follows X more first;
    intervals hold for all pairs together.

    Args:
        heads: of one setting, at matched accuracy.
    """
    groups = {
        key: group for key, group in by_prior(heads) if group["gates_passed"].mean() >= ENOUGH
    }
    both = [(one, other) for one, other in combinations(groups, 2) if one[0] == other[0]]
    found = []
    for one, other in both:
        difference = [
            paired(groups[one], groups[other], name, len(both))
            for name in ("translator", "follows_concept")
        ]
        if difference[0] is not None and difference[1] is not None:
            pair = Pair(one[0], one[1], other[1], *difference)  # type: ignore[arg-type]
            found.append(
                pair if (pair.translators.value, pair.follows.value) >= (0, 0) else pair.turned()
            )
    return sorted(
        found, key=lambda pair: (pair.reporter, -pair.translators.value, -pair.follows.value)
    )


def stopped(heads: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Returns of each reporter and prior of which nothing is said, why: how many heads which gate
    stopped.
    """
    out = {}
    for key, group in by_prior(heads):
        if group["gates_passed"].mean() < ENOUGH:
            gates = (
                group.loc[group["failed_gates"] != "", "failed_gates"]
                .str.split(", ")
                .explode()
                .value_counts()
            )
            out[key] = ", ".join(
                f"{gate} stopped {n} of {len(group)} heads" for gate, n in gates.items()
            )
    return out


def _minus(mean: Mean) -> Mean:
    return Mean(-mean.value, -mean.high, -mean.low, mean.predictors, mean.heads)
