"""Pairs of priors at matched accuracy: how much more often one prior finds translators than the
other, and whether the difference is significant.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from report.intervals import (
    N_CLAIMS,
    Mean,
    estimate_paired_difference,
    group_by_prior,
    pair_heads,
)

LEAST_PASSED = 0.5
"""Least share of a prior's heads that must pass the gates before the prior is compared."""


@dataclass(frozen=True)
class Pair:
    """Two priors under one reporter: the difference, first less second, between heads with the same
    predictor and seed.
    """

    reporter: str
    first: str
    second: str
    translators: Mean
    """Difference of the shares of heads that are direct translators."""
    follows: Mean
    """Difference of the shares of disputed episodes on which heads follow X."""

    def swap(self) -> Pair:
        """Returns the difference second less first."""
        translators, follows = _negate(self.translators), _negate(self.follows)
        return Pair(self.reporter, self.second, self.first, translators, follows)

    def put_larger_first(self) -> Pair:
        """Returns the pair in the order in which the first prior finds translators more often, or
        equally often and follows X more.
        """
        is_larger = (self.translators.value, self.follows.value) >= (0, 0)
        return self if is_larger else self.swap()


@dataclass(frozen=True)
class PairedHeads:
    """The heads of two priors under one reporter that have the same predictor and seed."""

    reporter: str
    first: str
    second: str
    heads: pd.DataFrame
    """One row for each two heads: their predictor, and `translator` and `follows_concept` of both,
    as `pair_heads` names them.
    """


def compare_priors(heads: pd.DataFrame) -> list[Pair]:
    """Returns all pairs of priors under one reporter whose heads passed the gates, with the largest
    difference first. The intervals hold for both differences of all pairs together.

    Args:
        heads: of one setting, at matched accuracy.
    """
    paired = pair_priors(heads)
    n_differences = count_differences(paired)
    pairs = []
    for two in paired:
        if not two.heads.empty:
            translators = estimate_paired_difference(two.heads, "translator", n_differences)
            follows = estimate_paired_difference(two.heads, "follows_concept", n_differences)
            pair = Pair(two.reporter, two.first, two.second, translators, follows)
            pairs.append(pair.put_larger_first())
    return sorted(
        pairs, key=lambda pair: (pair.reporter, -pair.translators.value, -pair.follows.value)
    )


def pair_priors(heads: pd.DataFrame) -> list[PairedHeads]:
    """Returns the paired heads of all pairs of priors under one reporter whose heads passed the
    gates, sorted by name.

    Args:
        heads: of one setting, at matched accuracy.
    """
    # Numbers are paired faster than words.
    words = [name for name in ("predictor", "levels") if name in heads]
    heads = heads.assign(**{name: pd.factorize(heads[name])[0] for name in words})
    groups = {key: group for key, group in group_by_prior(heads) if _passes_gates(group)}
    heads_of = {key: set(_list_heads(group)) for key, group in groups.items()}
    paired = []
    for first, second in combinations(groups, 2):
        if first[0] == second[0] and heads_of[first] & heads_of[second]:
            both = pair_heads(groups[first], groups[second], ("translator", "follows_concept"))
            paired.append(PairedHeads(first[0], first[1], second[1], both))
    return paired


def count_differences(paired: list[PairedHeads]) -> int:
    """Returns the number of differences for which the intervals hold together."""
    return N_CLAIMS * len(paired)


def find_stopped_priors(heads: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Returns the heads of each reporter and prior of which too few passed the gates."""
    return {key: group for key, group in group_by_prior(heads) if not _passes_gates(group)}


def _list_heads(heads: pd.DataFrame) -> list[tuple[int, int]]:
    """Returns the predictor and the seed of each head."""
    return list(zip(heads["predictor"], heads["seed"], strict=True))


def _passes_gates(heads: pd.DataFrame) -> bool:
    return bool(heads["gates_passed"].mean() >= LEAST_PASSED)


def _negate(mean: Mean) -> Mean:
    return Mean(-mean.value, -mean.high, -mean.low, mean.predictors, mean.heads)
