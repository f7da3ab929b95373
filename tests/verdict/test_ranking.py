"""Rankings and their intervals, compared with known answers and with simulations of the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from tests.verdict.test_statistics import compute_coverage, list_single_clusters
from verdict.ranking import compute_recall, estimate_auroc


def test_auroc_agrees_with_scikit_learn_on_scores_with_ties():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 300)).round(1)
    positive = rng.random(300) < 0.3
    expected = [roc_auc_score(positive, score) for score in scores]
    actual = estimate_auroc(scores, positive, list_single_clusters(300), 0.95)
    assert actual.value == pytest.approx(expected)


def test_auroc_of_a_constant_is_a_half_and_of_a_perfect_score_one():
    positive = np.arange(100) < 20
    scores = np.stack([np.zeros(100), positive, -1.0 * positive])
    values = estimate_auroc(scores, positive, list_single_clusters(100), 0.95).value
    assert values.tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_intervals_of_auroc_cover_the_truth(shift):
    positive = np.arange(200) < 80
    scores = np.random.default_rng(2).normal(size=(2000, 200)) + shift * positive
    truth = stats.norm.cdf(shift / np.sqrt(2))
    estimate = estimate_auroc(scores, positive, list_single_clusters(200), 0.95)
    assert compute_coverage(estimate, truth) >= 0.94


def test_clustered_intervals_of_auroc_cover_the_truth_where_careless_ones_do_not():
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(60), 6)
    positive = clusters < 30
    shared = np.repeat(rng.normal(size=(2000, 60)), 6, axis=1)
    scores = shared + 0.2 * rng.normal(size=(2000, 360)) + positive
    truth = stats.norm.cdf(1 / np.sqrt(2 * 1.04))
    clustered = estimate_auroc(scores, positive, clusters, 0.95)
    careless = estimate_auroc(scores, positive, list_single_clusters(360), 0.95)
    assert compute_coverage(clustered, truth) >= 0.92
    assert compute_coverage(careless, truth) < 0.7


def test_clusters_widen_the_interval_of_a_perfect_auroc():
    clusters = np.repeat(np.arange(50), 4)
    positive = clusters < 25
    scores = positive[None].astype(float)
    clustered = estimate_auroc(scores, positive, clusters, 0.95)
    careless = estimate_auroc(scores, positive, list_single_clusters(200), 0.95)
    assert clustered.low[0] < careless.low[0]


def test_a_perfect_score_still_has_an_interval_with_a_width():
    positive = np.arange(100) < 50
    perfect = estimate_auroc(
        positive[None].astype(float), positive, list_single_clusters(100), 0.95
    )
    assert perfect.low[0] < 0.99
    assert perfect.high[0] == 1.0


def test_a_head_whose_report_is_no_number_has_no_ranking_and_the_others_keep_theirs():
    positive = np.arange(100) < 50
    scores = np.stack([positive, np.where(np.arange(100) == 7, np.nan, positive)])
    values = estimate_auroc(scores, positive, list_single_clusters(100), 0.95).value
    assert values[0] == 1.0
    assert np.isnan(values[1])


def test_recall_counts_positives_above_the_threshold_of_few_negatives():
    """200 negatives at 0 to 199: two of them, 198 and 199, may lie above the threshold."""
    scores = np.concatenate([np.arange(200.0), [197.0, 197.5, 198.0, 500.0]])
    positive = np.arange(204) >= 200
    assert compute_recall(scores[None], positive).tolist() == [0.75]
    assert compute_recall(scores[None], positive, false_positives=0.0).tolist() == [0.25]


def test_recall_of_a_constant_is_zero_of_a_perfect_score_one_and_of_its_mirror_zero():
    positive = np.arange(300) < 50
    scores = np.stack([np.zeros(300), positive, -1.0 * positive])
    assert compute_recall(scores, positive).tolist() == [0.0, 1.0, 0.0]


def test_recall_of_a_useless_score_is_about_its_share_of_false_positives():
    scores = np.random.default_rng(0).normal(size=(200, 4000))
    recall = compute_recall(scores, np.arange(4000) < 2000)
    assert recall.mean() == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("positive", [np.zeros(4, bool), np.ones(4, bool)])
def test_recall_is_not_known_with_one_class_or_without_numbers(positive):
    assert np.isnan(compute_recall(np.arange(4.0)[None], positive)).all()
    both = np.array([True, False, True, False])
    assert np.isnan(compute_recall(np.array([[1.0, np.nan, 0.0, 2.0]]), both)).all()
