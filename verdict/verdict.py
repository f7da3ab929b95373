"""What the judge returns: verdicts on heads, with their gates and evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from verdict.evidence.access import Access
from verdict.evidence.behaviour import Behaviour
from verdict.evidence.departure import Imitation
from verdict.evidence.erasure import Erasure
from verdict.evidence.interchange import Interchange
from verdict.evidence.twins import Effects
from verdict.gates import Gate

KINDS_OF_EVIDENCE = ("behaviour", "twins", "interchange")
"""What must agree; the error allowed is shared among them and among the heads."""


class Kind(StrEnum):
    """What a head is."""

    DIRECT_TRANSLATOR = "direct_translator"
    HUMAN_IMITATOR = "human_imitator"
    MIXTURE = "mixture"
    NEITHER = "neither"
    UNDECIDED = "undecided"


class Verdict(NamedTuple):
    """What a head is, and why, in words."""

    kind: Kind
    reason: str


@dataclass(frozen=True)
class Evidence:
    """What was found of heads. Intervals hold at `level`, which is corrected for all heads and
    kinds of evidence; None is what could not be asked.
    """

    behaviour: Behaviour
    effects: Effects | None
    interchange: Interchange | None
    erasure: Erasure | None
    level: float
    access: Access | None = None
    imitation: Imitation | None = None


@dataclass(frozen=True)
class Judgement:
    """Verdicts on K heads, the gates of each, and the evidence."""

    verdicts: tuple[Verdict, ...]
    gates: tuple[tuple[Gate, ...], ...]
    """Of each head: those of the predictor, and its own."""
    evidence: Evidence
    sure_after: tuple[int, ...]
    """How many disputed episodes each verdict took: all, unless they were judged in turns."""
    disputed: int
    """How many there were."""
