"""Judging in turns: for predictors whose reading is expensive, the judge looks after every few
episodes and stops when it is sure.

K: heads, N: episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from verdict.evaluation import Evaluation
from verdict.evidence.evidence import Observations, Tally
from verdict.gates import Gate, build_own_gates, count_numbers
from verdict.ground_truth import Cases, Scores
from verdict.inputs import Answers, evaluate, join_inputs
from verdict.judge import Judge, select_findings
from verdict.verdict import Judgement


def judge_in_turns(
    judge: Judge,
    evaluation: Evaluation,
    answer: Callable[[Tensor], Scores],
    gates: Sequence[Sequence[Gate]],
) -> Judgement:
    """Returns verdicts on K heads after as many turns of judge.turn disputed episodes as it took to
    be sure of each, or after all.

    Intervals are anytime-valid (`verdict.betting`): looking often makes them wider, and never
    wrong. Easy episodes are all read first; twins and swaps come in shares like those of the
    disputed episodes. Kinds of evidence without a tally are left out. Where offsets shift, the
    thresholds of a turn are found on the disputed episodes up to its end, and intervals do not
    cover that choice.

    Args:
        answer: from activations z_NLD to the log-odds of K heads, in nats.
        gates: of each head, those that do not depend on its answers.
    """
    assert judge.turn is not None
    easy = Cases.of(evaluation.episodes.easy)
    easy_KN = answer(evaluation.easy_NLD)
    tallies = begin_tallies(judge, easy, np.nan_to_num(easy_KN), judge.level)
    inputs = join_inputs(judge.evidence[name].inputs for name in tallies)
    numbers_K = np.ones(len(gates))
    sure_after_K = np.zeros(len(gates), np.int64)
    episodes = 0
    seen: list[Scores] = []
    for turn in evaluation.split_into_turns(judge.turn):
        answers = Answers(evaluate(inputs, turn, answer))
        numbers_K = np.minimum(numbers_K, count_numbers(answers, judge.deciding_inputs))
        own_gates = build_own_gates(easy_KN, easy, judge.competent, numbers_K)
        all_gates = [(*of_head, *own) for of_head, own in zip(gates, own_gates, strict=True)]
        answers = answers.to_numbers()
        seen.append(answers.disputed)
        answers = judge.place_thresholds(answers, turn.truth, np.concatenate(seen, axis=1))
        observations = Observations(turn.truth, answers, gates, judge.level)
        for tally in tallies.values():
            tally.take(observations)
        episodes += len(turn.truth.disputed)
        findings = {
            name: tallies[name].finding if name in tallies else None for name in judge.evidence
        }
        for k in np.flatnonzero(sure_after_K == 0).tolist():
            if judge.is_sure(all_gates[k], select_findings(findings, k)):
                sure_after_K[k] = episodes
        if sure_after_K.all():
            break
    sure_after_K[sure_after_K == 0] = episodes
    disputed = len(evaluation.episodes.disputed)
    return judge.conclude(all_gates, findings, sure_after_K.tolist(), disputed)


def begin_tallies(judge: Judge, easy: Cases, easy_KN: Scores, level: float) -> dict[str, Tally]:
    """Returns an empty tally for each kind of evidence that is found in turns."""
    tallies = {}
    for name, kind in judge.evidence.items():
        tally = kind.begin_tally(easy, easy_KN, level)
        if tally is not None:
            tallies[name] = tally
    return tallies
