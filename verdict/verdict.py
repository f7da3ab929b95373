"""What the judge returns: verdicts on heads, with their gates and evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from verdict.gates import Gate


class Kind(StrEnum):
    """What a head is."""

    DIRECT_TRANSLATOR = "direct_translator"
    HUMAN_IMITATOR = "human_imitator"
    MIXTURE = "mixture"
    NEITHER = "neither"
    UNDECIDED = "undecided"


class Verdict(NamedTuple):
    """What a head is, and why."""

    kind: Kind
    reason: str
    template: str
    """The reason with `{column}` in place of the figures: see `verdict.words.fill`."""


@dataclass(frozen=True)
class Judgement:
    """Verdicts on K heads, the gates of each, and the evidence."""

    verdicts: tuple[Verdict, ...]
    gates: tuple[tuple[Gate, ...], ...]
    """Of each head: those of the predictor, and its own."""
    findings: Mapping[str, Any]
    """What each kind of evidence found of the heads; None where it could not be found. Empty for
    heads of several predictors.
    """
    columns: tuple[Mapping[str, Any], ...]
    """The findings on each head as columns of heads.parquet, in plain values."""
    headings: Mapping[str, str]
    """Those of the columns that `python -m verdict` shows, and their headings."""
    level: float
    """Level of each interval, corrected for the number of heads and of kinds of evidence."""
    sure_after: tuple[int, ...]
    """Disputed episodes that each verdict took: all, unless the heads were judged in turns."""
    disputed: int
    """Disputed episodes in all."""


def join_judgements(parts: Sequence[Judgement]) -> Judgement:
    """Returns the verdicts on the heads of several predictors, one predictor after the other."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        verdicts=tuple(verdict for part in parts for verdict in part.verdicts),
        gates=tuple(gates for part in parts for gates in part.gates),
        findings={},
        columns=tuple(columns for part in parts for columns in part.columns),
        sure_after=tuple(count for part in parts for count in part.sure_after),
    )
