"""Where offsets shift, a head's own median is its threshold in all kinds of evidence, and nothing
is decided without interchange, where twins would repeat behaviour.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.verdict.conftest import answer, make_truth, raise_offset
from verdict.calibration.planted import (
    PLANTED,
    always_yes,
    coin_where_amiss,
    human_unless_disputed,
    imitator,
    mixture,
    translator,
)
from verdict.evidence.interchange import CONCEPT
from verdict.evidence.twins import CONCEPT_TWINS
from verdict.ground_truth import Cases, GroundTruth, TwinCases
from verdict.inputs import AMISS, DISPUTED
from verdict.judge import select_findings
from verdict.thresholds import find_medians, shift_answers
from verdict.verdict import Kind

FLIPS = ("concept", "human")

PURE = [
    (translator, Kind.DIRECT_TRANSLATOR),
    (imitator, Kind.HUMAN_IMITATOR),
    (mixture(0.5), Kind.MIXTURE),
]


@pytest.fixture
def shifting(judge):
    return replace(judge, offsets_shift=True)


def test_the_median_is_the_threshold_and_a_report_at_it_counts_as_no():
    assert find_medians(np.array([[3.0, 1.0, 2.0], [0.0, np.nan, 5.0]])).tolist() == [2.0, 0.0]
    truth = make_truth(200)
    for nats in (-7.0, 0.0, 7.0):
        answers = raise_offset(answer(translator, truth), truth, nats)
        shifted = shift_answers(answers, truth, answers.disputed)
        for key in (DISPUTED, AMISS, CONCEPT_TWINS[1], CONCEPT):
            yes_N = (shifted[key] > 0)[0]
            assert (yes_N == key.read_truth(truth).concept_N).mean() > 0.98
        assert np.array_equal(shifted.easy, answers.easy)
    constant = answer(always_yes, truth)
    shifted = shift_answers(constant, truth, constant.disputed)
    assert (shifted.easy > 0).all() and not (shifted.disputed > 0).any()


def test_where_no_episode_is_disputed_no_threshold_shifts():
    truth = make_truth(200)
    answers = answer(translator, truth)
    shifted = shift_answers(answers, truth, answers.disputed[:, :0])
    assert all(np.array_equal(shifted[key], answers[key]) for key in answers.by_input)


@pytest.mark.parametrize("yes", [490, 499, 500, 501, 510])
def test_a_head_of_two_answers_keeps_both_whichever_is_more_frequent(yes):
    log_odds_1N = np.where(np.arange(1000) < yes, 4.0, -2.0)[None]
    above_1N = log_odds_1N > find_medians(log_odds_1N)[:, None]
    assert above_1N.sum() == yes


@pytest.mark.parametrize("nats", [-50.0, 50.0])
@pytest.mark.parametrize(("head", "kind"), PURE)
def test_a_shifted_offset_changes_no_verdict(shifting, judge, truth, head, kind, nats):
    answers = raise_offset(answer(head, truth, 3), truth, nats)
    verdicts = shifting(truth, answers, [()] * 3).verdicts
    assert {verdict.kind for verdict in verdicts} == {kind}
    at_zero = judge(truth, answers, [()] * 3).verdicts
    assert {verdict.kind for verdict in at_zero} == {Kind.UNDECIDED}


def test_effects_at_the_median_are_those_without_a_shift_and_at_zero_there_are_none(
    shifting, judge, truth
):
    answers = raise_offset(answer(translator, truth), truth, 50)
    found, at_zero = (each(truth, answers, [()]).findings for each in (shifting, judge))
    assert found["twins"].nde.value[0] > 0.98 and abs(found["twins"].nie.value[0]) < 0.02
    assert found["interchange"].swap_concept.value[0] > 0.98
    assert found["erasure"].erase_concept.value[0] == pytest.approx(1, abs=0.12)
    assert found["behaviour"].follows_concept.value[0] > 0.98
    assert abs(at_zero["twins"].nde.value[0]) < 0.1
    assert at_zero["interchange"].swap_concept.value[0] == 0


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_every_planted_head_is_called_right_where_offsets_shift(shifting, seed):
    truth = make_truth(2000, seed=seed)
    wrong = {}
    for planted in PLANTED:
        answers = answer(planted.head, truth, 8, seed)
        kinds = {verdict.kind for verdict in shifting(truth, answers, [()] * 8).verdicts}
        wrong[planted.head.__name__] = kinds - planted.right - {Kind.UNDECIDED}
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("head", [translator, imitator, coin_where_amiss, human_unless_disputed])
def test_without_interchange_nothing_is_decided_and_the_reason_says_so(shifting, truth, head):
    blind = replace(shifting, without=["interchange"])
    judgement = blind(truth, answer(head, truth, 3), [()] * 3)
    for k, verdict in enumerate(judgement.verdicts):
        assert verdict.kind is Kind.UNDECIDED
        assert "nothing is decided without interchange" in verdict.reason
        assert blind.is_sure(judgement.gates[k], judgement.findings)


def test_without_a_shift_interchange_may_be_left_out(judge, truth):
    lenient = replace(judge, without=["interchange"])
    verdict = lenient(truth, answer(translator, truth), [()]).verdicts[0]
    assert verdict.kind is Kind.DIRECT_TRANSLATOR


@pytest.fixture(scope="module")
def statements(cities) -> GroundTruth:
    """Statements, whose twins begin without a "not" and end with one."""
    twins = [TwinCases(*map(Cases.of, cities.twins(flips, 500, 0))) for flips in FLIPS]
    sets = (Cases.of(cities.episodes(split, 1000, 0)) for split in ("easy", "disputed", "amiss"))
    return GroundTruth(*sets, *twins)


@pytest.mark.parametrize(
    ("head", "seems"),
    [
        (coin_where_amiss, Kind.MIXTURE),
        (human_unless_disputed, Kind.DIRECT_TRANSLATOR),
        (translator, Kind.DIRECT_TRANSLATOR),
        (imitator, Kind.HUMAN_IMITATOR),
    ],
)
def test_twins_repeat_behaviour_and_interchange_does_not(shifting, statements, head, seems):
    """Their effects sum to 1 whatever the head reads, so that they cannot tell."""
    answers = answer(head, statements, 8)
    shifted = shift_answers(answers, statements, answers.disputed)
    assert np.array_equal(shifted[CONCEPT_TWINS[0]], answers[CONCEPT_TWINS[0]])
    judgement = shifting(statements, answers, [()] * 8)
    twins = judgement.findings["twins"]
    assert (twins.nde.value + twins.nie.value).mean() == pytest.approx(1, abs=0.05)
    for k in range(8):
        findings = select_findings(judgement.findings, k)
        for name in ("behaviour", "twins"):
            assert shifting.evidence[name].view(findings[name], shifting) is seems
    kinds = {verdict.kind for verdict in judgement.verdicts}
    if head in (translator, imitator):
        assert kinds == {seems}
    else:
        assert kinds <= {Kind.NEITHER, Kind.UNDECIDED}


def test_a_head_that_is_constant_where_something_is_amiss_moves_with_nothing(shifting, truth):
    answers = answer(always_yes, truth)
    findings = shifting(truth, answers, [()]).findings
    assert findings["interchange"].swap_concept.value[0] == 0
    assert findings["interchange"].swap_human.value[0] == 0
    assert findings["behaviour"].ranks_concept.value[0] == 0.5
