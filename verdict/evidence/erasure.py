"""Evidence from erasure: does the report stop following X, or H, once no linear trace of it is
left? It supports a verdict and decides none.

K: heads, P: erased episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from verdict.evidence.evidence import Bounds, Evidence, Observations
from verdict.ground_truth import Bools
from verdict.inputs import Erased, Input
from verdict.statistics import Estimate, estimate_difference

CONCEPT, HUMAN, RANDOM = Erased("concept"), Erased("human"), Erased("random")


@dataclass(frozen=True)
class ErasureEffects:
    """How much less K heads follow X, and H, once it is erased, beyond what erasing a random
    direction does. A translator has (1, 0).
    """

    erase_concept: Estimate
    """E[R | X=1] - E[R | X=0], H held, after a random erasure, less the same after X is erased. R
    is the report, 1 for yes.
    """
    erase_human: Estimate
    """The same for H, X held."""


class Erasure(Evidence):
    """Whether heads still follow X, and H, after LEACE has erased it.

    LEACE guards linear readers only: an effect of 0 on a nonlinear head does not say that it needs
    no X. `Interchange` swaps X's part given H for such heads.
    """

    inputs: tuple[Input, ...] = (CONCEPT, HUMAN, RANDOM)
    finding: ClassVar[type[ErasureEffects]] = ErasureEffects

    def find(self, observations: Observations, bounds: Bounds) -> ErasureEffects | None:
        """Returns both effects; None where heads were not evaluated on erased activations."""
        if not observations.answers.has(*self.inputs):
            return None
        base_P, pool = observations.truth.concept_exchange.base_P, observations.truth.pool
        return ErasureEffects(
            estimate_drop(observations, CONCEPT, pool.concept_N[base_P]),
            estimate_drop(observations, HUMAN, pool.human_N[base_P]),
        )

    def write_clause(self, finding: ErasureEffects) -> str:
        return (
            "erasing X removes {erase_concept} of how it follows X, erasing H removes {erase_human}"
            " of how it follows H"
        )


def estimate_drop(observations: Observations, erased: Erased, label_P: Bools) -> Estimate:
    """Returns how much less heads follow a label without it than without a random direction."""
    answers, cluster_P = observations.answers, observations.truth.concept_exchange.cluster_P
    lost_KP = (answers[RANDOM] > 0).astype(np.int64) - (answers[erased] > 0)
    change_KP = lost_KP * np.where(label_P, 1, -1)
    drop = estimate_difference(change_KP, cluster_P, observations.level)
    # Twice, for each value of the label has half of the rows.
    return Estimate(*(2 * end_K for end_K in drop))
