"""Evidence from interchange: does the report follow when the part of the activations in which the
predictor stores X is that of another episode?

K: heads, N: episodes, P: pairs of an exchange.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from verdict.betting import Bets
from verdict.evidence.effects import compute_largest_size, view_effects
from verdict.evidence.evidence import Bounds, DecidingEvidence, Observations, Tally
from verdict.gates import Gate, build_gate
from verdict.ground_truth import Cases, Exchange, Ints, Scores
from verdict.inputs import Input, Swapped
from verdict.knowledge import Knowledge
from verdict.statistics import Estimate, Floats, Interval, estimate_difference
from verdict.verdict import Kind

CONCEPT, HUMAN = Swapped("concept"), Swapped("human")
RANDOM_CONCEPT, RANDOM_HUMAN = Swapped("concept", random=True), Swapped("human", random=True)
CERTIFIES = "uses (swap)"
"""The gate that certifies the parts of X and of H at a level."""
CERTIFIES_HUMAN = "uses (swap of H)"
"""The gate of a predictor that is not asked for X: it certifies the part of H alone."""
ONE_SIDED = (
    "the predictor is asked for {asked} alone, so its part of {other} is not certified and comes"
    " from {source}"
)
"""The note on a gate that certifies one part alone."""


@dataclass(frozen=True)
class SwapEffects:
    """How the reports of K heads follow when parts of their activations are swapped at every level
    that they read; a translator has (1, 0).

    After Geiger et al. (2021), "Causal abstractions of neural networks". Each figure is the share
    of swaps into disputed episodes after which the report has turned towards what the source has,
    less that after which it has turned away. The subspaces are fitted on the predictor's own
    predictions, on other episodes.
    """

    swap_concept: Estimate
    """X's part is that of an episode with another X and the same H."""
    swap_human: Estimate
    """H's part is that of an episode with another H and the same X."""
    swap_random: Estimate
    """The larger of both in size where the part is a random subspace of the same rank: near 0, or
    else the swap itself moves the report.
    """
    swap_all_concept: Floats
    """The whole activation is that of the other episode: the most that can be reached."""
    swap_all_human: Floats


class Turns(NamedTuple):
    """Whether each report of K heads turned towards what the source has (1), away (-1) or not (0),
    after each kind of swap, shape (K, P).
    """

    concept: Ints
    human: Ints
    random_concept: Ints
    random_human: Ints
    all_concept: Ints
    all_human: Ints


class Interchange(DecidingEvidence):
    """Whether reports follow a swap of X's part of the activations, or of H's part."""

    inputs: tuple[Input, ...] = (CONCEPT, HUMAN, RANDOM_CONCEPT, RANDOM_HUMAN)
    finding: ClassVar[type[SwapEffects]] = SwapEffects
    headings: ClassVar[Mapping[str, str]] = {"swap_concept": "swap X", "swap_human": "swap H"}

    def find(self, observations: Observations, bounds: Bounds) -> SwapEffects | None:
        """Returns all effects; None where the predictor's subspaces are not known."""
        if not observations.answers.has(*self.inputs):
            return None
        estimates = []
        for turn_KP in compute_turns(observations):
            cluster_P = np.arange(turn_KP.shape[1])
            estimates.append(estimate_difference(turn_KP, cluster_P, observations.level))
        return build_effects(estimates)

    def view(self, finding: SwapEffects, bounds: Bounds) -> Kind | None:
        """Returns what interchange shows; nothing where random parts move the report more than half
        as far as the parts of X or H do, and nothing pure unless their whole interval lies within
        that.
        """
        concept, human, random = finding.swap_concept, finding.swap_human, finding.swap_random
        most = max(bounds.indirect, float(max(concept.low, human.low)) / 2)
        kind = view_effects(concept, human, bounds)
        if kind in (Kind.DIRECT_TRANSLATOR, Kind.HUMAN_IMITATOR):
            return kind if compute_largest_size(random) <= most else None
        return kind if random.low <= most and random.high >= -most else None

    def write_clause(self, finding: SwapEffects) -> str:
        return (
            "swapping the predictor's part of X moves it by {swap_concept}, swapping the part of H"
            " by {swap_human}, swapping random parts by {swap_random}"
        )

    def build_gates(self, knowledge: Knowledge, level: int, bounds: Bounds) -> tuple[Gate, ...]:
        """Returns whether the predictor's parts of X and of H are known at the level that the
        predictor runs on from.
        """
        at_level = {swap.level: swap.separates for swap in knowledge.swaps}
        separates = at_level.get(level, Interval(0.0, 0.0, 0.0))
        by_name = " verdict.without=[interchange] judges without interchange."
        if bounds.offsets_shift:
            by_name = ""
        unpredicted = (
            "The predictor's own predictions do not follow what this human says, so where it stores"
            f" H is not known.{by_name}"
        )
        uncertified = (
            f"At level {level}, moving its concept does not move its own prediction of X alone:"
            " read a deeper level."
        )
        if not knowledge.swaps:
            uncertified = (
                "This predictor cannot run on from a changed activation, so a causal test is"
                f" missing. A language model can where it is asked (core_model.ask).{by_name}"
            )
        certifies = build_gate(CERTIFIES, separates, bounds.uses, uncertified, "data.probe")
        if math.isnan(knowledge.opinion_human.value):
            note = ONE_SIDED.format(asked="X", other="H", source="the human's answers")
            return (replace(certifies, note=note),)
        if math.isnan(knowledge.opinion_concept.value):
            note = ONE_SIDED.format(asked="H", other="X", source="the truth")
            certifies = replace(certifies, name=CERTIFIES_HUMAN, note=note)
        predicts_human = build_gate(
            "uses (human)", knowledge.opinion_human, bounds.knows, unpredicted, "data.probe"
        )
        return (predicts_human, certifies)

    def begin_tally(self, easy: Cases, easy_KN: Scores, level: float) -> Tally:
        return InterchangeTally(len(easy_KN), level)


class InterchangeTally(Tally):
    """Bets on all effects."""

    def __init__(self, n_heads: int, level: float) -> None:
        self.bets = [Bets(n_heads, level, low=-1.0) for _ in Turns._fields]
        self.has_swaps = False

    def take(self, turn: Observations) -> None:
        self.has_swaps = turn.answers.has(*Interchange.inputs)
        if self.has_swaps:
            for bets, turn_KP in zip(self.bets, compute_turns(turn), strict=True):
                bets.take(turn_KP.astype(np.float64))

    @property
    def finding(self) -> SwapEffects | None:
        return build_effects([bets.estimate for bets in self.bets]) if self.has_swaps else None


def compute_turns(observations: Observations) -> Turns:
    """Returns how each report turned. Only disputed episodes are bases: on easy ones even a head
    that follows neither turns with both.
    """
    truth, answers = observations.truth, observations.answers
    plain_KN = answers.pool

    def compare(after_KP: Scores, exchange: Exchange) -> Ints:
        change_KP = (after_KP > 0).astype(np.int64) - (plain_KN[:, exchange.base_P] > 0)
        turn_KP = change_KP * exchange.sign_P
        return turn_KP[:, exchange.base_P >= len(truth.easy)]

    of_concept, of_human = truth.concept_exchange, truth.human_exchange
    return Turns(
        concept=compare(answers[CONCEPT], of_concept),
        human=compare(answers[HUMAN], of_human),
        random_concept=compare(answers[RANDOM_CONCEPT], of_concept),
        random_human=compare(answers[RANDOM_HUMAN], of_human),
        all_concept=compare(plain_KN[:, of_concept.source_P], of_concept),
        all_human=compare(plain_KN[:, of_human.source_P], of_human),
    )


def build_effects(estimates: list[Estimate]) -> SwapEffects:
    """Returns the effects from the estimates on `Turns`."""
    concept, human, random_concept, random_human, all_concept, all_human = estimates
    random = choose_larger(random_concept, random_human)
    return SwapEffects(concept, human, random, all_concept.value, all_human.value)


def choose_larger(first: Estimate, second: Estimate) -> Estimate:
    """Returns for each head the estimate that is larger in size."""
    first_K = np.abs(first.value) >= np.abs(second.value)
    ends = zip(first, second, strict=True)
    return Estimate(*(np.where(first_K, one_K, other_K) for one_K, other_K in ends))
