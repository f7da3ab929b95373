"""Evidence from interchange: does the report follow, when the part of the activations that the predictor keeps X in is another episode's?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verdict.cases import Answers, Bench, Exchange, Scores
from verdict.statistics import Estimate, difference


@dataclass(frozen=True)
class Interchange:
    """How the reports of K heads follow when parts of their activations are exchanged at every level they read; a translator has (1, 0).

    After Geiger et al. (2021), "Causal abstractions of neural networks". Each figure is the share of swaps after which the report has turned towards
    what the source has, less that after which it has turned away. The subspaces are found from the predictor's own predictions, on episodes apart.
    """

    concept: Estimate
    """X's part is another episode's, which has another X and the same H."""
    human: Estimate
    """H's part is another episode's, which has another H and the same X."""
    random: Estimate
    """The larger of both in size where the part is a random subspace of the same rank: near 0, or the swap itself is what moves the report."""
    full_concept: Estimate
    """All of the activations are the other episode's: the most that can be reached."""
    full_human: Estimate


def interchange(bench: Bench, answers: Answers, level: float) -> Interchange | None:
    """Returns all effects with intervals at this level; None where the predictor's subspaces are not known."""
    if answers.swapped is None:
        return None
    plain_KN = np.concatenate([answers.easy, answers.disputed], axis=1)
    swapped, of_concept, of_human = answers.swapped, bench.concept_exchange, bench.human_exchange

    def effect(after_KP: Scores, pairs: Exchange) -> Estimate:
        return difference(((after_KP > 0).astype(np.int64) - (plain_KN[:, pairs.base_P] > 0)) * pairs.sign_P, pairs.cluster_P, level)

    return Interchange(
        effect(swapped.concept, of_concept),
        effect(swapped.human, of_human),
        larger(effect(swapped.random_concept, of_concept), effect(swapped.random_human, of_human)),
        effect(plain_KN[:, of_concept.source_P], of_concept),
        effect(plain_KN[:, of_human.source_P], of_human),
    )


def larger(one: Estimate, other: Estimate) -> Estimate:
    """Returns of each head the estimate that is larger in size."""
    return Estimate(*(np.where(np.abs(one.value) >= np.abs(other.value), a, b) for a, b in zip(one, other, strict=True)))
