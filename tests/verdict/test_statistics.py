"""Rates, rankings and intervals against known answers, and against simulations of the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from verdict.statistics import auroc, difference, share

ALONE = np.arange


def test_auroc_agrees_with_scikit_learn_on_scores_with_ties():
    chance = np.random.default_rng(0)
    scores, positive = chance.normal(size=(5, 300)).round(1), chance.random(300) < 0.3
    expected = [roc_auc_score(positive, score) for score in scores]
    assert auroc(scores, positive, ALONE(300), 0.95).value == pytest.approx(expected)


def test_auroc_of_a_constant_is_a_half_and_of_a_perfect_score_one():
    positive = np.arange(100) < 20
    assert auroc(np.zeros((1, 100)), positive, ALONE(100), 0.95).value[0] == 0.5
    assert auroc(positive[None].astype(float), positive, ALONE(100), 0.95).value[0] == 1.0
    assert auroc(-positive[None].astype(float), positive, ALONE(100), 0.95).value[0] == 0.0


def test_a_perfect_score_still_has_an_interval_with_a_width():
    positive = np.arange(100) < 50
    perfect = auroc(positive[None].astype(float), positive, ALONE(100), 0.95)
    assert perfect.low[0] < 0.99
    assert perfect.high[0] == 1.0
    assert share(np.ones((1, 100), bool), ALONE(100), 0.95).low[0] == pytest.approx(
        0.025 ** (1 / 100)
    )


def test_share_is_the_exact_interval_of_clopper_and_pearson():
    hits = np.arange(100) < 30
    found = share(hits[None], ALONE(100), 0.95)
    expected = stats.binomtest(30, 100).proportion_ci(0.95, method="exact")
    assert (found.value[0], found.low[0], found.high[0]) == pytest.approx(
        (0.3, expected.low, expected.high)
    )


def test_copies_of_an_episode_do_not_narrow_an_interval():
    hits = np.random.default_rng(0).random((1, 200)) < 0.7
    once = share(hits, ALONE(200), 0.95)
    copied = share(np.repeat(hits, 5, axis=1), np.repeat(ALONE(200), 5), 0.95)
    careless = share(np.repeat(hits, 5, axis=1), ALONE(1000), 0.95)
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.02)
    assert careless.high - careless.low < 0.6 * (once.high - once.low)


@pytest.mark.parametrize("truth", [0.5, 0.9, 0.99])
def test_intervals_of_shares_cover_the_truth(truth):
    hits = np.random.default_rng(1).random((2000, 200)) < truth
    found = share(hits, ALONE(200), 0.95)
    assert ((found.low <= truth) & (truth <= found.high)).mean() >= 0.94


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_intervals_of_auroc_cover_the_truth(shift):
    positive = np.arange(200) < 80
    scores = np.random.default_rng(2).normal(size=(2000, 200)) + shift * positive
    truth = stats.norm.cdf(shift / np.sqrt(2))
    found = auroc(scores, positive, ALONE(200), 0.95)
    assert ((found.low <= truth) & (truth <= found.high)).mean() >= 0.94


def test_clustered_intervals_of_auroc_cover_the_truth_where_careless_ones_do_not():
    chance = np.random.default_rng(3)
    positive = np.repeat(np.arange(60) < 30, 6)
    scores = (
        np.repeat(chance.normal(size=(2000, 60)), 6, axis=1)
        + 0.2 * chance.normal(size=(2000, 360))
        + positive
    )
    truth = stats.norm.cdf(1 / np.sqrt(2 * 1.04))
    kept, careless = (
        auroc(scores, positive, cluster, 0.95)
        for cluster in (np.repeat(np.arange(60), 6), np.arange(360))
    )
    assert ((kept.low <= truth) & (truth <= kept.high)).mean() >= 0.92
    assert ((careless.low <= truth) & (truth <= careless.high)).mean() < 0.7


def test_difference_is_exact_for_heads_that_always_never_or_half_the_time_change():
    change = np.stack([np.ones(100), np.zeros(100), np.arange(100) % 2, -np.ones(100)]).astype(
        np.int64
    )
    found = difference(change, ALONE(100), 0.95)
    assert found.value == pytest.approx([1.0, 0.0, 0.5, -1.0])
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


def test_a_perfect_head_on_rare_positives_has_a_share_of_one():
    positive = np.arange(100) < 20
    assert share(
        (np.where(positive, 2.0, -1.0)[None] > 0) == positive, ALONE(100), 0.95
    ).value.tolist() == [1.0]
    assert share((np.full((1, 100), -1.0) > 0) == positive, ALONE(100), 0.95).value.tolist() == [
        0.8
    ], "always no is right on the other 80%"


@pytest.mark.parametrize(("rise", "fall"), [(0.9, 0.0), (0.3, 0.25), (0.02, 0.02)])
def test_intervals_of_differences_cover_the_truth(rise, fall):
    chance = np.random.default_rng(4).random((2000, 200))
    change = (chance < rise).astype(int) - (chance > 1 - fall)
    found = difference(change, ALONE(200), 0.95)
    assert ((found.low <= rise - fall) & (rise - fall <= found.high)).mean() >= 0.95


def test_one_error_never_narrows_a_clustered_interval():
    cluster = np.repeat(np.arange(50), 4)
    none, one = np.zeros((1, 200), bool), np.arange(200)[None] == 7
    assert share(one, cluster, 0.995).high[0] > share(none, cluster, 0.995).high[0]
    assert share(~one, cluster, 0.995).low[0] < share(~none, cluster, 0.995).low[0]
    score, positive = (
        np.repeat(np.arange(50) < 25, 4)[None].astype(float),
        np.repeat(np.arange(50) < 25, 4),
    )
    assert (
        auroc(score, positive, cluster, 0.95).low[0]
        < auroc(score, positive, ALONE(200), 0.95).low[0]
    )
