"""Gates: can the question be decided at all? A gate that is not passed leaves the case undecided,
and is named.

N: episodes, K: heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verdict.ground_truth import Bools, Cases, Scores
from verdict.inputs import Answers
from verdict.knowledge import Knowledge, count_rarer
from verdict.statistics import estimate_share


@dataclass(frozen=True)
class Gate:
    """One condition: the measured value, its bound, and the cure where it is below the bound."""

    name: str
    value: float
    bound: float
    cure: str

    @property
    def passed(self) -> bool:
        """Whether the condition is met; NaN does not meet it."""
        return bool(self.value >= self.bound)

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3f} (required: {self.bound:g}). {self.cure}"


def build_predictor_gates(
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
            "The predictor's own predictions do not follow X: it may not use what it knows of X.",
        ),
        Gate(
            "enough",
            count_rarer(disputed.concept_N),
            enough,
            "Too few disputed episodes with either value of X: raise data.disputed.",
        ),
    )


def build_competence_gates(
    log_odds_KN: Scores, easy: Cases, bound: float, numbers_K: Bools | bool = True
) -> list[Gate]:
    """Returns a gate for each head: its share right on held-out easy episodes, whose truth is X; 0
    for a head with an answer that is not a number.

    Args:
        numbers_K: whether all answers of each head to the other inputs are numbers.
    """
    right_K = estimate_share((log_odds_KN > 0) == easy.concept_N, easy.cluster_N, 0.95).value
    counts_K = np.isfinite(log_odds_KN).all(axis=1) & numbers_K
    cure = "The head errs on easy episodes: train it for longer, or charge it less."
    return [
        Gate("competent", float(value), bound, cure) for value in np.where(counts_K, right_K, 0.0)
    ]


def are_numbers(answers: Answers) -> Bools:
    """Returns for each of K heads whether all its answers are finite numbers; those to inputs that
    not every head is evaluated on do not count.
    """
    numbers = []
    for key, log_odds_KN in answers.by_input.items():
        if not key.after_write:
            numbers.append(np.isfinite(log_odds_KN).all(axis=1))
    return np.logical_and.reduce(numbers)
