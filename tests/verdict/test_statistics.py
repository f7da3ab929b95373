"""Rates, rankings and intervals, compared with known answers and with simulations of the truth."""

import numpy as np
import pytest
from scipy import stats

from verdict.statistics import (
    Estimate,
    estimate_difference,
    estimate_mean_of_shares,
    estimate_share,
    estimate_worst_share,
)


def list_single_clusters(n: int) -> np.ndarray:
    """Returns clusters of one episode each."""
    return np.arange(n)


def compute_coverage(estimate: Estimate, truth: float) -> float:
    """Returns the share of intervals that contain the truth."""
    return ((estimate.low <= truth) & (truth <= estimate.high)).mean()


def test_a_perfect_share_still_has_an_interval_with_a_width():
    all_hits = estimate_share(np.ones((1, 100), bool), list_single_clusters(100), 0.95)
    assert all_hits.low[0] == pytest.approx(0.025 ** (1 / 100))


def test_share_has_the_exact_interval_of_clopper_and_pearson():
    actual = estimate_share((np.arange(100) < 30)[None], list_single_clusters(100), 0.95)
    expected = stats.binomtest(30, 100).proportion_ci(0.95, method="exact")
    assert actual.value[0] == pytest.approx(0.3)
    assert actual.low[0] == pytest.approx(expected.low)
    assert actual.high[0] == pytest.approx(expected.high)


def test_copies_of_an_episode_do_not_narrow_an_interval():
    hits = np.random.default_rng(0).random((1, 200)) < 0.7
    copies = np.repeat(hits, 5, axis=1)

    def compute_width(hits: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        estimate = estimate_share(hits, clusters, 0.95)
        return estimate.high - estimate.low

    once = compute_width(hits, list_single_clusters(200))
    clustered = compute_width(copies, np.repeat(list_single_clusters(200), 5))
    careless = compute_width(copies, list_single_clusters(1000))
    assert clustered == pytest.approx(once, rel=0.02)
    assert careless < 0.6 * once


@pytest.mark.parametrize("truth", [0.5, 0.9, 0.99])
def test_intervals_of_shares_cover_the_truth(truth):
    hits = np.random.default_rng(1).random((2000, 200)) < truth
    estimate = estimate_share(hits, list_single_clusters(200), 0.95)
    assert compute_coverage(estimate, truth) >= 0.94


def test_difference_is_exact_for_heads_that_always_never_or_half_the_time_change():
    changes = np.stack([np.ones(100), np.zeros(100), np.arange(100) % 2, -np.ones(100)])
    estimate = estimate_difference(changes.astype(np.int64), list_single_clusters(100), 0.95)
    assert estimate.value == pytest.approx([1.0, 0.0, 0.5, -1.0])
    assert (estimate.low <= estimate.value).all()
    assert (estimate.value <= estimate.high).all()


def test_on_rare_positives_a_perfect_head_is_always_right_and_a_constant_no_is_often_right():
    positive = np.arange(100) < 20
    perfect = (np.where(positive, 2.0, -1.0) > 0) == positive
    constant = (np.full(100, -1.0) > 0) == positive
    estimate = estimate_share(np.stack([perfect, constant]), list_single_clusters(100), 0.95)
    assert estimate.value.tolist() == [1.0, 0.8]


@pytest.mark.parametrize(("rise", "fall"), [(0.9, 0.0), (0.3, 0.25), (0.02, 0.02)])
def test_intervals_of_differences_cover_the_truth(rise, fall):
    uniform = np.random.default_rng(4).random((2000, 200))
    changes = (uniform < rise).astype(int) - (uniform > 1 - fall)
    estimate = estimate_difference(changes, list_single_clusters(200), 0.95)
    assert compute_coverage(estimate, rise - fall) >= 0.95


def test_one_error_never_narrows_a_clustered_interval_of_a_share():
    clusters = np.repeat(np.arange(50), 4)
    no_hit = np.zeros((1, 200), bool)
    one_hit = np.arange(200)[None] == 7
    assert (
        estimate_share(one_hit, clusters, 0.995).high[0]
        > estimate_share(no_hit, clusters, 0.995).high[0]
    )
    assert (
        estimate_share(~one_hit, clusters, 0.995).low[0]
        < estimate_share(~no_hit, clusters, 0.995).low[0]
    )


def draw_strata(
    shares: tuple[float, ...], sizes: tuple[int, ...], copies: int, heads: int = 1000
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns hits of heads with these shares in strata of these sizes, the stratum of each episode
    and its cluster, which holds as many copies of one episode.
    """
    stratum_N = np.repeat(np.arange(len(sizes)), sizes)
    hit_KN = np.random.default_rng(0).random((heads, len(stratum_N))) < np.array(shares)[stratum_N]
    cluster_N = np.arange(len(stratum_N))
    return tuple(np.repeat(part, copies, axis=-1) for part in (hit_KN, stratum_N, cluster_N))


STRATA = [
    ((0.5,) * 6, (100,) * 6),
    ((0.99,) * 6, (500, 500, 1000, 1000, 100, 40)),
    ((0.995, 1.0, 1.0, 0.9, 0.3, 0.7), (500, 500, 1000, 1000, 100, 40)),
    ((1.0, 1.0, 1.0, 0.98), (100,) * 4),
]


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize(("shares", "sizes"), STRATA)
def test_intervals_of_a_mean_over_strata_cover_the_truth(shares, sizes, copies):
    strata = draw_strata(shares, sizes, copies)
    assert compute_coverage(estimate_mean_of_shares(*strata, 0.95), np.mean(shares)) >= 0.93
    # The control: copies taken for episodes of their own.
    hit_KN, stratum_N, _ = strata
    careless = estimate_mean_of_shares(hit_KN, stratum_N, np.arange(len(stratum_N)), 0.95)
    if copies > 1 and shares == (0.5,) * 6:
        assert compute_coverage(careless, 0.5) < 0.8


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize(("shares", "sizes"), STRATA)
def test_either_limit_of_the_worst_stratum_misses_the_truth_in_a_fortieth_of_cases(
    shares, sizes, copies
):
    worst, _ = estimate_worst_share(*draw_strata(shares, sizes, copies), 0.95)
    assert (worst.low > min(shares)).mean() <= 0.035
    assert (worst.high < min(shares)).mean() <= 0.035


def test_the_worst_stratum_is_the_one_in_which_half_of_a_head_is_wrong():
    """The mean over six strata is 11/12; no stratum but the third is below 1."""
    hit_1N = np.ones((1, 600), bool)
    hit_1N[0, 200:250] = False
    stratum_N, cluster_N = np.repeat(np.arange(6), 100), list_single_clusters(600)
    worst, stratum = estimate_worst_share(hit_1N, stratum_N, cluster_N, 0.95)
    assert (worst.value[0], stratum[0]) == (0.5, 2)
    assert estimate_mean_of_shares(hit_1N, stratum_N, cluster_N, 0.95).value[0] == 5.5 / 6
