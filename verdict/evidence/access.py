"""Does a head's report depend on X at all: on what the head itself reads of it, or on what the
predictor makes of it further up?

K: heads, P: exchanges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from verdict.cases import Answers, Bench, Scores
from verdict.gates import Gate
from verdict.knowledge import Knowledge
from verdict.statistics import Estimate, difference


class Dependence(NamedTuple):
    """How much reports of K heads depend on X in one place."""

    changes: Estimate
    """Share of reports that change when X's part is that of an episode with the same H and another
    X, less the share that change when a random part of equal rank is. Signs do not count: 0 where a
    head never looks at X, 1 where X alone decides. NaN for a head that could not be asked. The
    random part is one draw, and the interval does not hold the chance of that draw.
    """
    depends: NDArray[np.str_]
    """yes: the whole interval lies above the margin. no: it lies below. Else unclear, as for a head
    that could not be asked.
    """


@dataclass(frozen=True)
class Access:
    """Whether reports of K heads depend on X: a translator's do, and so do those of an imitator of
    a human who sometimes knows X.

    A head may read what the predictor knows of X, or an answer that the predictor itself works out
    from X further up: then it depends on X in the predictor alone. Exchanges as in Geiger et al.
    (2021), "Causal abstractions of neural networks".
    """

    head: Dependence
    """X's part is exchanged in all that the head reads. unclear where the part is not certified at
    the deepest level that it reads.
    """
    predictor: Dependence | None
    """X's part is exchanged at an earlier level, and the predictor runs on to what the head reads.
    None where no earlier level is certified.
    """


def access(
    bench: Bench, answers: Answers, level: float, gates: Sequence[Sequence[Gate]], margin: float
) -> Access | None:
    """Returns what K heads depend on, with intervals at this level; None where the predictor's
    subspaces are not known.

    Args:
        gates: of each head; that of its predictor's swaps says whether X's part is certified at the
            deepest level that it reads.
        margin: share of reports; what changes less of them counts as nothing.
    """
    if answers.swapped is None:
        return None
    pairs = bench.concept_exchange
    before_KP = np.concatenate([answers.easy, answers.disputed], axis=1)[:, pairs.base_P]

    def dependence(concept_KP: Scores, random_KP: Scores) -> Dependence:
        change_KP = _differs(before_KP, concept_KP).astype(np.int64) - _differs(
            before_KP, random_KP
        )
        asked_K = np.isfinite(concept_KP).all(axis=1)
        changes = Estimate(
            *(
                np.where(asked_K, part, np.nan)
                for part in difference(change_KP, pairs.cluster_P, level)
            )
        )
        return Dependence(
            changes,
            np.select([changes.low > margin, changes.high < margin], ["yes", "no"], "unclear"),
        )

    head = dependence(answers.swapped.concept, answers.swapped.random_concept)
    certified_K = [
        any(gate.passed for gate in of_head if gate.name == "uses (swap)") for of_head in gates
    ]
    ran_on = answers.run_on and dependence(*answers.run_on)
    return Access(head._replace(depends=np.where(certified_K, head.depends, "unclear")), ran_on)


def certified(knowledge: Knowledge, bound: float, deepest: int) -> int | None:
    """Returns the shallowest level below the deepest where X's part moves the predictor's own
    prediction of X alone; None where there is none.
    """
    return next(
        (
            swap.level
            for swap in knowledge.swaps
            if swap.separates >= bound and swap.level < deepest
        ),
        None,
    )


def of_deeper_heads(answers: Answers, deepest: Sequence[int], written: int | None) -> Answers:
    """Returns the answers, NaN after a write at a level for the heads that read nothing deeper: of
    them it asks nothing about the predictor.

    Args:
        deepest: the deepest level that each of the K heads reads.
        written: the level that was written.
    """
    if answers.run_on is None or written is None:
        return answers
    deeper_K1 = np.array(deepest)[:, None] > written
    return replace(
        answers,
        run_on=type(answers.run_on)(
            *(np.where(deeper_K1, after_KP, np.nan) for after_KP in answers.run_on)
        ),
    )


def _differs(one_KP: Scores, other_KP: Scores) -> NDArray[np.bool_]:
    return np.asarray((one_KP > 0) != (other_KP > 0))
