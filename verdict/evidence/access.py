"""Evidence on access: does a report depend on X at all, on what the head itself reads of it, or on
what the predictor makes of it at later levels? It supports a verdict and decides none.

K: heads, P: pairs of an exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from verdict.evidence.evidence import Bounds, Evidence, Observations
from verdict.evidence.interchange import CERTIFIES
from verdict.gates import Gate
from verdict.inputs import Input, RunOn, Swapped
from verdict.statistics import Estimate, estimate_difference

Words = NDArray[np.str_]
HEAD = (Swapped("concept"), Swapped("concept", random=True))
PREDICTOR = (RunOn(), RunOn(random=True))


@dataclass(frozen=True)
class Dependence:
    """Whether reports of K heads depend on X: a translator's do, and so do those of an imitator of
    a human who sometimes knows X.

    A head may read what the predictor knows of X, or an answer that the predictor computes from X
    at a later level: it then depends on X in the predictor alone. Swaps as in Geiger et al. (2021),
    "Causal abstractions of neural networks".
    """

    access_head: Estimate
    """Share of reports that change when X's part of all that the head reads is that of an episode
    with the same H and another X, less the share that change when a random part of equal rank is.
    Signs do not count: 0 where a head never uses X, 1 where X alone decides. The random part is one
    draw; its variance is not in the interval.
    """
    depends_in_head: Words
    """yes: the whole interval lies above the margin. no: it lies below. Otherwise unclear, as where
    the part is not certified at the deepest level that the head reads.
    """
    access_predictor: Estimate | None
    """The same where X's part is swapped at an earlier level, and the predictor runs on to what the
    head reads. NaN for a head that reads no later level; None where no earlier level is certified.
    """
    depends_in_predictor: Words | None


class Access(Evidence):
    """Whether reports depend on X, in the head or in the predictor."""

    inputs: tuple[Input, ...] = (*HEAD, *PREDICTOR)
    finding: ClassVar[type[Dependence]] = Dependence

    def find(self, observations: Observations, bounds: Bounds) -> Dependence | None:
        """Returns what heads depend on; None where the predictor's subspaces are not known."""
        answers = observations.answers
        if not answers.has(*HEAD):
            return None
        in_head = estimate_changes(observations, *HEAD)
        in_head_K = classify_dependence(in_head, bounds.margin)
        certified_K = np.array([is_certified(gates) for gates in observations.gates])
        in_predictor = in_predictor_K = None
        if answers.has(*PREDICTOR):
            in_predictor = estimate_changes(observations, *PREDICTOR)
            in_predictor_K = classify_dependence(in_predictor, bounds.margin)
        return Dependence(
            in_head,
            np.where(certified_K, in_head_K, "unclear"),
            in_predictor,
            in_predictor_K,
        )

    def write_clause(self, finding: Dependence) -> str:
        places = []
        if not np.isnan(finding.access_head.value):
            places.append(f"{finding.depends_in_head} in the head ({{access_head}})")
        in_predictor = finding.access_predictor
        if in_predictor is not None and not np.isnan(in_predictor.value):
            places.append(f"{finding.depends_in_predictor} in the predictor ({{access_predictor}})")
        return f"whether it depends on X: {', '.join(places)}" if places else ""


def estimate_changes(observations: Observations, concept: Input, random: Input) -> Estimate:
    """Returns how many more reports X's part changes than the random part does; NaN for a head that
    was not evaluated.
    """
    answers, exchange = observations.answers, observations.truth.concept_exchange
    before_KP = answers.pool[:, exchange.base_P] > 0
    concept_KP, random_KP = answers[concept], answers[random]
    change_KP = ((concept_KP > 0) != before_KP).astype(np.int64) - (before_KP != (random_KP > 0))
    changes = estimate_difference(change_KP, exchange.cluster_P, observations.level)
    evaluated_K = np.isfinite(concept_KP).all(axis=1)
    return Estimate(*(np.where(evaluated_K, end_K, np.nan) for end_K in changes))


def classify_dependence(changes: Estimate, margin: float) -> Words:
    """Returns whether reports depend on X: yes, no or unclear."""
    return np.select([changes.low > margin, changes.high < margin], ["yes", "no"], "unclear")


def is_certified(gates: Sequence[Gate]) -> bool:
    """Whether X's part is certified at the deepest level that a head reads."""
    return any(gate.passed for gate in gates if gate.name == CERTIFIES)
