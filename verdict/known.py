"""The episodes of what the predictor knows: on others it cannot be told from one that does not use
what it knows.

N: episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset

from console.errors import UserError
from core_model.reader import ActivationReader, load_or_compute_opinions
from verdict.evaluation import TwinEpisodes
from worlds.world import World


@dataclass(frozen=True)
class KnownFilter:
    """Keeps the episodes of what the predictor knows, and counts them."""

    reader: ActivationReader
    world: World
    counts: list[tuple[str, int, int]] = field(default_factory=list)
    """Each set of episodes, how many were drawn, and how many are kept."""

    def keep(self, what: str, episodes: Dataset) -> Dataset:
        """Returns the episodes of what the predictor knows."""
        (kept,) = select_known(self.reader, self.world, [episodes], f"{what} episodes")
        self.counts.append((what, len(episodes), len(kept)))
        return kept

    def keep_twins(self, what: str, twins: TwinEpisodes) -> TwinEpisodes:
        """Returns the twins both of which the predictor knows."""
        kept = TwinEpisodes(*select_known(self.reader, self.world, twins, what))
        self.counts.append((what, len(twins.first), len(kept.first)))
        return kept


def describe_counts(name: str, counts: Sequence[tuple[str, int, int]]) -> str:
    """Returns how many of the episodes that judge are kept, in one line.

    >>> describe_counts("small", [("easy", 400, 390), ("disputed", 1300, 1004)])
    'data.known: small knows 390 of 400 easy and 1,004 of 1,300 disputed; the others are left out.'
    """
    parts = [f"{kept:,} of {drawn:,} {what}" for what, drawn, kept in counts]
    listed = ", ".join(parts[:-1]) + f" and {parts[-1]}"
    return f"data.known: {name} knows {listed}; the others are left out."


def select_known(
    reader: ActivationReader, world: World, parts: Sequence[Dataset], what: str
) -> list[Dataset]:
    """Returns the episodes of the clusters in which the predictor is right on every statement as a
    person would check it, without a "not". Nothing that is disputed is looked at.

    Args:
        parts: datasets of as many rows, which belong together row by row, such as twins; a row
            stays only if it is known in all of them.
        what: these episodes, for messages.

    Raises:
        UserError: the world has no such statements; the predictor is not asked; fewer than two
            clusters are left.
    """
    predictor = reader.predictor
    if not predictor.opinions_are_log_odds:
        raise UserError(
            f"data.known: {predictor.name} is not asked, so it cannot be right or wrong. Set"
            " core_model.ask, or data.known=false."
        )
    cluster_N = np.array(parts[0]["cluster"][:])
    is_wrong_N = np.zeros(len(cluster_N), bool)
    for part in parts:
        is_wrong_N |= find_wrong(reader, world, world.affirm(part))
    known_N = ~np.isin(cluster_N, cluster_N[is_wrong_N])
    if len(np.unique(cluster_N[known_N])) < 2:
        raise UserError(
            f"data.known: {predictor.name} knows {known_N.sum()} of {len(known_N)} {what}. Use a"
            " predictor that knows more, or data.known=false."
        )
    return [part.select(np.flatnonzero(known_N)) for part in parts]


def find_wrong(reader: ActivationReader, world: World, affirmed: Dataset) -> np.ndarray:
    """Returns whether the predictor is wrong on each of the statements, in what it is asked for: X,
    H or both, which are the same there.
    """
    truth_N = np.array(affirmed["concept"][:])
    opinions = load_or_compute_opinions(reader.predictor, affirmed, world, reader.cache)
    is_wrong_N = np.zeros(len(truth_N), bool)
    if reader.predictor.predicts_concept:
        is_wrong_N |= (opinions.concept_N > 0).numpy() != truth_N
    if reader.predictor.predicts_human:
        is_wrong_N |= (opinions.human_N > 0).numpy() != truth_N
    return is_wrong_N
