"""The area under the ROC curve and its interval, for K heads at once. Ties count half, and a
perfect score still has an interval with a width.

K: heads, N: episodes; P of them are of one class, Q of the other.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri

from verdict.statistics import Bools, Estimate, Floats, Ints, sum_by_cluster


def estimate_auroc(score_KN: Floats, positive_N: Bools, cluster_N: Ints, level: float) -> Estimate:
    """Returns the area under the ROC curve: how often a positive scores above a negative.

    At either end, the interval is the wider of two: that of DeLong, DeLong and Clarke-Pearson
    (1988) with clusters as in Obuchowski (1997), and method 5 of Newcombe (2006) with clusters in
    place of episodes, which has a width at 0 and 1 too.
    """
    value_K, placement_KN = _compute_placements(score_KN, positive_N)
    z = ndtri(1 - (1 - level) / 2)
    negative_N = ~positive_N
    weight_N = np.where(positive_N, 1 / positive_N.sum(), 1 / negative_N.sum())
    influence_KN = weight_N * (placement_KN - value_K[:, None])
    _, cluster = np.unique(cluster_N, return_inverse=True)
    variance_K = sum_by_cluster(influence_KN, cluster).var(axis=1) * (cluster.max() + 1)
    margin_K = z * np.sqrt(variance_K)
    n_positive = len(np.unique(cluster[positive_N]))
    n_negative = len(np.unique(cluster[negative_N]))
    low_K, high_K = _solve_newcombe(value_K, n_positive, n_negative, z)
    return Estimate(
        value_K,
        np.minimum(low_K, np.maximum(value_K - margin_K, 0)),
        np.maximum(high_K, np.minimum(value_K + margin_K, 1)),
    )


def compute_aurocs(score_KN: Floats, positive_N: Bools) -> Floats:
    """Returns the area under the ROC curve of each head, without an interval; ties count half.

    >>> scores = np.array([[1.0, 2.0, 3.0], [3.0, 3.0, 1.0]])
    >>> compute_aurocs(scores, np.array([False, True, True])).tolist()
    [1.0, 0.25]
    """
    return _compute_placements(score_KN, positive_N)[0]


def compute_recall(score_KN: Floats, positive_N: Bools, false_positives: float = 0.01) -> Floats:
    """Returns the share of positives above the lowest threshold that few negatives exceed; NaN
    where there are no positives or no negatives, and for heads with an answer that is no number.

    Args:
        false_positives: the largest share of negatives above the threshold. With fewer than
            1 / false_positives negatives, none may be.

    >>> scores = np.array([[3.0, 2.0, 2.5, 1.0], [0.0, 0.0, 0.0, 0.0]])
    >>> compute_recall(scores, np.array([True, True, False, False])).tolist()
    [0.5, 0.0]
    """
    negative_KQ = np.sort(score_KN[:, ~positive_N], axis=1)
    n_negative = negative_KQ.shape[1]
    if not n_negative or not positive_N.any():
        return np.full(len(score_KN), np.nan)
    allowed = int(false_positives * n_negative + 1e-9)
    threshold_K1 = negative_KQ[:, n_negative - 1 - allowed, None]
    recall_K = (score_KN[:, positive_N] > threshold_K1).mean(axis=1)
    return np.where(np.isnan(score_KN).any(axis=1), np.nan, recall_K)


def _compute_placements(score_KN: Floats, positive_N: Bools) -> tuple[Floats, Floats]:
    """Returns the AUROC, and for each episode the share of the other class against which it is
    ranked correctly.
    """
    placement_KN = np.empty(score_KN.shape)
    for class_N in (positive_N, ~positive_N):
        own_KP = torch.from_numpy(score_KN[:, class_N]).contiguous()
        other_KQ = torch.from_numpy(score_KN[:, ~class_N]).contiguous().sort().values
        below_KP = torch.searchsorted(other_KQ, own_KP)
        not_above_KP = torch.searchsorted(other_KQ, own_KP, right=True)
        placement_KN[:, class_N] = (below_KP + not_above_KP).numpy() / 2 / other_KQ.shape[1]
    placement_KN = np.where(positive_N, placement_KN, 1 - placement_KN)
    placement_KN[np.isnan(score_KN).any(axis=1)] = np.nan
    return placement_KN[:, positive_N].mean(axis=1), placement_KN


def _solve_newcombe(
    value_K: Floats, n_positive: int, n_negative: int, z: float
) -> tuple[Floats, Floats]:
    """Solves |theta - value| = z sqrt(V(theta)) on either side of the value, where V is that of
    Hanley and McNeil (1982) with the mean number of positives and negatives in its factor.
    """
    mean = (n_positive + n_negative) / 2

    def compute_margin(theta_K: Floats) -> Floats:
        ratios_K = (1 - theta_K) / (2 - theta_K) + theta_K / (1 + theta_K)
        inner_K = 1 + (mean - 1) * ratios_K
        return z * np.sqrt(theta_K * (1 - theta_K) * inner_K / (n_positive * n_negative))

    def bisect(inside_K: Floats, outside_K: Floats) -> Floats:
        for _ in range(50):
            middle_K = (inside_K + outside_K) / 2
            too_far_K = np.abs(middle_K - value_K) > compute_margin(middle_K)
            inside_K = np.where(too_far_K, inside_K, middle_K)
            outside_K = np.where(too_far_K, middle_K, outside_K)
        return outside_K

    return bisect(value_K, np.zeros_like(value_K)), bisect(value_K, np.ones_like(value_K))
