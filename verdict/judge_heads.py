"""Judging finished heads: their answers, the gates of each, and the judge."""

from __future__ import annotations

from torch import Tensor

from training.heads import Heads
from verdict.cases import Scores
from verdict.evidence.access import of_deeper_heads
from verdict.exam import Exam
from verdict.judge import Judge
from verdict.sequential import judge_in_turns
from verdict.verdict import Judgement


def judge_heads(judge: Judge, heads: Heads, exam: Exam) -> Judgement:
    """Returns the verdicts on finished heads, each under the gates of its predictor and of the
    deepest level that it reads.
    """
    deepest = [max(levels) for levels, _, _ in heads.table]
    gates = judge.gates(exam.examined.knowledge, exam.bench.disputed, deepest)

    def answer(z_NLD: Tensor) -> Scores:
        return heads.read(z_NLD).log_odds_KN.double().numpy()

    if judge.turn is not None:
        return judge_in_turns(judge, exam, answer, gates)
    answers = exam.questions.map(lambda z_of: answer(z_of()))
    return judge(exam.bench, of_deeper_heads(answers, deepest, exam.written), gates)
