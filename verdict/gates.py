"""Gates: can the question be decided at all? A gate that is not passed leaves the case undecided,
and is named.

N: episodes, K: heads.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from verdict.ground_truth import Cases, GroundTruth, Scores
from verdict.inputs import Answers, Input
from verdict.knowledge import Knowledge, count_rarer
from verdict.statistics import Floats, Interval, estimate_share, take_interval
from worlds.world import World


@dataclass(frozen=True)
class Gate:
    """One condition: the measured value, its bound, and the cure where it is below the bound.

    Args:
        low: the low limit of its 95% interval, or of an exact number the value itself.
        high: the high limit.
        more: the key of the config that gives it more episodes.
        note: what the condition does not cover, for the reason for a verdict.
    """

    name: str
    value: float
    bound: float
    cure: str
    low: float | None = None
    high: float | None = None
    more: str = ""
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the condition is shown to be met: NaN does not meet it."""
        return bool((self.value if self.low is None else self.low) >= self.bound)

    @property
    def failed(self) -> bool:
        """Whether the condition is shown not to be met. Near its bound it is neither."""
        return not (self.value if self.high is None else self.high) >= self.bound

    def __str__(self) -> str:
        figure = f"{self.name} {_format_value(self.value, self.bound)}"
        if self.low is not None:
            figure += f" [{self.low:.3f}, {self.high:.3f}]"
        if self.passed:
            return figure
        required = f"{figure} (required: {self.bound:g})"
        if self.failed:
            return f"{required}. {self.cure}"
        return f"{required}: not shown, too few episodes to tell. Raise {self.more}."


def _format_value(value: float, bound: float) -> str:
    """Returns a value with as many digits as show on which side of its bound it lies.

    >>> _format_value(0.5, 0.95), _format_value(0.99992, 1), _format_value(1000, 200)
    ('0.500', '0.999920', '1000')
    """
    if value > 1:
        return f"{value:g}"
    rounded = f"{value:.3f}"
    return rounded if (float(rounded) >= bound) == (value >= bound) else f"{value:.6f}"


def build_gate(name: str, measured: Interval, bound: float, cure: str, more: str) -> Gate:
    """Returns the gate of a number that was measured with an interval."""
    return Gate(name, measured.value, bound, cure, measured.low, measured.high, more)


def explain_undecidable(world: World, truth: GroundTruth) -> str | None:
    """Returns why the episodes of an evaluation can decide no verdict, and the cure; None where
    they can: X is yes in some of the disputed ones and of those amiss that judge, and no in others.
    """
    if world.undecidable:
        return world.undecidable
    for name, cases in (("disputed", truth.disputed), ("amiss", truth.amiss)):
        answers = np.unique(cases.concept_N)
        if len(answers) < 2:
            values = f"X is {'yes' if answers[0] else 'no'} in all" if len(answers) else "There are"
            return (
                f"{values} {len(cases)} {name} episodes that judge, and a verdict needs both values"
                " of X among them. Raise data.disputed, lower data.probe, or add rows."
            )
    return None


def build_undecidable_gate(why: str) -> Gate:
    """Returns the gate of a world whose episodes can decide no verdict."""
    return Gate("decidable", 0.0, 1.0, why)


def build_predictor_gates(
    knowledge: Knowledge, disputed: Cases, knows: float, enough: int
) -> tuple[Gate, ...]:
    """Returns the gates that do not depend on the head. A predictor that is not asked for X has no
    gate "uses".
    """
    gates = (
        build_gate(
            "knows",
            knowledge.ceiling,
            knows,
            "The predictor does not know X well enough: train it for longer, or read it at more"
            " levels.",
            "data.probe",
        ),
        build_gate(
            "knows (worst family)",
            knowledge.worst_family_ceiling,
            knows,
            f"On {knowledge.worst_family} the predictor does not know X: train it on more of it.",
            "data.probe",
        ),
        build_gate(
            "uses",
            knowledge.opinion_concept,
            knows,
            "The predictor's own predictions do not follow X: it may not use what it knows of X.",
            "data.probe",
        ),
        Gate(
            "enough",
            count_rarer(disputed.concept_N),
            enough,
            "Too few disputed episodes with either value of X: raise data.disputed.",
        ),
    )
    if math.isnan(knowledge.opinion_concept.value):
        return tuple(gate for gate in gates if gate.name != "uses")
    return gates


def build_own_gates(
    log_odds_KN: Scores, easy: Cases, bound: float, numbers_K: Floats
) -> list[tuple[Gate, Gate]]:
    """Returns the gates of each head that depend on its answers: the share of its answers that are
    numbers, and its share right on held-out easy episodes, whose truth is X.

    Args:
        numbers_K: as `count_numbers` returns it.
    """
    right = estimate_share((log_odds_KN > 0) == easy.concept_N, easy.cluster_N, 0.95)
    not_numbers = (
        "Some of its answers are NaN or infinite: train it with a smaller rate or clip, in float32."
    )
    errs = "The head errs on easy episodes: train it for longer, or charge it less."
    return [
        (
            Gate("numbers", float(numbers), 1.0, not_numbers),
            build_gate("competent", take_interval(right, k), bound, errs, "data.test"),
        )
        for k, numbers in enumerate(numbers_K)
    ]


def count_numbers(answers: Answers, inputs: Collection[Input]) -> Floats:
    """Returns for each of K heads the share of its answers that are finite numbers.

    Args:
        inputs: those of the evidence that decides. Answers that decide nothing do not void a head,
            and inputs that not every head is evaluated on do not count.
    """
    numbers = []
    for key, log_odds_KN in answers.by_input.items():
        if key in inputs and not key.after_write:
            numbers.append(np.isfinite(log_odds_KN))
    return np.concatenate(numbers, axis=1).mean(axis=1)
