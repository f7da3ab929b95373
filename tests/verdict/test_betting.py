"""Limits that hold at every episode at once, compared with simulations of the truth, with fixed
intervals and with answers known by hand.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from verdict.betting import Bets, average_by_cluster, compare_pairs, compute_changes, match_concept
from verdict.statistics import Estimate, estimate_share

STRICT = 1 - 0.05 / 200

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def draw_three_points(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.choice([0, 0.5, 1], size=shape, p=[0.03, 0.85, 0.12])


def draw_balanced(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.permuted(np.tile([0.0, 1.0], (shape[0], shape[1] // 2)), axis=1)


DRAWS: dict[str, Draw] = {
    "0.02": lambda rng, shape: rng.random(shape) < 0.02,
    "0.5": lambda rng, shape: rng.random(shape) < 0.5,
    "0.97": lambda rng, shape: rng.random(shape) < 0.97,
    "1.0": lambda rng, shape: np.ones(shape),
    "three points": draw_three_points,
    "balanced, in random order": draw_balanced,
}
TRUTH = {
    "0.02": 0.02,
    "0.5": 0.5,
    "0.97": 0.97,
    "1.0": 1.0,
    "three points": 0.545,
    "balanced, in random order": 0.5,
}


def list_single_clusters(n: int) -> np.ndarray:
    """Returns clusters of one episode each."""
    return np.arange(n)


def estimate(
    value_KB: np.ndarray, level: float = 0.95, low: float = 0.0, high: float = 1.0
) -> Estimate:
    """Returns the estimate after all values."""
    bets = Bets(len(value_KB), level, low, high)
    bets.take(np.asarray(value_KB, dtype=float))
    return bets.estimate


def compute_miss_rate(draw: str, truth: float, simulations: int, n: int = 400) -> float:
    """Returns how often the limits ever exclude the truth. Limits only shrink, so whatever they
    exclude once they exclude at the end.
    """
    missed = []
    for seed in range(simulations // 100):
        values = DRAWS[draw](np.random.default_rng([seed, 1]), (100, n))
        limits = estimate(values)
        missed.append((limits.low > truth) | (truth > limits.high))
    return float(np.mean(missed))


@pytest.mark.parametrize("draw", DRAWS)
def test_the_truth_is_seldom_excluded_at_any_episode(draw):
    assert compute_miss_rate(draw, TRUTH[draw], simulations=200) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("draw", DRAWS)
def test_the_truth_is_seldom_excluded_at_any_episode_in_many_simulations(draw):
    assert compute_miss_rate(draw, TRUTH[draw], simulations=2000) <= 0.05


@pytest.mark.parametrize(("draw", "wrong"), [("0.5", 0.4), ("0.97", 0.9), ("1.0", 0.98)])
def test_a_wrong_mean_is_excluded(draw, wrong):
    assert compute_miss_rate(draw, wrong, simulations=100) > 0.9


def test_a_fixed_interval_excludes_the_truth_far_more_often_if_it_is_read_after_every_episode():
    """The interval of Clopper and Pearson excludes a truth if either tail of the binomial at that
    truth is below (1 - level) / 2.
    """
    hits = DRAWS["0.5"](np.random.default_rng(0), (2000, 400))
    n_hits, n = hits.cumsum(axis=1), 1 + np.arange(400)
    lower_tail = stats.binom.cdf(n_hits, n, 0.5)
    upper_tail = stats.binom.sf(n_hits - 1, n, 0.5)
    excluded = np.minimum(lower_tail, upper_tail) < 0.025
    interval = estimate_share(hits[:100], list_single_clusters(400), 0.95)
    assert (excluded[:100, -1] == ((interval.low > 0.5) | (interval.high < 0.5))).all()
    assert excluded[:, -1].mean() <= 0.06
    assert excluded.any(axis=1).mean() > 0.25


def test_limits_never_widen():
    values = np.random.default_rng(0).random((4, 300))
    bets = Bets(4, 0.95)
    before = bets.estimate
    for value in values.T:
        bets.take(value[:, None])
        after = bets.estimate
        assert (before.low <= after.low).all()
        assert (after.low <= after.high).all()
        assert (after.high <= before.high).all()
        before = after


def draw_changing_mean(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    half = shape[1] // 2
    return np.repeat([[1.0, 0.0]], half, axis=1) * np.ones((shape[0], 1))


@pytest.mark.parametrize("cuts", [range(1, 900), [1, 2, 700], [64, 128], [450]])
@pytest.mark.parametrize("draw", ["0.5", "1.0", "three points", "changing mean"])
def test_chunks_do_not_matter(cuts, draw):
    draws = DRAWS | {"changing mean": draw_changing_mean}
    value_KB = draws[draw](np.random.default_rng(1), (5, 900)).astype(float)
    bets = Bets(5, 0.95)
    for chunk in np.split(value_KB, list(cuts), axis=1):
        bets.take(chunk)
    for actual, expected in zip(bets.estimate, estimate(value_KB), strict=True):
        assert actual == pytest.approx(expected, abs=1e-9)


def test_heads_do_not_affect_one_another():
    rows = [draw(np.random.default_rng(2), (1, 500))[0] for draw in DRAWS.values()]
    value_KB = np.stack(rows).astype(float)
    together = estimate(value_KB)
    for k in range(len(value_KB)):
        alone = estimate(value_KB[k : k + 1])
        for actual, expected in zip(together, alone, strict=True):
            assert actual[k] == pytest.approx(expected[0], abs=1e-9)


def test_the_same_values_give_the_same_limits_and_mirrored_values_give_mirrored_limits():
    value_KB = np.random.default_rng(3).integers(0, 2, (8, 500))
    first, second, mirrored = estimate(value_KB), estimate(value_KB), estimate(1 - value_KB)
    assert (first.low == second.low).all()
    assert (first.high == second.high).all()
    assert mirrored.low == pytest.approx(1 - first.high, abs=1e-12)


@pytest.mark.parametrize(("level", "most"), [(0.95, 1.6), (STRICT, 1.4)])
@pytest.mark.parametrize("truth", [0.1, 0.5, 0.97])
def test_limits_are_not_much_wider_than_a_fixed_interval_at_2000_episodes(level, most, truth):
    hits = np.random.default_rng(4).random((20, 2000)) < truth
    anytime = estimate(hits, level)
    fixed = estimate_share(hits, list_single_clusters(2000), level)
    ratio = np.median((anytime.high - anytime.low) / (fixed.high - fixed.low))
    print(
        f"At level {level:.5f} and a mean of {truth}, {ratio:.2f} times as wide as Clopper and"
        " Pearson's."
    )
    assert 1.1 < ratio < most


def compute_median_width(limits: Estimate) -> float:
    return float(np.median(limits.high - limits.low))


def test_limits_are_narrow_if_values_vary_little():
    shape = (20, 2000)
    little = estimate(DRAWS["three points"](np.random.default_rng(5), shape))
    much = estimate(DRAWS["0.5"](np.random.default_rng(5), shape))
    assert compute_median_width(little) < 0.5 * compute_median_width(much)


def test_limits_keep_shrinking_after_the_last_horizon():
    hits = np.random.default_rng(6).random((5, 20_000)) < 0.5
    early, late = estimate(hits[:, :5000]), estimate(hits)
    assert compute_median_width(late) < 0.7 * compute_median_width(early)


@pytest.mark.parametrize(("level", "soonest", "latest"), [(0.95, 36, 48), (STRICT, 86, 100)])
def test_how_soon_the_limits_of_a_perfect_head_exceed_nine_in_ten(level, soonest, latest):
    """Clopper and Pearson give the soonest: the first n where ((1 - level) / 2)^(1/n) > 0.9."""
    bets, n = Bets(1, level), 0
    while bets.estimate.low[0] <= 0.9:
        bets.take(np.ones((1, 1)))
        n += 1
    print(f"At level {level:.5f} a perfect head takes {n} episodes, Clopper and Pearson {soonest}.")

    def compute_fixed_limit(n: int) -> float:
        return estimate_share(np.ones((1, n), bool), list_single_clusters(n), level).low[0]

    assert compute_fixed_limit(soonest) > 0.9 > compute_fixed_limit(soonest - 1)
    assert soonest <= n <= latest


def test_before_the_first_episode_the_limits_are_the_whole_range():
    value, low, high = estimate(np.zeros((2, 0)), low=-1.0)
    assert np.isnan(value).all()
    assert low.tolist() == [-1.0, -1.0]
    assert high.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_values_outside_the_range_are_refused(value):
    with pytest.raises(AssertionError, match="outside"):
        estimate([[0.5, value]])
    if np.isfinite(value):
        estimate([[0.5, value]], low=-1.0, high=2.0)


def test_says_marks_the_answers_that_are_the_concept():
    score_KN = np.array([[2.0, -1.0, 3.0, -2.0, 0.0]])
    concept_N = np.array([True, True, False, False, True])
    assert match_concept(score_KN, concept_N).tolist() == [[1, 0, 0, 1, 0]]


def test_changes_are_1_from_no_to_yes_and_minus_1_from_yes_to_no():
    first_KN = np.array([[-1.0, 1.0, 1.0, -1.0]])
    second_KN = np.array([[1.0, -1.0, 2.0, -2.0]])
    assert compute_changes(first_KN, second_KN).tolist() == [[1, -1, 0, 0]]


def test_changes_of_a_translator_an_imitator_and_an_inverted_head():
    no, yes = -np.ones((1, 400)), np.ones((1, 400))
    first, second = np.concatenate([no, no, yes]), np.concatenate([yes, no, no])
    value, low, high = estimate(compute_changes(first, second), STRICT, low=-1.0)
    assert value.tolist() == [1.0, 0.0, -1.0]
    assert low[0] > 0.8 and high[0] == 1.0
    assert -0.1 < low[1] < 0 < high[1] < 0.1
    assert high[2] < -0.8 and low[2] == -1.0


def test_by_cluster_gives_means_in_order_of_first_arrival():
    value_KN = np.array([[1.0, 0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0, 0.0]])
    mean_KC = average_by_cluster(value_KN, np.array([9, 4, 9, 9, 2]))
    assert mean_KC == pytest.approx(np.array([[2 / 3, 0.0, 1.0], [1 / 3, 0.0, 0.0]]))
    assert average_by_cluster(mean_KC, list_single_clusters(3)) == pytest.approx(mean_KC)


def test_copies_of_an_episode_narrow_the_limits_only_if_clusters_are_ignored():
    hits = np.random.default_rng(7).random((1, 200)) < 0.7
    copies, cluster = np.repeat(hits, 5, axis=1), np.repeat(np.arange(200), 5)
    once = estimate(hits)
    clustered = estimate(average_by_cluster(copies, cluster))
    careless = estimate(copies)
    assert (clustered.low, clustered.high) == (once.low, once.high)
    assert careless.high - careless.low < 0.6 * (once.high - once.low)


def test_pairs_use_each_episode_once_in_order_of_arrival():
    score = np.array([[5.0, 1.0, 4.0, 3.0, 4.0, 0.0]])
    positive = np.array([True, True, False, True, False, False])
    value_KP = compare_pairs(score, positive, list_single_clusters(6))
    assert value_KP.tolist() == [[1, 0, 1]]
    for n in range(7):
        first_KP = compare_pairs(score[:, :n], positive[:n], list_single_clusters(n))
        assert (first_KP == value_KP[:, : first_KP.shape[1]]).all()


def test_there_are_no_pairs_without_a_negative():
    score = np.array([[5.0, 1.0, 4.0]])
    assert compare_pairs(score, np.ones(3, bool), list_single_clusters(3)).shape == (1, 0)


def test_equal_infinite_scores_are_a_tie():
    score, positive = np.full((1, 2), np.inf), np.array([True, False])
    assert compare_pairs(score, positive, list_single_clusters(2)).tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("positive", "value"),
    [
        ([True, False, True, False], 1.0),
        ([False, True, True, False], 0.0),
        ([True, True, False, False], 0.5),
    ],
)
def test_pairs_compare_two_clusters_with_each_other_only(positive, value):
    score = np.array([[9.0, 0.0, 5.0, 1.0]])
    assert compare_pairs(score, np.array(positive), np.array([0, 0, 1, 1])).tolist() == [[value]]
    assert compare_pairs(score, np.array(positive), np.zeros(4, int)).shape == (1, 0)


def test_pairs_give_the_auroc_of_constant_perfect_and_inverted_scores():
    positive = np.arange(400) % 2 == 0
    score = np.stack([np.zeros(400), positive, -1.0 * positive])
    value, low, high = estimate(compare_pairs(score, positive, list_single_clusters(400)))
    assert value.tolist() == [0.5, 1.0, 0.0]
    assert 0.45 < low[0] < 0.5 < high[0] < 0.55
    assert low[1] > 0.9
    assert high[2] < 0.1


def test_the_mean_over_pairs_is_the_auroc_of_all_episodes():
    rng = np.random.default_rng(8)
    positive = rng.random(4000) < 0.4
    score = (rng.normal(size=(5, 4000)) + np.arange(5)[:, None] * positive / 2).round(1)
    limits = estimate(compare_pairs(score, positive, list_single_clusters(4000)))
    expected = np.array([roc_auc_score(positive, head_score) for head_score in score])
    assert limits.value == pytest.approx(expected, abs=0.03)
    assert (limits.low < expected).all()
    assert (expected < limits.high).all()


def test_limits_of_64_heads_take_less_than_a_second():
    value_KB = DRAWS["0.5"](np.random.default_rng(9), (64, 2000))
    start = time.process_time()
    estimate(value_KB)
    seconds = time.process_time() - start
    print(f"{seconds:.1f} s")
    assert seconds < 1, "0.3 on a free core, twice that beside other work"
