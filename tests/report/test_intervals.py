"""Intervals over predictors and their heads: they cover planted truths as often as they promise,
and a bootstrap does not.
"""

import numpy as np
import pandas as pd
import pytest

from benchmarks.intervals import (
    LAWS,
    measure_false_claims,
    measure_share,
    measure_unlike_priors,
)
from report.intervals import (
    SHARE,
    Mean,
    estimate_mean,
    estimate_paired_difference,
    pair_heads,
)

ROUNDS = 300
FOUR = np.repeat(["a", "b", "c", "d"], 16).astype(object)
"""The predictors of 64 heads."""


def measure_coverage(predictors: int, between: float, of_share: bool) -> float:
    """Returns how often the interval covers the planted truth of 0.3, over many sweeps of 16 heads
    per predictor.
    """
    rng = np.random.default_rng(predictors)
    names = np.repeat(np.arange(predictors), 16).astype(object)
    bounds = SHARE if of_share else (-np.inf, np.inf)
    hits = []
    for _ in range(ROUNDS):
        own = rng.normal(0.3, between, predictors).clip(0, 1)[names.astype(int)]
        n = len(own)
        values = rng.random(n) < own if of_share else own + rng.normal(0, 0.15, n)
        mean = estimate_mean(values, names, bounds=bounds)
        hits.append(mean.low <= 0.3 <= mean.high)
    return float(np.mean(hits))


@pytest.mark.parametrize("predictors", [2, 4, 8])
@pytest.mark.parametrize("between", [0.0, 0.03, 0.08])
@pytest.mark.parametrize("of_share", [False, True], ids=["number", "share"])
def test_the_interval_covers_other_predictors_however_few_there_are(predictors, between, of_share):
    assert measure_coverage(predictors, between, of_share) >= 0.91


def test_one_predictor_covers_its_own_heads_and_does_not_generalise_to_other_predictors():
    assert measure_coverage(1, 0.0, of_share=False) >= 0.91
    assert measure_coverage(1, 0.08, of_share=False) < 0.8
    assert estimate_mean(np.array([0.1, 0.2]), np.array(["a", "a"], object)).predictors == 1


def test_a_bootstrap_over_four_predictors_would_not_cover():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(ROUNDS):
        means = rng.normal(0.3, 0.08, 4) + rng.normal(0, 0.15 / 4, 4)
        resampled = means[rng.integers(0, 4, (400, 4))].mean(axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        hits.append(low <= 0.3 <= high)
    assert np.mean(hits) < 0.9


@pytest.mark.parametrize(
    "sizes",
    [(1,) * 8, (10, 1, 1, 1, 1, 1, 1, 1), (10, 10, 10, 10, 1, 1, 1, 1)],
    ids=["alike", "one noisy", "half noisy"],
)
def test_equal_priors_are_called_different_in_one_sweep_of_twenty_at_most(sizes):
    rng, predictor = np.random.default_rng(0), np.arange(4).astype(object)
    first, second = np.triu_indices(8, 1)
    n_wrong = 0
    for _ in range(ROUNDS):
        own = rng.normal(0, 0.01, (8, 4)) * np.array(sizes)[:, None]
        differences = own[first] - own[second]
        widest = (np.abs(differences.mean(axis=1)) / differences.std(axis=1)).argmax()
        n_wrong += estimate_mean(differences[widest], predictor, n_means=len(first)).decided
    assert n_wrong / ROUNDS <= 0.08


@pytest.mark.parametrize(
    "sweeps", [pytest.param(100, id="few"), pytest.param(2000, marks=pytest.mark.slow, id="many")]
)
@pytest.mark.parametrize("predictors", [4, 8, 16])
@pytest.mark.parametrize("law", LAWS)
def test_a_share_that_few_predictors_give_is_covered(law, predictors, sweeps):
    coverage, width = measure_share(law, predictors, sweeps)
    assert coverage >= 0.94
    assert width <= {4: 0.99, 8: 0.8, 16: 0.56}[predictors]


def test_a_share_would_not_be_covered_without_the_interval_over_predictors():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        hit_QH = np.repeat(rng.random((4, 1)) < 0.25, 16, axis=1)
        mean = estimate_mean(hit_QH.ravel(), FOUR, bounds=(-1.0, 1.0))
        hits.append(mean.low <= 0.25 <= mean.high)
    assert np.mean(hits) < 0.75


def test_none_of_four_predictors_allows_a_share_of_up_to_sixty_percent():
    none = estimate_mean(np.zeros(64, bool), FOUR, bounds=SHARE)
    assert (none.low, round(none.high, 2)) == (0, 0.6)
    every = estimate_mean(np.ones(64, bool), FOUR, bounds=SHARE)
    assert (round(every.low, 2), every.high) == (0.4, 1)


def test_one_predictor_has_the_interval_of_its_heads_alone():
    mean = estimate_mean(np.zeros(64, bool), np.full(64, "a", object), bounds=SHARE)
    assert mean.high == pytest.approx(1 - 0.025 ** (1 / 64))


@pytest.mark.parametrize(
    "sweeps", [pytest.param(20, id="few"), pytest.param(500, marks=pytest.mark.slow, id="many")]
)
@pytest.mark.parametrize("predictors", [4, 8, 16])
@pytest.mark.parametrize("law", [law for law in LAWS if law != "half give all"])
def test_priors_that_do_the_same_are_called_different_in_one_sweep_of_twenty_at_most(
    law, predictors, sweeps
):
    assert measure_false_claims(law, predictors, 5, sweeps) <= 0.05


@pytest.mark.slow
def test_four_predictors_are_too_few_where_each_goes_wholly_one_way():
    assert measure_false_claims("half give all", 4, 5) > 0.05
    assert measure_false_claims("half give all", 8, 5) <= 0.05
    assert measure_unlike_priors(4) > 0.2
    assert measure_unlike_priors(16) < measure_unlike_priors(8) < 0.15


def test_more_pairs_give_a_wider_interval():
    values = np.random.default_rng(0).normal(0.3, 0.1, 64)
    alone, together = estimate_mean(values, FOUR), estimate_mean(values, FOUR, n_means=28)
    assert alone.value == together.value
    assert together.low < alone.low < alone.value < alone.high < together.high


@pytest.mark.parametrize("hit", [True, False])
def test_predictors_that_all_agree_still_have_an_interval_with_a_width(hit):
    mean = estimate_mean(np.full(64, hit), FOUR)
    assert mean.value == hit
    assert (mean.high - mean.low) == pytest.approx(1 - 0.025 ** (1 / 64), rel=1e-6)


def test_predictors_count_equally_however_many_heads_they_have():
    values, names = np.array([0.0, 0.0, 0.0, 1.0]), np.array(["a", "a", "a", "b"], object)
    assert estimate_mean(values, names).value == 0.5


def test_one_head_has_no_interval():
    mean = estimate_mean(np.array([0.5]), np.array(["a"], object))
    assert np.isnan(mean.low) and not mean.decided


def create_heads(values, predictor="a", seeds=None) -> pd.DataFrame:
    seeds = range(len(values)) if seeds is None else seeds
    return pd.DataFrame({"predictor": predictor, "seed": seeds, "follows": values})


def compare_heads(first: pd.DataFrame, second: pd.DataFrame) -> Mean:
    return estimate_paired_difference(pair_heads(first, second, ["follows"]), "follows")


def test_a_difference_is_measured_head_by_head():
    noise = np.random.default_rng(0).normal(0.5, 0.3, 32)
    first = [create_heads(noise[:16] + 0.05, "a"), create_heads(noise[16:] + 0.06, "b")]
    second = [create_heads(noise[:16], "a"), create_heads(noise[16:], "b")]
    mean = compare_heads(pd.concat(first), pd.concat(second))
    assert mean.value == pytest.approx(0.055)
    assert mean.high - mean.low < 0.2 and mean.heads == 32


def test_only_heads_that_occur_on_both_sides_are_compared():
    first, second = create_heads([0.5, 0.6], seeds=[0, 1]), create_heads([0.1, 0.2], seeds=[1, 2])
    assert compare_heads(first, second).value == pytest.approx(0.5)
    first, second = create_heads([0.5], "a"), create_heads([0.5], "b")
    assert pair_heads(first, second, ["follows"]).empty
