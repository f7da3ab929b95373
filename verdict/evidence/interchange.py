"""Evidence from interchange: does the report follow, when the part of the activations that the
predictor keeps X in is another episode's?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verdict.cases import Answers, Bench, Exchange, Ints, Scores
from verdict.statistics import Estimate, difference


@dataclass(frozen=True)
class Interchange:
    """How the reports of K heads follow when parts of their activations are exchanged at every
    level they read; a translator has (1, 0).

    After Geiger et al. (2021), "Causal abstractions of neural networks". Each figure is the share
    of swaps into disputed episodes after which the report has turned towards what the source has,
    less that after which it has turned away. The subspaces are found from the predictor's own
    predictions, on episodes apart.
    """

    concept: Estimate
    """X's part is another episode's, which has another X and the same H."""
    human: Estimate
    """H's part is another episode's, which has another H and the same X."""
    random: Estimate
    """The larger of both in size where the part is a random subspace of the same rank: near 0, or
    the swap itself is what moves the report.
    """
    full_concept: Estimate
    """All of the activations are the other episode's: the most that can be reached."""
    full_human: Estimate


def interchange(bench: Bench, answers: Answers, level: float) -> Interchange | None:
    """Returns all effects with intervals at this level; None where the predictor's subspaces are
    not known.
    """
    if answers.swapped is None:
        return None
    concept, human, random_concept, random_human, full_concept, full_human = (
        difference(turned_KP, np.arange(turned_KP.shape[1]), level)
        for turned_KP in turned(bench, answers)
    )
    return Interchange(
        concept, human, larger(random_concept, random_human), full_concept, full_human
    )


def turned(bench: Bench, answers: Answers) -> list[Ints]:
    """Returns whether each report of K heads turned towards what the source has (1), away (-1) or
    not (0), in the order of `Interchange`, both random swaps apart. Only disputed episodes are
    bases: on easy ones even a head that follows neither turns with both.
    """
    plain_KN = np.concatenate([answers.easy, answers.disputed], axis=1)

    def change(after_KP: Scores, pairs: Exchange) -> Ints:
        turned_KP = (
            (after_KP > 0).astype(np.int64) - (plain_KN[:, pairs.base_P] > 0)
        ) * pairs.sign_P
        return turned_KP[:, pairs.base_P >= len(bench.easy)]

    assert answers.swapped is not None
    pairs = (bench.concept_exchange, bench.human_exchange)
    swaps = [change(after_KP, of) for after_KP, of in zip(answers.swapped, pairs * 2, strict=True)]
    return swaps + [change(plain_KN[:, of.source_P], of) for of in pairs]


def larger(one: Estimate, other: Estimate) -> Estimate:
    """Returns of each head the estimate that is larger in size."""
    return Estimate(
        *(
            np.where(np.abs(one.value) >= np.abs(other.value), a, b)
            for a, b in zip(one, other, strict=True)
        )
    )
