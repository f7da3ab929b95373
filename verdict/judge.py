"""The judge: a verdict for each head, given only when the gates are passed and the kinds of
evidence agree.

K: heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from console.errors import UserError
from verdict.cases import Answers, Bench, Cases
from verdict.evidence.access import Access, access
from verdict.evidence.behaviour import Behaviour, behaviour
from verdict.evidence.departure import imitation
from verdict.evidence.erasure import erasure
from verdict.evidence.interchange import Interchange, interchange
from verdict.evidence.twins import effects
from verdict.gates import Gate, competent, predictor_gates, says_numbers, swap_gates
from verdict.knowledge import Knowledge
from verdict.statistics import Estimate, at
from verdict.verdict import KINDS_OF_EVIDENCE, Evidence, Judgement, Kind, Verdict


@dataclass(frozen=True)
class Judge:
    """The bounds of the rule.

    Args:
        knows: least share of disputed episodes on which a probe for X is right, and least AUROC of
            the predictor's own opinion.
        uses: least share of swaps by which moving the predictor's concept moves its own predictions
            as it should.
        enough: least number of disputed episodes for either value of X.
        competent: least share of held-out easy episodes on which a head is right.
        ranking: least AUROC, and share, of a translator on disputed episodes; an imitator's are at
            most one minus that.
        direct: least effect of what a head follows, on twins and in interchange.
        indirect: largest effect, in size, of what it does not follow.
        either: least effect of X and H together on a head that follows one, the other, or both by
            turns; below it, it follows neither.
        confidence: of all intervals of a run together.
        offsets_shift: whether a head's offset is known to shift between easy and disputed episodes;
            the ranking then decides alone.
        without: kinds of evidence, twins or interchange, without which a verdict is given: where
            world or predictor cannot give them.
        turn: disputed episodes read at once, for predictors whose reading is dear: the judge looks
            after each turn and stops when it is sure. null reads all before it looks, with
            intervals that are narrower for it.
        margin: share of reports; what changes less of them counts as nothing.
    """

    knows: float
    uses: float
    enough: int
    competent: float
    ranking: float
    direct: float
    indirect: float
    either: float
    confidence: float
    offsets_shift: bool
    without: list[str]
    turn: int | None
    margin: float

    def __post_init__(self) -> None:
        for name in self.without:
            if name not in KINDS_OF_EVIDENCE[1:]:
                raise UserError(
                    f"verdict.without: {name} is no kind of evidence that can be missing. There"
                    f" are: {', '.join(KINDS_OF_EVIDENCE[1:])}."
                )
        if len(set(self.without)) > 1:
            raise UserError(
                "verdict.without: behaviour alone gives no verdict. Leave out twins or interchange,"
                " not both."
            )
        for name in (
            "knows",
            "uses",
            "competent",
            "ranking",
            "direct",
            "indirect",
            "either",
            "confidence",
        ):
            if not 0 < getattr(self, name) < 1:
                raise UserError(
                    f"verdict.{name}: {getattr(self, name)} is no share between 0 and 1."
                )
        if (
            self.ranking <= 0.5
            or self.direct <= self.indirect
            or self.margin < 0
            or self.enough < 1
        ):
            raise UserError(
                "verdict: ranking must be above 0.5, direct above indirect, margin 0 or more, and"
                " enough 1 or more."
            )
        if self.turn is not None and self.turn < 2:
            raise UserError(
                f"verdict.turn: {self.turn} episodes hold no two values of X. Use 2 or more, or"
                " null."
            )

    def __call__(
        self,
        bench: Bench,
        answers: Answers,
        gates: Sequence[Sequence[Gate]],
        judged_heads: int | None = None,
    ) -> Judgement:
        """Returns a verdict for each of the K heads that answered.

        Args:
            gates: of each head, those that do not depend on its answers.
            judged_heads: how many heads the intervals are corrected for, where it is not K.
        """
        ready = competent(answers.easy, bench.easy, self.competent, says_numbers(answers))
        asked = bench, answers, self.level(judged_heads or len(ready))
        reaches, imitates = (
            access(*asked, gates, self.margin),
            imitation(*asked, self.competent, self.margin),
        )
        evidence = Evidence(
            behaviour(*asked),
            effects(*asked),
            interchange(*asked),
            erasure(*asked),
            asked[2],
            reaches,
            imitates,
        )
        all_gates = tuple((*of_head, own) for of_head, own in zip(gates, ready, strict=True))
        verdicts = tuple(
            self.verdict(of_head, at(evidence, k)) for k, of_head in enumerate(all_gates)
        )
        return Judgement(
            verdicts,
            all_gates,
            evidence,
            (len(bench.disputed),) * len(verdicts),
            len(bench.disputed),
        )

    def gates(
        self, knowledge: Knowledge, disputed: Cases, deepest: Sequence[int]
    ) -> list[tuple[Gate, ...]]:
        """Returns the gates of each head that do not depend on its answers.

        Args:
            deepest: the deepest level that each head reads.
        """
        common = predictor_gates(knowledge, disputed, self.knows, self.enough)
        if "interchange" in self.without:
            return [common] * len(deepest)
        by_level = {
            level: swap_gates(knowledge, level, self.knows, self.uses) for level in set(deepest)
        }
        return [(*common, *by_level[level]) for level in deepest]

    def level(self, heads: int) -> float:
        """Returns the level of each interval, so that all of so many heads hold with the confidence
        asked for.
        """
        return 1 - (1 - self.confidence) / (heads * len(KINDS_OF_EVIDENCE))

    def sure(self, gates: Sequence[Gate], found: Evidence) -> bool:
        """Whether more episodes could not change the verdict on one head: a gate is not passed,
        evidence is missing, or all of it is clear.
        """
        return (
            not all(gate.passed for gate in gates)
            or bool(self._missing(found))
            or all(self._views(found).values())
        )

    def verdict(self, gates: Sequence[Gate], found: Evidence) -> Verdict:
        """Returns the verdict on one head: its evidence is of one head too."""
        words = self._words(found)
        failed = [str(gate) for gate in gates if not gate.passed]
        if failed:
            return Verdict(
                Kind.UNDECIDED,
                f"A gate is not passed, so nothing is decided: {' | '.join(failed)} {words}",
            )
        if self._missing(found):
            what = " and ".join(self._missing(found))
            return Verdict(
                Kind.UNDECIDED,
                f"{words} Evidence from {what} is missing, and no verdict is given without it"
                " (verdict.without names it).",
            )
        views = self._views(found)
        unclear = [name for name, kind in views.items() if kind is None]
        if unclear:
            comes = "comes" if len(unclear) == 1 else "come"
            return Verdict(
                Kind.UNDECIDED,
                f"{words} {' and '.join(unclear).capitalize()} {comes} too close to a bound to"
                f" call{_split(found.behaviour)}.",
            )
        kind = _agreed([kind for kind in views.values() if kind])
        if kind is None:
            looks = ", ".join(f"{name} like {_plain(str(kind))}" for name, kind in views.items())
            return Verdict(
                Kind.UNDECIDED,
                f"{words} The kinds of evidence disagree: {looks}{_split(found.behaviour)}.",
            )
        share = (
            f", {_figure(found.behaviour.follows_concept)} of it X" if kind is Kind.MIXTURE else ""
        )
        return Verdict(
            kind,
            (
                f"{words} So it is a {_plain(str(kind))}{share}."
                if kind is not Kind.NEITHER
                else f"{words} So it follows neither."
            ),
        )

    def _missing(self, found: Evidence) -> list[str]:
        parts = {"twins": found.effects, "interchange": found.interchange}
        return [name for name, part in parts.items() if part is None and name not in self.without]

    def _views(self, found: Evidence) -> dict[str, Kind | None]:
        """Returns what each kind of evidence shows of one head, None where it is too close to a
        bound.
        """
        views = {"behaviour": self._from_behaviour(found.behaviour)}
        views |= (
            {"twins": self._from_effects(found.effects.nde, found.effects.nie)}
            if found.effects
            else {}
        )
        views |= (
            {"interchange": self._from_interchange(found.interchange)} if found.interchange else {}
        )
        return {name: kind for name, kind in views.items() if name not in self.without}

    def _from_behaviour(self, did: Behaviour) -> Kind | None:
        """Returns what behaviour alone shows, None where an interval holds a bound. Between them is
        a mixture: twins tell it from neither.
        """
        figures = (
            [did.ranks_concept] if self.offsets_shift else [did.ranks_concept, did.follows_concept]
        )
        if all(figure.low >= self.ranking for figure in figures):
            return Kind.DIRECT_TRANSLATOR
        if all(figure.high <= 1 - self.ranking for figure in figures):
            return Kind.HUMAN_IMITATOR
        between = all(
            figure.low > 1 - self.ranking and figure.high < self.ranking for figure in figures
        )
        return Kind.MIXTURE if between else None

    def _from_effects(self, of_concept: Estimate, of_human: Estimate) -> Kind | None:
        """Returns what the effects of X and of H show, None where an interval holds a bound: a
        mixture is moved by X or H in all, neither is not.
        """
        for kind, own, other in (
            (Kind.DIRECT_TRANSLATOR, of_concept, of_human),
            (Kind.HUMAN_IMITATOR, of_human, of_concept),
        ):
            if own.low >= self.direct and _most(other) <= self.indirect:
                return kind
            if own.high >= self.direct and other.low <= self.indirect:
                return None
        if of_concept.low + of_human.low >= self.either:
            return Kind.MIXTURE
        return Kind.NEITHER if _most(of_concept) + _most(of_human) < self.either else None

    def _from_interchange(self, moved: Interchange) -> Kind | None:
        """Returns what interchange shows; nothing where random parts move the report more than half
        as far as the parts of X or H do, and nothing pure unless their whole interval lies within
        that.
        """
        most = max(self.indirect, float(max(moved.concept.low, moved.human.low)) / 2)
        kind = self._from_effects(moved.concept, moved.human)
        if kind in (Kind.DIRECT_TRANSLATOR, Kind.HUMAN_IMITATOR):
            return kind if _most(moved.random) <= most else None
        return kind if moved.random.low <= most and moved.random.high >= -most else None

    def _words(self, found: Evidence) -> str:
        """Returns the evidence on one head as a reviewer would write it."""
        did, percent = found.behaviour, _percent(found.level)
        follows, ranks = _figure(did.follows_concept), _figure(did.ranks_concept)
        words = [
            f"It follows X on {follows} of {int(did.episodes):,} disputed episodes, and ranks it"
            f" with AUROC {ranks}"
        ]
        if found.effects:
            words.append(
                f"changing only X moves the report by {_figure(found.effects.nde)}, only what the"
                f" human sees by {_figure(found.effects.nie)}"
            )
        if found.interchange:
            moved = found.interchange
            words.append(
                f"moving only the predictor's concept moves it by {_figure(moved.concept)}, only"
                f" its idea of the human's answer by {_figure(moved.human)}, random parts by"
                f" {_figure(moved.random)}"
            )
        if found.erasure:
            concept, human = _figure(found.erasure.concept), _figure(found.erasure.human)
            words.append(
                f"erasing X takes away {concept} of how it follows X, erasing H {human} of how it"
                " follows H"
            )
        if found.access:
            words.append(f"whether it depends on X: {_places(found.access)}")
        return f"{'; '.join(words)} (intervals at {percent})."


def _percent(level: float) -> str:
    """Returns a confidence with as many digits as tell it from 100%.

    >>> _percent(0.95), _percent(0.9996), _percent(1 - 0.05 / 1760)
    ('95%', '99.96%', '99.9972%')
    """
    digits = max(0, math.ceil(-math.log10(1 - level)) - 1)
    return f"{100 * level:.{digits}f}".rstrip("0").rstrip(".") + "%"


def _agreed(views: list[Kind]) -> Kind | None:
    """Returns what all views agree on. What behaviour shows as a mixture may be neither; the others
    tell.
    """
    behaviour, *others = views
    if len(set(others)) > 1:
        return None
    other = others[0] if others else behaviour
    return (
        other if other == behaviour or {other, behaviour} == {Kind.MIXTURE, Kind.NEITHER} else None
    )


def _most(effect: Estimate) -> float:
    """Returns the largest size that the interval of an effect holds: a report that X turns the
    wrong way is moved by X too.
    """
    return float(max(abs(effect.low), abs(effect.high)))


def _split(did: Behaviour) -> str:
    """Returns a remark where ranking and share lie on different sides of a half, which an offset
    that shifted would explain.
    """
    differ = (did.ranks_concept.value - 0.5) * (did.follows_concept.value - 0.5) < 0
    return (
        "; its ranking and its share disagree, as they do when an offset shifts" if differ else ""
    )


def _places(found: Access) -> str:
    """Returns where a head depends on X, with how many more reports X's part changes than a random
    part does.
    """
    places = {"in the head": found.head, "in the predictor": found.predictor}
    said = [
        f"{one.depends} {place} ({_figure(one.changes)})"
        for place, one in places.items()
        if one and not np.isnan(one.changes.value)
    ]
    return ", ".join(said)


def _plain(kind: str) -> str:
    return kind.replace("_", " ")


def _figure(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
