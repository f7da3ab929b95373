"""The answer claims what was planted, and nothing that was not."""

import numpy as np
import pandas as pd
import pytest

from report.answer import answer
from report.comparison import heads_of
from tests.report.planted_sweeps import heads


def planted(
    shares: dict[str, list[float]], seeds=20, follows=(0.05, 0.95), **figures
) -> pd.DataFrame:
    """Returns matched heads of priors, a share of which, on each predictor, are translators and the
    rest imitators.
    """
    chance = np.random.default_rng(0)
    frames = []
    for prior, of_predictors in shares.items():
        for predictor, share in enumerate(of_predictors):
            is_translator = chance.permutation(seeds) < round(share * seeds)
            value = np.where(is_translator, follows[1], follows[0])
            frames.append(
                heads(prior, (1.0,), predictor, seeds, value, **figures).assign(
                    run=f"{prior}{predictor}"
                )
            )
    return heads_of(pd.concat(frames, ignore_index=True))


def test_a_prior_that_finds_translators_more_often_is_said_to_with_an_interval_that_holds_the_truth():
    said = answer(planted({"good": [0.9, 0.95, 0.9, 0.85], "bad": [0.1, 0.05, 0.1, 0.15]}))
    assert said.headline.startswith("good finds translators more often than bad by 0.80 [")
    assert said.pairs[0].translators.low < 0.8 < said.pairs[0].translators.high


def test_priors_that_are_alike_are_said_not_to_be_told_apart():
    said = answer(planted({"one": [0.5, 0.55, 0.5, 0.45], "other": [0.45, 0.5, 0.55, 0.5]}))
    assert said.headline.startswith("No prior is shown to find translators more often than another")
    assert "Nor do heads follow X more" in said.more[0]


def test_what_holds_on_two_predictors_of_four_is_not_claimed():
    said = answer(planted({"good": [1.0, 0.0, 1.0, 0.0], "bad": [0.0, 0.0, 0.0, 0.0]}))
    assert said.headline.startswith("No prior is shown")
    assert not said.pairs[0].translators.decided


def test_one_predictor_is_said_to_say_nothing_of_others():
    said = answer(planted({"good": [0.9], "bad": [0.1]}))
    assert "good finds translators more often than bad" in said.headline
    assert (
        "one predictor: the intervals are over its head seeds and say nothing of other predictors"
        in said.reach
    )


def test_nothing_is_said_of_a_prior_whose_heads_a_gate_stopped_though_they_follow_x():
    good = planted({"good": [0.9, 0.95, 0.9, 0.85], "bad": [0.1, 0.05, 0.1, 0.15]})
    stopped = good["prior"] == "good"
    good = good.assign(gates_passed=~stopped, failed_gates=np.where(stopped, "competent", ""))
    said = answer(good)
    assert "more often" not in said.headline
    assert any(
        "Nothing is said of good (linear): competent stopped 80 of 80 heads" in line
        for line in said.more
    )


def test_where_the_predictor_failed_its_gate_the_question_is_said_not_to_be_decided():
    said = answer(
        planted({"a": [0.9, 0.9], "b": [0.1, 0.1]}, gates_passed=False, failed_gates="uses (swap)")
    )
    assert said.headline.startswith(
        "Not decided: of no prior have half of the heads passed the gates"
    )
    assert "uses (swap) stopped 80" in said.headline


def test_a_prior_that_makes_half_translators_and_half_imitators_is_said_to_be_two_heaps_and_one_in_the_middle_is_not():
    two = answer(planted({"split": [0.5] * 4, "none": [0.0] * 4}))
    assert any(
        "Heads of split are two heaps, 50% about 0.05 and 50% about 0.95" in line
        for line in two.more
    )
    one = answer(planted({"middle": [0.5] * 4, "none": [0.0] * 4}, follows=(0.49, 0.51)))
    assert not any("heaps" in line for line in one.more)


def test_its_costs_stand_beside_those_without_a_prior():
    frame = planted({"good": [0.9, 0.95, 0.9, 0.85], "none": [0.1, 0.05, 0.1, 0.15]})
    frame.loc[frame["prior"] == "good", "prequential_bits"] = 50.0
    assert any(
        "A head of good costs 50 bits (without a prior 100)" in line for line in answer(frame).more
    )


def test_reporters_are_compared_within_themselves_and_named():
    both = [
        planted({"good": [0.9, 0.95, 0.9, 0.85], "bad": [0.1, 0.05, 0.1, 0.15]}).assign(
            reporter=name
        )
        for name in ("linear", "mlp")
    ]
    said = answer(pd.concat(both))
    assert {pair.reporter for pair in said.pairs} == {"linear", "mlp"} and len(said.pairs) == 2
    assert (
        "good (mlp) finds translators" in said.headline and "good (linear) finds" in said.headline
    )


@pytest.mark.parametrize("rounds", [60])
def test_heads_without_any_difference_seldom_make_a_claim(rounds):
    chance, wrong = np.random.default_rng(1), 0
    for _ in range(rounds):
        shares = {name: chance.normal(0.5, 0.1, 4).clip(0, 1).tolist() for name in "abcde"}
        said = answer(planted(shares, seeds=8))
        wrong += any(pair.translators.decided for pair in said.pairs)
    assert wrong <= 8
