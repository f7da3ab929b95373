"""Judging in turns: for predictors whose reading is dear, the judge looks after every few episodes
and stops when it is sure.

K: heads, N: episodes, P: exchanges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from verdict.betting import Bets, by_cluster, changes, pairs, says
from verdict.cases import Answers, Asked, Bench, Both, Cases, Pair, Scores
from verdict.evidence.behaviour import Behaviour, given_human
from verdict.evidence.interchange import Interchange, larger, turned
from verdict.evidence.twins import Effects
from verdict.exam import Exam
from verdict.gates import Gate, competent, says_numbers
from verdict.judge import Judge
from verdict.statistics import Floats, at, auroc
from verdict.verdict import Evidence, Judgement


def judge_in_turns(
    judge: Judge, exam: Exam, answer: Callable[[Tensor], Scores], gates: Sequence[Sequence[Gate]]
) -> Judgement:
    """Returns verdicts on K heads after as many turns of judge.turn disputed episodes as it took to
    be sure of each, or after all.

    Intervals are anytime-valid (`verdict.betting`), so that looking often costs nothing but their
    width. Easy episodes are all read at first; twins and exchanges come in shares like those of the
    disputed episodes. Erasure and access, which decide nothing, are left out.

    Args:
        answer: from activations z_NLD to what K heads say, log-odds in nats.
        gates: of each head, those that do not depend on its answers.
    """
    assert judge.turn is not None
    tally = None
    sure_after = np.zeros(len(gates), dtype=np.int64)
    for part in exam.turns(judge.turn):
        asked = replace(part.questions, erased=None, run_on=None).map(lambda z_of: answer(z_of()))
        if tally is None:
            easy = Cases.of(exam.episodes.easy)
            easy_KN, numbers_K = answer(exam.read(exam.episodes.easy)), np.ones(len(gates), bool)
            tally = Tally(easy, np.nan_to_num(easy_KN), judge.level(len(gates)), asked)
        numbers_K &= says_numbers(asked)
        all_gates = [
            (*of_head, own)
            for of_head, own in zip(
                gates, competent(easy_KN, easy, judge.competent, numbers_K), strict=True
            )
        ]
        tally.take(part.bench, asked.map(np.nan_to_num))
        evidence = tally.evidence
        for k in np.flatnonzero(sure_after == 0).tolist():
            sure_after[k] = tally.episodes * judge.sure(all_gates[k], at(evidence, k))
        if all(sure_after):
            break
    assert tally is not None
    verdicts = tuple(judge.verdict(of_head, at(evidence, k)) for k, of_head in enumerate(all_gates))
    return Judgement(
        verdicts,
        tuple(all_gates),
        evidence,
        tuple(np.where(sure_after, sure_after, tally.episodes).tolist()),
        len(exam.episodes.disputed),
    )


class Tally:
    """What was found so far of K heads: a bet on each figure that the rule asks for.

    Args:
        easy: all held-out easy episodes, and below what the heads say of them.
        level: of each interval.
        asked: anything with an entry for each question that can be asked.
    """

    def __init__(self, easy: Cases, easy_KN: Scores, level: float, asked: Asked[Scores]) -> None:
        heads = len(easy_KN)
        self.level, self.easy, self.easy_KN = level, easy, easy_KN
        self.disputed: list[tuple[Cases, Scores]] = []
        self.follows, self.ranks = Bets(heads, level), Bets(heads, level)
        self.twins = [
            Bets(heads, level, low=-1.0) for _ in range(2 * (asked.concept_twins is not None))
        ]
        self.swaps = [Bets(heads, level, low=-1.0) for _ in range(6 * (asked.swapped is not None))]
        self.ranks_easy_K = auroc(easy_KN, easy.concept_N, easy.cluster_N, level).value

    @property
    def episodes(self) -> int:
        """Disputed episodes so far."""
        return sum(len(cases) for cases, _ in self.disputed)

    def take(self, bench: Bench, answers: Answers) -> None:
        """Adds what the heads said in one turn."""
        cases, said_KN = bench.disputed, answers.disputed
        self.disputed.append((cases, said_KN))
        self.follows.take(by_cluster(says(said_KN, cases.concept_N), cases.cluster_N))
        self.ranks.take(pairs(said_KN, cases.concept_N, cases.cluster_N))
        for bets, value_KP in zip(self.twins, _twin_changes(bench, answers), strict=True):
            bets.take(value_KP)
        for bets, turned_KP in zip(
            self.swaps, turned(bench, answers) if self.swaps else [], strict=True
        ):
            bets.take(turned_KP.astype(np.float64))

    @property
    def evidence(self) -> Evidence:
        """What the bets say of each figure now."""
        concept_N, human_N = (
            np.concatenate([getattr(cases, name) for cases, _ in self.disputed])
            for name in ("concept_N", "human_N")
        )
        said_KN = np.concatenate([said for _, said in self.disputed], axis=1)
        of_both = given_human(self.easy_KN, said_KN, self.easy.concept_N, concept_N, human_N)
        episodes_K = np.full(len(said_KN), said_KN.shape[1])
        twins, swaps = (
            [bets.estimate for bets in self.twins],
            [bets.estimate for bets in self.swaps],
        )
        return Evidence(
            Behaviour(
                self.ranks.estimate, self.follows.estimate, of_both, self.ranks_easy_K, episodes_K
            ),
            Effects(*twins) if twins else None,
            (
                Interchange(swaps[0], swaps[1], larger(swaps[2], swaps[3]), swaps[4], swaps[5])
                if swaps
                else None
            ),
            None,
            self.level,
        )


def _twin_changes(bench: Bench, answers: Answers) -> list[Floats]:
    def change(pair: Pair, said: Both[Scores]) -> Floats:
        return by_cluster(changes(*said), pair.first.cluster_N)

    both = ((bench.concept_twins, answers.concept_twins), (bench.human_twins, answers.human_twins))
    return [change(pair, said) for pair, said in both if pair and said]
