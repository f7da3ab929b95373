"""Limits that hold at every episode at once, against simulations of the truth, fixed intervals and
answers known by hand.
"""

import time

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from verdict.betting import Bets, by_cluster, changes, pairs, says
from verdict.statistics import share

ALONE = np.arange
STRICT = 1 - 0.05 / 200
DRAWS = {
    "0.02": lambda chance, shape: chance.random(shape) < 0.02,
    "0.5": lambda chance, shape: chance.random(shape) < 0.5,
    "0.97": lambda chance, shape: chance.random(shape) < 0.97,
    "1.0": lambda chance, shape: np.ones(shape),
    "three points": lambda chance, shape: chance.choice(
        [0, 0.5, 1], size=shape, p=[0.03, 0.85, 0.12]
    ),
    "balanced, in random order": lambda chance, shape: chance.permuted(
        np.tile([0.0, 1.0], (shape[0], shape[1] // 2)), axis=1
    ),
}
TRUTH = {
    "0.02": 0.02,
    "0.5": 0.5,
    "0.97": 0.97,
    "1.0": 1.0,
    "three points": 0.545,
    "balanced, in random order": 0.5,
}


def bet(value_KB, level=0.95, low=0.0, high=1.0):
    bets = Bets(len(value_KB), level, low, high)
    bets.take(np.asarray(value_KB, dtype=float))
    return bets.estimate


def ever_missed(draw, truth, simulations=2000, n=400):
    """Limits only ever close in, so what they exclude once they exclude at the end."""
    missed = []
    for seed in range(simulations // 100):
        found = bet(DRAWS[draw](np.random.default_rng([seed, 1]), (100, n)))
        missed.append((found.low > truth) | (truth > found.high))
    return np.mean(missed)


@pytest.mark.parametrize("draw", DRAWS)
def test_the_truth_is_seldom_left_out_however_often_one_looks(draw):
    assert ever_missed(draw, TRUTH[draw]) <= 0.05


def test_what_is_not_the_truth_is_left_out():
    assert ever_missed("0.5", 0.4, simulations=100) > 0.9
    assert ever_missed("0.97", 0.9, simulations=100) > 0.9
    assert ever_missed("1.0", 0.98, simulations=100) == 1


def test_a_fixed_interval_looked_at_after_every_episode_leaves_the_truth_out_far_more_often():
    """Clopper and Pearson's leaves a truth out where either tail of the binomial at that truth is
    below (1 - level) / 2.
    """
    hits = DRAWS["0.5"](np.random.default_rng(0), (2000, 400))
    n_hits, n = hits.cumsum(axis=1), 1 + np.arange(400)
    left_out = (
        np.minimum(stats.binom.cdf(n_hits, n, 0.5), stats.binom.sf(n_hits - 1, n, 0.5)) < 0.025
    )
    once = share(hits[:100], ALONE(400), 0.95)
    assert (left_out[:100, -1] == ((once.low > 0.5) | (once.high < 0.5))).all()
    assert left_out[:, -1].mean() <= 0.06
    assert left_out.any(axis=1).mean() > 0.25


def test_limits_only_ever_close_in():
    values, bets, last = (
        np.random.default_rng(0).random((4, 300)),
        Bets(4, 0.95),
        bet(np.zeros((4, 0))),
    )
    for value in values.T:
        bets.take(value[:, None])
        now = bets.estimate
        assert (
            (last.low <= now.low).all()
            and (now.low <= now.high).all()
            and (now.high <= last.high).all()
        )
        last = now


@pytest.mark.parametrize("cuts", [range(1, 900), [1, 2, 700], [64, 128], [450]])
@pytest.mark.parametrize("draw", ["0.5", "1.0", "three points", "a mean that moves"])
def test_chunks_do_not_matter(cuts, draw):
    moves = np.repeat([[1.0, 0.0]], 450, axis=1) * np.ones((5, 1))
    value_KB = (
        moves
        if draw == "a mean that moves"
        else DRAWS[draw](np.random.default_rng(1), (5, 900)).astype(float)
    )
    bets = Bets(5, 0.95)
    for chunk in np.split(value_KB, list(cuts), axis=1):
        bets.take(chunk)
    for found, expected in zip(bets.estimate, bet(value_KB), strict=True):
        assert found == pytest.approx(expected, abs=1e-9)


def test_heads_do_not_matter_to_one_another():
    value_KB = np.stack(
        [DRAWS[draw](np.random.default_rng(2), (1, 500))[0] for draw in DRAWS]
    ).astype(float)
    together = bet(value_KB)
    for k in range(len(value_KB)):
        alone = bet(value_KB[k : k + 1])
        assert (together.value[k], together.low[k], together.high[k]) == pytest.approx(
            (alone.value[0], alone.low[0], alone.high[0]), abs=1e-9
        )


def test_the_same_values_give_the_same_limits_and_mirrored_ones_mirrored_limits():
    value_KB = np.random.default_rng(3).integers(0, 2, (8, 500))
    found, again, mirrored = bet(value_KB), bet(value_KB), bet(1 - value_KB)
    assert (found.low == again.low).all() and (found.high == again.high).all()
    assert mirrored.low == pytest.approx(1 - found.high, abs=1e-12)


@pytest.mark.parametrize(("level", "most"), [(0.95, 1.6), (STRICT, 1.4)])
@pytest.mark.parametrize("truth", [0.1, 0.5, 0.97])
def test_limits_are_not_much_wider_than_a_fixed_interval_at_2000_episodes(level, most, truth):
    hits = np.random.default_rng(4).random((40, 2000)) < truth
    found, fixed = bet(hits, level), share(hits, ALONE(2000), level)
    ratio = np.median((found.high - found.low) / (fixed.high - fixed.low))
    print(
        f"At level {level:.5f} and a mean of {truth}, {ratio:.2f} times as wide as Clopper and"
        " Pearson's."
    )
    assert 1.1 < ratio < most


def test_limits_are_narrow_where_values_vary_little():
    little, much = (
        bet(DRAWS["three points"](np.random.default_rng(5), (20, 2000))),
        bet(DRAWS["0.5"](np.random.default_rng(5), (20, 2000))),
    )
    assert np.median(little.high - little.low) < 0.5 * np.median(much.high - much.low)


def test_limits_keep_closing_in_past_the_last_horizon():
    hits = np.random.default_rng(6).random((10, 20_000)) < 0.5
    early, late = bet(hits[:, :5000]), bet(hits)
    assert np.median(late.high - late.low) < 0.7 * np.median(early.high - early.low)


@pytest.mark.parametrize(("level", "soonest", "latest"), [(0.95, 36, 48), (STRICT, 86, 100)])
def test_how_soon_a_perfect_head_is_known_to_be_right_on_nine_in_ten(level, soonest, latest):
    """The soonest is Clopper and Pearson's: the first n with ((1 - level) / 2)^(1/n) > 0.9."""
    bets, n = Bets(1, level), 0
    while bets.estimate.low[0] <= 0.9:
        bets.take(np.ones((1, 1)))
        n += 1
    print(f"At level {level:.5f} a perfect head takes {n} episodes, Clopper and Pearson {soonest}.")
    assert (
        share(np.ones((1, soonest), bool), ALONE(soonest), level).low[0]
        > 0.9
        > share(np.ones((1, soonest - 1), bool), ALONE(soonest - 1), level).low[0]
    )
    assert soonest <= n <= latest


def test_before_the_first_episode_nothing_is_known():
    value, low, high = bet(np.zeros((2, 0)), low=-1.0)
    assert np.isnan(value).all()
    assert low.tolist() == [-1.0, -1.0]
    assert high.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_values_outside_the_range_are_refused(value):
    with pytest.raises(AssertionError, match="outside"):
        bet([[0.5, value]])
    if np.isfinite(value):
        bet([[0.5, value]], low=-1.0, high=2.0)


def test_says_and_changes_by_hand():
    assert says(
        np.array([[2.0, -1.0, 3.0, -2.0, 0.0]]), np.array([True, True, False, False, True])
    ).tolist() == [[1, 0, 0, 1, 0]]
    assert changes(
        np.array([[-1.0, 1.0, 1.0, -1.0]]), np.array([[1.0, -1.0, 2.0, -2.0]])
    ).tolist() == [[1, -1, 0, 0]]


def test_changes_of_a_translator_an_imitator_and_an_inverted_head():
    no, yes = -np.ones((1, 400)), np.ones((1, 400))
    first, second = np.concatenate([no, no, yes]), np.concatenate([yes, no, no])
    value, low, high = bet(changes(first, second), STRICT, low=-1.0)
    assert value.tolist() == [1.0, 0.0, -1.0]
    assert low[0] > 0.8 and high[0] == 1.0
    assert -0.1 < low[1] < 0 < high[1] < 0.1
    assert high[2] < -0.8 and low[2] == -1.0


def test_by_cluster_gives_means_in_order_of_first_arrival():
    found = by_cluster(
        np.array([[1.0, 0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0, 0.0]]), np.array([9, 4, 9, 9, 2])
    )
    assert found == pytest.approx(np.array([[2 / 3, 0.0, 1.0], [1 / 3, 0.0, 0.0]]))
    assert by_cluster(found, ALONE(3)) == pytest.approx(found)


def test_copies_of_an_episode_close_in_only_if_they_are_taken_for_many():
    hits, cluster = np.random.default_rng(7).random((1, 200)) < 0.7, np.repeat(ALONE(200), 5)
    once, kept, careless = (
        bet(hits),
        bet(by_cluster(np.repeat(hits, 5, axis=1), cluster)),
        bet(np.repeat(hits, 5, axis=1)),
    )
    assert (kept.low, kept.high) == (once.low, once.high)
    assert careless.high - careless.low < 0.6 * (once.high - once.low)


def test_pairs_use_each_episode_once_in_order_of_arrival():
    score, positive = (
        np.array([[5.0, 1.0, 4.0, 3.0, 4.0, 0.0]]),
        np.array([True, True, False, True, False, False]),
    )
    assert pairs(score, positive, ALONE(6)).tolist() == [[1, 0, 1]]
    for n in range(7):
        first = pairs(score[:, :n], positive[:n], ALONE(n))
        assert (first == pairs(score, positive, ALONE(6))[:, : first.shape[1]]).all()
    assert pairs(score, np.ones(6, bool), ALONE(6)).shape == (1, 0)
    assert pairs(np.full((1, 2), np.inf), np.array([True, False]), ALONE(2)).tolist() == [[0.5]]


def test_pairs_of_clusters_compare_one_with_the_other_only():
    score = np.array([[9.0, 0.0, 5.0, 1.0]])
    mixed = pairs(score, np.array([True, False, True, False]), np.array([0, 0, 1, 1]))
    assert mixed.tolist() == [[1.0]]
    assert pairs(score, np.array([False, True, True, False]), np.array([0, 0, 1, 1])).tolist() == [
        [0.0]
    ]
    assert pairs(score, np.array([True, True, False, False]), np.array([0, 0, 1, 1])).tolist() == [
        [0.5]
    ]
    assert pairs(score, np.array([True, False, True, False]), np.zeros(4, int)).shape == (1, 0)


def test_constant_scores_give_an_auroc_of_a_half_perfect_ones_one_and_inverted_ones_none():
    positive = np.arange(400) % 2 == 0
    score = np.stack([np.zeros(400), positive, -1.0 * positive])
    found = bet(pairs(score, positive, ALONE(400)))
    assert found.value.tolist() == [0.5, 1.0, 0.0]
    assert 0.45 < found.low[0] < 0.5 < found.high[0] < 0.55
    assert found.low[1] > 0.9 and found.high[2] < 0.1


def test_auroc_by_pairs_is_that_of_all_episodes_in_the_mean():
    chance = np.random.default_rng(8)
    positive = chance.random(4000) < 0.4
    score = (chance.normal(size=(5, 4000)) + np.arange(5)[:, None] * positive / 2).round(1)
    found = bet(pairs(score, positive, ALONE(4000)))
    expected = np.array([roc_auc_score(positive, one) for one in score])
    assert found.value == pytest.approx(expected, abs=0.03)
    assert (found.low < expected).all() and (expected < found.high).all()


def test_sixty_four_heads_on_six_kinds_of_evidence_in_seconds():
    value_KB = DRAWS["0.5"](np.random.default_rng(9), (64, 2000))
    start = time.process_time()
    for _ in range(6):
        bet(value_KB)
    seconds = time.process_time() - start
    print(f"{seconds:.1f} s")
    assert seconds < 6, "1.4 to 1.8 on a free core, twice that beside other work"
