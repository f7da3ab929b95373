"""The judge calls planted heads what they are, and calls nothing where it cannot know."""

from dataclasses import replace

import numpy as np
import pytest

from tests.verdict.conftest import make_bench
from verdict.cases import Answers, Bench, PairAnswers
from verdict.gates import Gate
from verdict.judge import Judge, Kind
from verdict.planted import PLANTED, answers, confusion, half_and_half, imitator, tamper_detector, translator


@pytest.mark.parametrize("human", ["last_frame", "careful"])
@pytest.mark.parametrize(("head", "truth"), PLANTED)
def test_every_planted_head_is_called_right_at_every_seed(judge, head, truth, human):
    for seed in range(3):
        bench = make_bench(2000, human, seed)
        verdicts = judge(bench, answers(head, bench, 20, seed), ()).verdicts
        assert {verdict.kind for verdict in verdicts} == {truth}


def test_a_tamper_detector_is_no_translator_though_it_is_right_on_easy_episodes(judge, bench):
    judgement = judge(bench, answers(tamper_detector, bench, 5, 0), ())
    assert all(gate.passed for gate in judgement.competent)
    assert {verdict.kind for verdict in judgement.verdicts} == {Kind.NEITHER}


def test_a_failed_gate_leaves_even_a_translator_undecided_and_is_named(judge, bench):
    gate = Gate("knows", 0.5, 0.95, "Train it for longer.")
    verdict = judge(bench, answers(translator, bench, 1, 0), (gate,)).verdicts[0]
    assert verdict.kind is Kind.UNDECIDED
    assert "knows 0.500" in verdict.reason
    assert "Train it for longer." in verdict.reason


def test_no_verdict_where_power_is_lacking(judge):
    small = make_bench(60)
    verdicts = judge(small, answers(half_and_half, small, 20, 0), ()).verdicts
    assert {verdict.kind for verdict in verdicts} <= {Kind.UNDECIDED, Kind.MIXTURE}
    assert Kind.UNDECIDED in {verdict.kind for verdict in verdicts}


def test_no_verdict_without_twins(judge, bench):
    without = Bench(bench.easy, bench.disputed, None, None)
    verdict = judge(without, answers(translator, without, 1, 0), ()).verdicts[0]
    assert verdict.kind is Kind.UNDECIDED
    assert "no twins" in verdict.reason


def test_kinds_of_evidence_that_disagree_give_no_verdict(judge, bench):
    says_x, says_h = answers(translator, bench, 1, 0), answers(imitator, bench, 1, 0)
    mixed = Answers(says_x.easy_KN, says_x.disputed_KN, says_h.concept_twins, says_h.human_twins)
    verdict = judge(bench, mixed, ()).verdicts[0]
    assert verdict.kind is Kind.UNDECIDED
    assert "behaviour looks like direct_translator, twins like human_imitator" in verdict.reason


def test_a_head_that_says_no_number_is_not_competent(judge, bench):
    said = answers(translator, bench, 2, 0)
    said.easy_KN[0, 3] = np.nan
    said.disputed_KN[0, 3] = np.nan
    broken, whole = judge(bench, said, ()).verdicts
    assert broken.kind is Kind.UNDECIDED
    assert "competent 0.000" in broken.reason
    assert whole.kind is Kind.DIRECT_TRANSLATOR


def test_where_offsets_shift_the_ranking_decides_and_the_disagreement_is_told(judge, bench):
    said = answers(translator, bench, 1, 0)
    shifted = replace(said, disputed_KN=said.disputed_KN + 100)
    assert judge(bench, shifted, ()).verdicts[0].kind is Kind.UNDECIDED
    assert replace(judge, offsets_shift=True)(bench, shifted, ()).verdicts[0].kind is Kind.DIRECT_TRANSLATOR


def test_intervals_widen_with_the_number_of_heads_judged(judge, bench):
    one, many = (judge(bench, answers(half_and_half, bench, 1, 0), (), heads).behaviour.follows_concept for heads in (1, 1000))
    assert many.high[0] - many.low[0] > 1.5 * (one.high[0] - one.low[0])


def test_effects_of_analytic_heads_are_exact(judge, bench):
    for head, expected in ((translator, (1.0, 0.0)), (imitator, (0.0, 1.0)), (tamper_detector, (0.0, 0.0))):
        effects = judge(bench, answers(head, bench, 1, 0), ()).effects
        assert (effects.nde.value[0], effects.nie.value[0]) == expected


def test_confusion_counts_every_copy_once(judge, bench):
    called = confusion(judge, bench, judged_heads=7, seeds=3)
    assert sum(row.copies for row in called) == 3 * len(PLANTED)


def test_a_constant_head_is_competent_nowhere(judge: Judge, bench):
    n = {name: len(cases) for name, cases in (("easy", bench.easy), ("disputed", bench.disputed))}
    twins = [PairAnswers(np.ones((1, len(pair.first))), np.ones((1, len(pair.first)))) for pair in (bench.concept_twins, bench.human_twins)]
    judgement = judge(bench, Answers(np.ones((1, n["easy"])), np.ones((1, n["disputed"])), *twins), ())
    assert judgement.verdicts[0].kind is Kind.UNDECIDED
    assert judgement.behaviour.ranks_concept.value[0] == 0.5
