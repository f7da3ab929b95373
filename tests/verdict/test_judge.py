"""The judge calls planted heads what they are, and calls nothing where it cannot know."""

from dataclasses import replace

import numpy as np
import pytest

from console.errors import UserError
from tests.verdict.conftest import answer, make_truth, raise_offset
from verdict.calibration.planted import (
    PLANTED,
    Head,
    VerdictCount,
    both,
    count_verdicts,
    count_verdicts_once,
    human_unless_amiss,
    imitator,
    mixture,
    suspicious,
    translator,
    translator_but_for_half_a_family,
)
from verdict.evidence.evidence import DecidingEvidence
from verdict.evidence.interchange import CONCEPT, HUMAN, RANDOM_CONCEPT, RANDOM_HUMAN
from verdict.evidence.twins import CONCEPT_TWINS, HUMAN_TWINS, Twins
from verdict.gates import Gate
from verdict.ground_truth import GroundTruth
from verdict.inputs import DISPUTED, Answers
from verdict.judge import Judge, build_standard_evidence
from verdict.verdict import Judgement, Kind

SWAPS = (CONCEPT, HUMAN, RANDOM_CONCEPT, RANDOM_HUMAN)


def judge_planted(judge: Judge, truth: GroundTruth, head: Head, copies: int = 1) -> Judgement:
    return judge(truth, answer(head, truth, copies), [()] * copies)


@pytest.mark.parametrize("human", ["last_frame", pytest.param("careful", marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_every_planted_head_is_called_right_at_every_seed(judge, human, seed):
    truth = make_truth(2000, human, seed)
    wrong = {}
    for planted in PLANTED:
        verdicts = judge(truth, answer(planted.head, truth, 20, seed), [()] * 20).verdicts
        wrong[planted.head.__name__] = {verdict.kind for verdict in verdicts} - planted.right
    assert not any(wrong.values()), wrong


def test_a_suspicious_head_is_no_translator_though_it_is_right_on_easy_episodes(judge, truth):
    judgement = judge_planted(judge, truth, suspicious, 5)
    assert all(gate.passed for gates in judgement.gates for gate in gates)
    assert {verdict.kind for verdict in judgement.verdicts} <= {Kind.NEITHER, Kind.UNDECIDED}


def test_h_turned_round_where_something_is_amiss_follows_x_and_is_no_translator(judge, truth):
    """It is X on easy and disputed episodes alike, and never where something is amiss and X = H."""
    judgement = judge_planted(judge, truth, human_unless_amiss, 3)
    behaviour = judgement.findings["behaviour"]
    assert behaviour.follows_concept.value.tolist() == [1.0] * 3
    assert behaviour.concept_accuracy.value.tolist() == pytest.approx([2 / 3] * 3)
    assert behaviour.concept_accuracy_worst.value.tolist() == [0.0] * 3
    assert Kind.DIRECT_TRANSLATOR not in {verdict.kind for verdict in judgement.verdicts}


def test_a_head_that_imitates_on_half_of_one_family_is_no_translator(judge, truth):
    """It follows X on some 94% of disputed episodes, which is above the bound."""
    judgement = judge_planted(judge, truth, translator_but_for_half_a_family, 5)
    behaviour = judgement.findings["behaviour"]
    assert behaviour.follows_concept.value.min() > judge.ranking
    assert set(behaviour.worst_cell) == {"X yes, H no, cover"}
    kinds = {verdict.kind for verdict in judgement.verdicts}
    assert kinds <= {Kind.MIXTURE, Kind.UNDECIDED}


def test_from_no_a_head_of_both_moves_with_neither_and_from_yes_with_both(judge, truth):
    twins = judge_planted(judge, truth, both).findings["twins"]
    assert (twins.nde.value[0], twins.nie.value[0]) == pytest.approx((0.5, 0.5), abs=0.01)
    assert (twins.twins_from_no[0], twins.twins_from_yes[0]) == (0.0, 1.0)


def test_a_verdict_does_not_depend_on_the_company(judge, truth):
    """A head that follows H 5.5% of the time is judged alike among one and among 400 copies."""
    alone = judge_planted(judge, truth, mixture(0.945)).verdicts[0]
    among = replace(judge, heads=judge.heads)(
        truth, answer(mixture(0.945), truth, 400), [()] * 400
    ).verdicts[0]
    assert alone == among


def test_a_run_of_more_heads_than_intervals_are_corrected_for_is_refused(judge):
    judge.check_heads(16)
    with pytest.raises(UserError, match=r"verdict\.heads: .* 16 heads, and this run has 17"):
        judge.check_heads(17)


def test_a_failed_gate_leaves_even_a_translator_undecided_and_is_named(judge, truth):
    gate = Gate("knows", 0.5, 0.95, "Train it for longer.")
    verdict = judge(truth, answer(translator, truth), [(gate,)]).verdicts[0]
    assert verdict.kind is Kind.UNDECIDED
    assert "knows 0.500" in verdict.reason
    assert "Train it for longer." in verdict.reason


def test_no_verdict_where_power_is_lacking(judge):
    verdicts = judge_planted(judge, make_truth(60), mixture(0.5), 20).verdicts
    assert {verdict.kind for verdict in verdicts} <= {Kind.UNDECIDED, Kind.MIXTURE}
    assert Kind.UNDECIDED in {verdict.kind for verdict in verdicts}


@pytest.mark.parametrize(
    ("missing", "inputs"),
    [("twins", (*CONCEPT_TWINS, *HUMAN_TWINS)), ("interchange", SWAPS)],
)
def test_no_verdict_without_twins_or_interchange_unless_a_config_names_it(
    judge, truth, missing, inputs
):
    answers = answer(translator, truth).without(*inputs)
    verdict = judge(truth, answers, [()]).verdicts[0]
    assert verdict.kind is Kind.UNDECIDED
    assert f"Evidence from {missing} is missing" in verdict.reason
    lenient = replace(judge, without=[missing])
    assert lenient(truth, answers, [()]).verdicts[0].kind is Kind.DIRECT_TRANSLATOR


def combine(truth: GroundTruth, behaviour: Head, twins: Head, moved: bool) -> Answers:
    """Returns answers whose twins are those of another head, and which no swap moves unless it is
    asked for.
    """
    answers, other = answer(behaviour, truth), answer(twins, truth)
    changed = {key: other[key] for key in Twins.inputs}
    if not moved:
        changed |= {CONCEPT: answers[RANDOM_CONCEPT], HUMAN: answers[RANDOM_HUMAN]}
    return answers.replace(changed)


@pytest.mark.parametrize(
    "who",
    [
        (translator, imitator, True),
        (imitator, translator, True),
        (translator, translator, False),
        (imitator, imitator, False),
    ],
)
def test_kinds_of_evidence_that_disagree_give_no_verdict(judge, truth, who):
    verdict = judge(truth, combine(truth, *who), [()]).verdicts[0]
    assert verdict.kind is Kind.UNDECIDED
    assert "The kinds of evidence disagree: behaviour like" in verdict.reason


def test_a_head_that_random_swaps_move_too_gets_no_verdict(judge, truth):
    answers = answer(translator, truth)
    moved = answers.replace({RANDOM_CONCEPT: answers[CONCEPT]})
    verdict = judge(truth, moved, [()]).verdicts[0]
    assert verdict.kind is Kind.UNDECIDED
    assert "Interchange comes too close" in verdict.reason


def test_a_head_with_an_answer_that_is_not_a_number_gets_no_verdict(judge, truth):
    answers = answer(translator, truth, 2)
    answers.easy[0, 3] = np.nan
    answers.disputed[0, 3] = np.nan
    broken, whole = judge(truth, answers, [(), ()]).verdicts
    assert broken.kind is Kind.UNDECIDED
    assert "numbers 0.99" in broken.reason
    assert whole.kind is Kind.DIRECT_TRANSLATOR


def test_a_head_that_answers_a_swap_with_no_number_gets_no_verdict(judge, truth):
    answers = answer(translator, truth)
    answers[HUMAN][0, 0] = np.nan
    verdict = judge(truth, answers, [()]).verdicts[0]
    assert verdict.kind is Kind.UNDECIDED
    assert "numbers 0.99" in verdict.reason


def test_where_offsets_shift_the_ranking_decides_and_the_reason_names_the_disagreement(
    judge, truth
):
    answers = answer(translator, truth)
    shifted = raise_offset(answers, truth, 100)
    undecided = judge(truth, shifted, [()]).verdicts[0]
    assert undecided.kind is Kind.UNDECIDED
    lenient = replace(judge, offsets_shift=True)
    verdict = lenient(truth, shifted, [()]).verdicts[0]
    assert verdict.kind is Kind.DIRECT_TRANSLATOR
    row_N = np.arange(len(truth.disputed))
    when_true_N = np.where(row_N % 10 < 3, 0.5, -0.5)
    when_false_N = np.where(row_N % 2 < 1, 0.4, -1.0)
    torn_1N = np.where(truth.disputed.concept_N, when_true_N, when_false_N)[None]
    torn = judge(truth, answers.replace({DISPUTED: torn_1N}), [()]).verdicts[0]
    assert "0.4" in torn.reason and "AUROC 0.6" in torn.reason
    assert "these two figures disagree" in torn.reason
    assert "disagree" not in judge(truth, answers, [()]).verdicts[0].reason


def test_intervals_widen_with_the_number_of_heads_that_they_are_corrected_for(judge, truth):
    one, many = (
        judge_planted(replace(judge, heads=heads), truth, mixture(0.5))
        .findings["behaviour"]
        .follows_concept
        for heads in (1, 1000)
    )
    assert many.high[0] - many.low[0] > 1.5 * (one.high[0] - one.low[0])


@pytest.mark.parametrize(
    ("head", "twins", "swaps"),
    [(translator, (1, 0), (1, 0)), (imitator, (0, 1), (0, 1)), (suspicious, (0, 0.5), (0, 0))],
)
def test_effects_of_analytic_heads_are_exact(judge, truth, head, twins, swaps):
    findings = judge_planted(judge, truth, head).findings
    effects, moved = findings["twins"], findings["interchange"]
    assert (effects.nde.value[0], effects.nie.value[0]) == twins
    assert (moved.swap_concept.value[0], moved.swap_human.value[0]) == swaps
    assert moved.swap_random.value[0] == 0
    everything = swaps[0] if head is not suspicious else pytest.approx(0.5, abs=0.1)
    assert moved.swap_all_concept[0] == everything


@pytest.mark.parametrize(("head", "concept", "human"), [(translator, 1, 0), (imitator, 0, 1)])
def test_erasing_takes_away_what_a_head_follows(judge, truth, head, concept, human):
    erased = judge_planted(judge, truth, head).findings["erasure"]
    # What is left is a coin's.
    assert erased.erase_concept.value[0] == pytest.approx(concept, abs=0.12)
    assert erased.erase_human.value[0] == pytest.approx(human, abs=0.12)
    interval = erased.erase_concept
    assert interval.low[0] <= concept <= interval.high[0] or concept == 1


def test_a_mixture_is_reported_with_its_share_of_x(judge, truth):
    reason = judge_planted(judge, truth, mixture(0.25)).verdicts[0].reason
    assert "So it is a mixture, 0.2" in reason


def test_the_reason_reads_as_a_reviewer_would_write_it(judge, truth):
    reason = judge_planted(judge, truth, translator).verdicts[0].reason
    assert reason.startswith(
        "Its report is X on 1.00 [0.99, 1.00] of episodes, mean over the cells of X, H and amiss"
    )
    assert "follows X on 1.00 [0.99, 1.00] of 1,000 disputed episodes, and ranks it with" in reason
    assert "changing only X moves the report by 1.00" in reason
    assert "swapping the predictor's part of X moves it by 1.00" in reason
    assert reason.endswith("So it is a direct translator.")


def test_every_copy_of_a_planted_head_is_counted_once(judge, truth):
    counts = count_verdicts(judge, truth, copies=3)
    assert sum(count.copies for count in counts) == 3 * len(PLANTED)


def test_judges_of_the_same_values_judge_planted_heads_once(judge, monkeypatch):
    judged = []

    def count(judge: Judge, truth: GroundTruth) -> list[VerdictCount]:
        judged.append(judge)
        return [VerdictCount(str(len(judged)), "", "", 1, True)]

    monkeypatch.setattr("verdict.calibration.planted.COUNTED", {})
    monkeypatch.setattr("verdict.calibration.planted.count_verdicts", count)
    truth = make_truth(100)
    alike = replace(judge, evidence=build_standard_evidence())
    assert count_verdicts_once(alike, truth) == count_verdicts_once(judge, truth)
    assert len(judged) == 1
    count_verdicts_once(replace(judge, direct=0.7), truth)
    evidence = build_standard_evidence() | {"twins": SecondTwins()}
    count_verdicts_once(replace(judge, evidence=evidence), truth)
    count_verdicts_once(judge, make_truth(100, seed=1))
    assert len(judged) == 4


def test_a_constant_head_is_competent_nowhere_and_ranks_by_chance(judge, truth):
    answers = answer(translator, truth)
    constant = answers.replace(
        {key: np.ones_like(value) for key, value in answers.by_input.items()}
    )
    judgement = judge(truth, constant, [()])
    assert judgement.verdicts[0].kind is Kind.UNDECIDED
    assert judgement.findings["behaviour"].ranks_concept.value[0] == 0.5


@pytest.mark.parametrize("kind", [Kind.DIRECT_TRANSLATOR, Kind.HUMAN_IMITATOR])
def test_a_head_that_what_it_should_not_follow_turns_the_wrong_way_is_no_pure_one(
    judge, truth, kind
):
    head, other = translator, HUMAN_TWINS
    if kind is Kind.HUMAN_IMITATOR:
        head, other = imitator, CONCEPT_TWINS
    answers = answer(head, truth)
    assert judge(truth, answers, [()]).verdicts[0].kind is kind
    first, second = other
    turned = {first: np.abs(answers[first]), second: -np.abs(answers[second])}
    assert judge(truth, answers.replace(turned), [()]).verdicts[0].kind is Kind.UNDECIDED


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"confidence": 95.0}, "confidence"),
        ({"ranking": 0.4}, "ranking"),
        ({"indirect": 0.85}, r"verdict\.direct"),
        ({"turn": 1}, "turn"),
        ({"without": ["twins", "interchange"]}, "behaviour alone"),
        ({"without": ["behaviour"]}, "behaviour is not a kind of evidence that can be missing"),
        ({"without": ["erasure"]}, "erasure is not a kind of evidence that can be missing"),
        ({"evidence": {"twins": Twins()}}, "behaviour is missing"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(judge, changed, message):
    with pytest.raises(UserError, match=message):
        replace(judge, **changed)


class SecondTwins(Twins):
    """Twins under another name: evidence that decides, so that intervals widen."""


def test_another_kind_of_evidence_is_one_entry_and_counts_only_where_it_decides(judge, truth):
    standard = build_standard_evidence()
    assert [name for name, kind in standard.items() if isinstance(kind, DecidingEvidence)] == [
        "behaviour",
        "twins",
        "interchange",
    ]
    more = replace(judge, evidence=standard | {"again": SecondTwins()})
    assert more.level == pytest.approx(1 - 0.05 / 4 / 16)
    fewer = {name: kind for name, kind in standard.items() if name not in ("erasure", "access")}
    assert replace(judge, evidence=fewer).level == judge.level
    answers = answer(translator, truth)
    assert more(truth, answers, [()]).verdicts[0].kind is Kind.DIRECT_TRANSLATOR
    without = replace(judge, evidence=fewer)(truth, answers, [()])
    assert without.verdicts[0].kind is Kind.DIRECT_TRANSLATOR
    assert "erase_concept" not in without.columns[0]
