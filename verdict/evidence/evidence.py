"""The contract of a kind of evidence: the inputs that it uses, what it finds of heads, how it views
a head, and its clause in the reason for a verdict.

K: heads.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from verdict.gates import Gate
from verdict.ground_truth import Cases, GroundTruth, Scores
from verdict.inputs import Answers, Input
from verdict.knowledge import Knowledge
from verdict.statistics import Estimate
from verdict.verdict import Kind


@dataclass(frozen=True)
class Bounds:
    """The bounds that kinds of evidence share. A bound of one kind alone is an argument of that
    kind.

    Args:
        knows: least share of disputed episodes on which a probe for X is right, and least AUROC of
            the predictor's own opinion.
        uses: least share of swaps by which moving the predictor's concept moves its own predictions
            as it should.
        competent: least share of held-out easy episodes on which a head is right.
        ranking: least AUROC, and share, of a translator on disputed episodes; those of an imitator
            are at most one minus that. In its worst cell of X × H × family, the share that was
            measured must be as large.
        worst: least share in that cell that the interval must exclude: cells have few episodes.
        direct: least effect of what a head follows, on twins and in interchange.
        indirect: largest effect, in size, of what it does not follow.
        either: least effect of X and H together on a head that follows one of them, or each at
            times; below it, it follows neither.
        offsets_shift: whether the offset of a head is known to shift between easy and disputed
            episodes. Where something is amiss a head's threshold is then its own median report on
            disputed episodes, in every kind of evidence; of behaviour the ranking decides alone;
            and nothing is decided without interchange.
        margin: share of reports; a smaller change of them counts as none.
    """

    knows: float
    uses: float
    competent: float
    ranking: float
    worst: float
    direct: float
    indirect: float
    either: float
    offsets_shift: bool
    margin: float


@dataclass(frozen=True)
class Observations:
    """What is known of K heads when evidence is found."""

    truth: GroundTruth
    answers: Answers
    gates: Sequence[Sequence[Gate]]
    """Of each head, those that do not depend on its answers."""
    level: float
    """Of each interval; corrected for the number of heads and of kinds of evidence."""


class Tally(ABC):
    """What one kind of evidence has found so far of heads that are judged in turns. Its intervals
    hold at every turn at once: see `verdict.betting`.
    """

    @abstractmethod
    def take(self, turn: Observations) -> None:
        """Adds the answers of one turn."""

    @property
    @abstractmethod
    def finding(self) -> Any | None:
        """What is found now."""


class Evidence(ABC):
    """A kind of evidence on what heads follow. It supports verdicts; one that also decides them is
    a `DecidingEvidence`.

    The constructor takes the bounds of this kind alone. Its name is its key in the YAML of the
    judge.
    """

    inputs: tuple[Input, ...]
    """The inputs on which heads are evaluated for it, beside the easy and the disputed episodes."""
    finding: ClassVar[type[Any]]
    """A frozen dataclass: what it finds of K heads. Its fields are columns of heads.parquet, in
    order: of an `Estimate` named x the columns x, x_low and x_high, of an array of shape (K,) one
    column. An int describes all heads and is no column.
    """
    headings: ClassVar[Mapping[str, str]] = {}
    """Columns that `python -m verdict` shows, and their headings there."""

    @abstractmethod
    def find(self, observations: Observations, bounds: Bounds) -> Any | None:
        """Returns the finding on K heads; None where the inputs could not be read."""

    def write_clause(self, finding: Any) -> str:
        """Returns the clause on one head, without a full stop; empty for none. A figure is written
        as its column: "erasing X removes {erase_concept} of it".

        Args:
            finding: on one head, so that its arrays have lost their axis.
        """
        return ""

    def build_gates(self, knowledge: Knowledge, level: int, bounds: Bounds) -> tuple[Gate, ...]:
        """Returns the conditions under which this evidence counts.

        Args:
            level: the deepest level that the heads read.
        """
        return ()

    def begin_tally(self, easy: Cases, easy_KN: Scores, level: float) -> Tally | None:
        """Returns an empty tally for heads that are judged in turns; None where this kind is left
        out there.

        Args:
            easy: the ground truth of all held-out easy episodes, which are read before any turn.
            easy_KN: the answers of K heads to them.
            level: of each interval.
        """
        return None


class DecidingEvidence(Evidence):
    """A kind of evidence that a verdict needs: no verdict is given where it is missing, or where it
    disagrees with another.
    """

    @abstractmethod
    def view(self, finding: Any, bounds: Bounds) -> Kind | None:
        """Returns what one head looks like; None where an interval holds a bound.

        Args:
            finding: on one head, so that its arrays have lost their axis.
        """


def build_columns(
    finding_type: type[Any], finding: Any | None, n_heads: int
) -> list[dict[str, Any]]:
    """Returns what was found of each of K heads as columns of heads.parquet, in plain values; None
    in each column where nothing was found.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(n_heads)]
    for name, hint in typing.get_type_hints(finding_type).items():
        value = getattr(finding, name, None)
        if Estimate in (hint, *typing.get_args(hint)):
            ends = (None, None, None) if value is None else value
            _add_column(rows, name, ends[0])
            _add_column(rows, f"{name}_low", ends[1])
            _add_column(rows, f"{name}_high", ends[2])
        elif hint is not int:
            _add_column(rows, name, value)
    return rows


def _add_column(rows: list[dict[str, Any]], name: str, value_K: NDArray[Any] | None) -> None:
    for k, row in enumerate(rows):
        row[name] = None if value_K is None else value_K[k].item()
