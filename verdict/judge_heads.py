"""Judging finished heads: their answers, the gates of each, and the judge.

K: heads, N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from training.heads import Heads
from verdict.evaluation import Evaluation
from verdict.gates import explain_undecidable
from verdict.ground_truth import Scores
from verdict.inputs import Answers, evaluate
from verdict.judge import Judge
from verdict.sequential import judge_in_turns
from verdict.verdict import Judgement
from verdict.without_comparison import judge_without_comparison


def judge_heads(judge: Judge, heads: Heads, evaluation: Evaluation) -> Judgement:
    """Returns the verdicts on finished heads, each under the gates of its predictor and of the
    deepest level that it reads.
    """
    deepest = [max(levels) for levels, _, _ in heads.table]
    knowledge, disputed = evaluation.predictor_report.knowledge, evaluation.truth.disputed

    def answer(z_NLD: Tensor) -> Scores:
        return heads.read(z_NLD).log_odds_KN.double().numpy()

    if not evaluation.world.compares:
        return judge_without_comparison(judge, evaluation, answer)
    undecidable = explain_undecidable(evaluation.world, evaluation.truth)
    gates = judge.build_gates(knowledge, disputed, deepest, undecidable)
    if judge.turn is not None:
        return judge_in_turns(judge, evaluation, answer, gates)
    answers = Answers(evaluate(judge.inputs, evaluation, answer))
    answers = mask_shallow_heads(answers, deepest, evaluation.written_level)
    return judge(evaluation.truth, answers, gates)


def mask_shallow_heads(answers: Answers, deepest: Sequence[int], written: int | None) -> Answers:
    """Returns the answers with NaN after a write at a level for the heads that read nothing deeper:
    such an input cannot change what they read.

    Args:
        deepest: the deepest level that each of the K heads reads.
        written: the level that was written; None for no write.
    """
    if written is None:
        return answers
    deeper_K1 = np.array(deepest)[:, None] > written
    masked = {}
    for key, log_odds_KN in answers.by_input.items():
        if key.after_write:
            masked[key] = np.where(deeper_K1, log_odds_KN, np.nan)
    return answers.replace(masked)
