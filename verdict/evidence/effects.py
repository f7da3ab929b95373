"""What a pair of effects, of X and of H on the report of a head, says about the head."""

from __future__ import annotations

from verdict.evidence.evidence import Bounds
from verdict.statistics import Estimate
from verdict.verdict import Kind


def view_effects(of_concept: Estimate, of_human: Estimate, bounds: Bounds) -> Kind | None:
    """Returns what the effects on one head show, None where an interval holds a bound. A mixture is
    moved by X or H in all, a head that is neither is not.
    """
    sides = (
        (Kind.DIRECT_TRANSLATOR, of_concept, of_human),
        (Kind.HUMAN_IMITATOR, of_human, of_concept),
    )
    for kind, own, other in sides:
        if own.low >= bounds.direct and compute_largest_size(other) <= bounds.indirect:
            return kind
        if own.high >= bounds.direct and other.low <= bounds.indirect:
            return None
    if of_concept.low + of_human.low >= bounds.either:
        return Kind.MIXTURE
    if compute_largest_size(of_concept) + compute_largest_size(of_human) < bounds.either:
        return Kind.NEITHER
    return None


def compute_largest_size(effect: Estimate) -> float:
    """Returns the largest absolute value in the interval of an effect: a report that X turns the
    wrong way is moved by X too.
    """
    return float(max(abs(effect.low), abs(effect.high)))
