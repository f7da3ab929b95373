"""Intervals over predictors and their heads: they hold what they promise on heads whose truth was
planted, and others do not.
"""

import numpy as np
import pandas as pd
import pytest

from report.intervals import mean, paired

ROUNDS = 300


def covered(predictors: int, between: float, of_share: bool, among: int = 1) -> float:
    """Returns how often the interval holds the planted truth of 0.3, over many sweeps of 16 heads a
    predictor.
    """
    chance = np.random.default_rng(predictors)
    names, hits = np.repeat(np.arange(predictors), 16).astype(object), []
    for _ in range(ROUNDS):
        own = chance.normal(0.3, between, predictors).clip(0, 1)[names.astype(int)]
        value = (
            chance.random(len(own)) < own if of_share else own + chance.normal(0, 0.15, len(own))
        )
        found = mean(value, names, among)
        hits.append(found.low <= 0.3 <= found.high)
    return float(np.mean(hits))


@pytest.mark.parametrize("predictors", [2, 4, 8])
@pytest.mark.parametrize("between", [0.0, 0.03, 0.08])
@pytest.mark.parametrize("of_share", [False, True], ids=["number", "share"])
def test_the_interval_covers_other_predictors_however_few_there_are(predictors, between, of_share):
    assert covered(predictors, between, of_share) >= 0.91


def test_one_predictor_covers_its_own_heads_and_says_nothing_of_other_predictors():
    assert covered(1, 0.0, of_share=False) >= 0.91
    assert covered(1, 0.08, of_share=False) < 0.8
    assert mean(np.array([0.1, 0.2]), np.array(["a", "a"], object)).predictors == 1


def test_a_bootstrap_over_four_predictors_would_not_cover():
    chance, hits = np.random.default_rng(0), []
    for _ in range(ROUNDS):
        means = chance.normal(0.3, 0.08, 4) + chance.normal(0, 0.15 / 4, 4)
        low, high = np.quantile(means[chance.integers(0, 4, (400, 4))].mean(axis=1), [0.025, 0.975])
        hits.append(low <= 0.3 <= high)
    assert np.mean(hits) < 0.9


@pytest.mark.parametrize(
    "sizes",
    [(1,) * 8, (10, 1, 1, 1, 1, 1, 1, 1), (10, 10, 10, 10, 1, 1, 1, 1)],
    ids=["alike", "one noisy", "half noisy"],
)
def test_some_pair_of_priors_that_are_alike_is_called_different_in_one_sweep_in_twenty_at_most(
    sizes,
):
    chance, wrong, predictor = np.random.default_rng(0), 0, np.arange(4).astype(object)
    first, second = np.triu_indices(8, 1)
    for _ in range(ROUNDS):
        own = chance.normal(0, 0.01, (8, 4)) * np.array(sizes)[:, None]
        gaps = own[first] - own[second]
        widest = np.abs(gaps.mean(axis=1)) / gaps.std(axis=1)
        found = mean(gaps[widest.argmax()], predictor, among=len(first))
        wrong += found.decided
    assert wrong / ROUNDS <= 0.08


def test_more_pairs_ask_for_a_wider_interval():
    value, names = (
        np.random.default_rng(0).normal(0.3, 0.1, 64),
        np.repeat(["a", "b", "c", "d"], 16).astype(object),
    )
    alone, among = mean(value, names), mean(value, names, among=28)
    assert among.low < alone.low < alone.value == among.value < alone.high < among.high


@pytest.mark.parametrize("hit", [True, False])
def test_predictors_that_all_agree_still_leave_a_width(hit):
    found = mean(np.full(64, hit), np.repeat(["a", "b", "c", "d"], 16).astype(object))
    assert found.value == hit
    assert (found.high - found.low) == pytest.approx(1 - 0.025 ** (1 / 64), rel=1e-6)


def test_predictors_count_alike_however_many_heads_they_have():
    assert mean(np.array([0.0, 0.0, 0.0, 1.0]), np.array(["a", "a", "a", "b"], object)).value == 0.5


def test_one_head_has_no_interval():
    found = mean(np.array([0.5]), np.array(["a"], object))
    assert np.isnan(found.low) and not found.decided


def frame(values, predictor="a", seeds=None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "predictor": predictor,
            "seed": seeds if seeds is not None else range(len(values)),
            "follows": values,
        }
    )


def test_a_difference_is_taken_head_by_head():
    noise = np.random.default_rng(0).normal(0.5, 0.3, 32)
    first = pd.concat([frame(noise[:16] + 0.05, "a"), frame(noise[16:] + 0.06, "b")])
    second = pd.concat([frame(noise[:16], "a"), frame(noise[16:], "b")])
    found = paired(first, second, "follows")
    assert (
        found.value == pytest.approx(0.055) and found.high - found.low < 0.2 and found.heads == 32
    )


def test_only_heads_that_stand_on_both_sides_are_compared():
    assert paired(
        frame([0.5, 0.6], seeds=[0, 1]), frame([0.1, 0.2], seeds=[1, 2]), "follows"
    ).value == pytest.approx(0.5)
    assert paired(frame([0.5], "a"), frame([0.5], "b"), "follows") is None
