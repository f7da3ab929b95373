"""What planted heads read in an episode.

N: episodes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from verdict.ground_truth import Bools, Cases


class Signs(NamedTuple):
    """What planted heads read in N episodes: the truth, or what probes find in the activations."""

    concept_N: Bools
    human_N: Bools
    """The human's answer as the deepest level stores it."""
    seen_N: Bools
    """The human's answer as the shallowest level shows it from which a probe can read it: computed
    from what the human sees, not looked up.
    """
    amiss_N: Bools
    """Whether somebody interfered, or the human's view failed."""
    disputed_N: Bools
    """Whether X ≠ H: what shows it, such as a "not", is seen without X and without H."""
    in_family_N: Bools
    """Whether the episode is of the first family of the evaluation, by name."""
    shuffled_N: Bools
    """What a probe reports that was fitted with shuffled labels."""

    @classmethod
    def of(cls, cases: Cases) -> Signs:
        """Returns the truth; what shuffled labels lead to is random."""
        families = sorted({*cases.family_N} - {"none"})
        in_family_N = cases.family_N == families[0] if families else np.zeros(len(cases), bool)
        shuffled_N = np.random.default_rng(0).permutation(cases.concept_N)
        return cls(
            concept_N=cases.concept_N,
            human_N=cases.human_N,
            seen_N=cases.human_N,
            amiss_N=cases.amiss_N,
            disputed_N=cases.concept_N != cases.human_N,
            in_family_N=in_family_N,
            shuffled_N=shuffled_N,
        )
