"""Gates: can the question be decided at all? One that fails makes the case undecided, and says
which.

N: episodes, K: heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from verdict.cases import Answers, Bools, Cases, Scores
from verdict.knowledge import Knowledge, both
from verdict.statistics import share


@dataclass(frozen=True)
class Gate:
    """One condition: what was measured, what is asked for, and what to do where it is not met."""

    name: str
    value: float
    bound: float
    cure: str

    @property
    def passed(self) -> bool:
        return bool(self.value >= self.bound)

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3f} (asked: {self.bound:g}). {self.cure}"


def predictor_gates(
    knowledge: Knowledge, disputed: Cases, knows: float, enough: int
) -> tuple[Gate, ...]:
    """Returns the gates that do not depend on the head."""
    return (
        Gate(
            "knows",
            dict(knowledge.ceilings)[knowledge.ceiling_level],
            knows,
            "The predictor does not know X well enough: train it for longer, or read it at more"
            " levels.",
        ),
        Gate(
            "knows (worst family)",
            knowledge.worst_family_ceiling,
            knows,
            f"On {knowledge.worst_family} the predictor does not know X: train it on more of it.",
        ),
        Gate(
            "uses",
            knowledge.opinion_concept,
            knows,
            "The predictor's own predictions do not follow X: what it knows of X it may not use.",
        ),
        Gate(
            "enough",
            both(disputed.concept_N),
            enough,
            "Too few disputed episodes with either value of X: raise data.disputed.",
        ),
    )


def swap_gates(knowledge: Knowledge, level: int, knows: float, uses: float) -> tuple[Gate, ...]:
    """Returns the gates of interchange, for heads whose deepest level is this one: it is what the
    predictor goes on from.
    """
    separates = {swap.level: swap.separates for swap in knowledge.swaps}.get(level, 0.0)
    uncertain = (
        f"At level {level}, moving its concept does not move its own prediction of X alone: read a"
        " deeper level."
    )
    cannot = "This predictor cannot run on from a changed activation, so a causal test is lacking."
    by_name = "verdict.without=[interchange] judges without interchange."
    unsaid = (
        "The predictor's own predictions do not follow what this human says, so where it keeps H"
        f" is not known. {by_name}"
    )
    return (
        Gate("uses (human)", knowledge.opinion_human, knows, unsaid),
        Gate(
            "uses (swap)", separates, uses, uncertain if knowledge.swaps else f"{cannot} {by_name}"
        ),
    )


def says_numbers(answers: Answers) -> Bools:
    """Returns whether each of K heads answers every question that decides with a number."""
    return np.logical_and.reduce(
        [np.isfinite(said_KN).all(axis=1) for said_KN in replace(answers, run_on=None).each]
    )


def competent(
    log_odds_KN: Scores, easy: Cases, bound: float, numbers_K: Bools | bool = True
) -> list[Gate]:
    """Returns a gate for each head: its share right on held-out easy episodes, whose truth is X; 0
    where it says what is no number.

    Args:
        numbers_K: whether each head answers the other questions with numbers.
    """
    right = share((log_odds_KN > 0) == easy.concept_N, easy.cluster_N, 0.95).value
    right = np.where(np.isfinite(log_odds_KN).all(axis=1) & numbers_K, right, 0.0)
    return [
        Gate(
            "competent",
            float(value),
            bound,
            "The head errs on easy episodes: train it for longer, or charge it less.",
        )
        for value in right
    ]
