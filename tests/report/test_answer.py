"""The answer claims planted differences, and claims nothing where there are none."""

import numpy as np
import pandas as pd
import pytest

from report.answer import compose_answer
from report.comparison import choose_heads
from tests.report.planted_sweeps import heads


def plant(
    shares: dict[str, list[float]], seeds=20, follows=(0.05, 0.95), **figures
) -> pd.DataFrame:
    """Returns matched heads of priors. `shares` holds, for each prior and predictor, the share of
    heads that are translators; the other heads are imitators.
    """
    rng = np.random.default_rng(0)
    frames = []
    for prior, own_shares in shares.items():
        for predictor, share in enumerate(own_shares):
            is_translator = rng.permutation(seeds) < round(share * seeds)
            values = np.where(is_translator, follows[1], follows[0])
            frame = heads(prior, (1.0,), predictor, seeds, values, **figures)
            frames.append(frame.assign(run=f"{prior}{predictor}"))
    return choose_heads(pd.concat(frames, ignore_index=True))


GOOD_AND_BAD = {"good": [0.9, 0.95, 0.9, 0.85], "bad": [0.1, 0.05, 0.1, 0.15]}


def test_a_prior_that_finds_translators_more_often_is_named_with_an_interval_that_holds_the_truth():
    answer = compose_answer(plant(GOOD_AND_BAD))
    assert answer.headline.startswith("good finds translators more often than bad by 0.80 [")
    assert answer.pairs[0].translators.low < 0.8 < answer.pairs[0].translators.high


def test_the_intervals_of_both_claims_hold_together_and_the_scope_says_so():
    shares = {name: [0.5, 0.55, 0.5, 0.45] for name in "abc"}
    scope = compose_answer(plant(shares)).scope
    assert "hold for all 6 differences together (translators and follows X, 3 pairs" in scope
    one = compose_answer(plant({name: shares[name] for name in "ab"}))
    three = compose_answer(plant(shares))
    widths = [
        pair.follows.high - pair.follows.low for answer in (one, three) for pair in answer.pairs
    ]
    assert widths[0] < min(widths[1:])


def test_few_predictors_are_named_as_few():
    few = compose_answer(plant({"a": [0.5] * 4, "b": [0.5] * 4}, seeds=4)).scope
    many = compose_answer(plant({"a": [0.5] * 8, "b": [0.5] * 8}, seeds=4)).scope
    words = "Fewer than 8 predictors can agree by chance: repeat what is claimed on 16."
    assert words in few and words not in many


def test_no_translators_on_four_predictors_still_allow_a_share():
    answer = compose_answer(plant({"a": [0.0] * 4, "b": [0.0] * 4}))
    assert (
        "no head of any prior is judged to be a translator; the intervals allow shares of up to"
        " 7" in answer.headline
    )


def test_no_difference_is_claimed_between_priors_that_are_alike():
    answer = compose_answer(plant({"one": [0.5, 0.55, 0.5, 0.45], "other": [0.45, 0.5, 0.55, 0.5]}))
    assert answer.headline.startswith(
        "No prior is shown to find translators more often than another"
    )
    assert "Heads do not follow X significantly more often" in answer.details[0]


def test_what_holds_on_two_predictors_of_four_is_not_claimed():
    answer = compose_answer(plant({"good": [1.0, 0.0, 1.0, 0.0], "bad": [0.0, 0.0, 0.0, 0.0]}))
    assert answer.headline.startswith("No prior is shown")
    assert not answer.pairs[0].translators.decided


def test_with_one_predictor_the_answer_says_that_it_does_not_generalise():
    answer = compose_answer(plant({"good": [0.9], "bad": [0.1]}))
    assert answer.headline.startswith("On one predictor: good finds translators more often than")
    words = "the intervals cover its head seeds and do not generalise to other predictors"
    assert f"one predictor: {words}" in answer.scope


def test_no_claim_is_made_about_a_prior_whose_heads_failed_a_gate_though_they_follow_x():
    frame = plant(GOOD_AND_BAD)
    is_stopped = frame["prior"] == "good"
    failed_gates = np.where(is_stopped, "competent", "")
    answer = compose_answer(frame.assign(gates_passed=~is_stopped, failed_gates=failed_gates))
    assert "more often" not in answer.headline
    gates = 'of 80 heads, 80 failed the gate "competent"'
    assert f"No claim is made about heads of good (linear): {gates}." in answer.details


def test_the_question_is_not_decided_where_the_predictor_failed_its_gate():
    gates = {"gates_passed": False, "failed_gates": "uses (swap)"}
    answer = compose_answer(plant({"a": [0.9, 0.9], "b": [0.1, 0.1]}, **gates))
    assert answer.headline.startswith("Not decided: under no prior have half of the heads passed")
    assert '80 failed the gate "uses (swap)"' in answer.headline


def test_two_modes_are_reported_for_half_translators_and_half_imitators_and_not_for_one_mode():
    two = compose_answer(plant({"split": [0.5] * 4, "none": [0.0] * 4}))
    sentence = "Heads of split have two modes, 50% near 0.05 and 50% near 0.95"
    assert any(sentence in line for line in two.details)
    one = compose_answer(plant({"middle": [0.5] * 4, "none": [0.0] * 4}, follows=(0.49, 0.51)))
    assert not any("modes" in line for line in one.details)


def test_predictors_that_differ_have_a_sentence_of_their_own_and_are_not_two_modes():
    answer = compose_answer(plant({"mixed": [0.0, 1.0, 0.0, 1.0], "none": [0.0] * 4}))
    sentence = (
        "Predictors differ, more than seeds of heads explain, in how often heads follow X under"
        " mixed (means of 4 predictors from 0.05 to 0.95): a mean over predictors describes none"
        " of them."
    )
    assert sentence in answer.details
    assert not any("two modes" in line for line in answer.details)


def test_the_costs_of_a_prior_are_compared_with_those_without_a_prior():
    frame = plant({"good": GOOD_AND_BAD["good"], "none": GOOD_AND_BAD["bad"]})
    frame.loc[frame["prior"] == "good", "prequential_bits"] = 50.0
    details = compose_answer(frame).details
    assert any("a head of good costs 50 bits (without a prior 100)" in line for line in details)


def test_heads_without_a_prior_that_win_are_not_called_no_prior():
    answer = compose_answer(plant({"none": GOOD_AND_BAD["good"], "bad": GOOD_AND_BAD["bad"]}))
    assert answer.headline.startswith("Training without a prior finds translators more often than")
    assert answer.details[0].startswith("Heads without a prior follow X on a larger share")


def test_priors_are_compared_within_their_reporter_and_named_with_it():
    frames = [plant(GOOD_AND_BAD).assign(reporter=name) for name in ("linear", "mlp")]
    answer = compose_answer(pd.concat(frames))
    assert {pair.reporter for pair in answer.pairs} == {"linear", "mlp"}
    assert len(answer.pairs) == 2
    assert "good (mlp) finds translators" in answer.headline
    assert "good (linear) finds" in answer.headline


@pytest.mark.parametrize(("rounds", "most"), [(12, 3), pytest.param(60, 8, marks=pytest.mark.slow)])
def test_heads_without_any_difference_seldom_make_a_claim(rounds, most):
    rng = np.random.default_rng(1)
    n_claims = 0
    for _ in range(rounds):
        shares = {name: rng.normal(0.5, 0.1, 4).clip(0, 1).tolist() for name in "abcde"}
        answer = compose_answer(plant(shares, seeds=8))
        n_claims += any(pair.translators.decided for pair in answer.pairs)
    assert n_claims <= most
