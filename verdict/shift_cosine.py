"""How near each head is to a probe for X where X and H differ: an outside law to hold results
against.

K: heads, N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from training.heads import Heads
from verdict.probe_data import ProbeData
from verdict.statistics import Floats

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


def compute_shift_cosines(
    heads: Heads, probe: ProbeData, best_level: int, disputed_NLD: Tensor, log_odds_KN: Floats
) -> Floats:
    """Returns for each head the cosine between its direction and that of a probe for X, in the
    metric of the activations' covariance on disputed episodes, shape (K,).

    Between two linear heads that cosine is the correlation of their log-odds, which is what is
    computed, and which every head has. For linear heads it predicts the AUROC for X on disputed
    episodes (the truthfulness spectrum, arXiv 2602.20273). NaN for a head that always says the
    same.

    Args:
        probe: the probe is fitted on its disputed episodes, which judge no head.
        best_level: where heads that read several levels are compared with the probe.
        disputed_NLD: activations of the episodes that the log-odds are of.
    """
    if not len(probe.z_NLD):  # the predictor was not examined
        return np.full(len(log_odds_KN), np.nan)
    read_by_K = [levels[0] if len(levels) == 1 else best_level for levels, *_ in heads.table]
    cosine_K = np.full(len(log_odds_KN), np.nan)
    for level in set(read_by_K):
        place = probe.levels.index(level)
        if level not in probe.shift_probes:
            probe.shift_probes[level] = fit_shift_probe(probe, place)
        probe_N = probe.shift_probes[level].decision_function(disputed_NLD[:, place].numpy())
        is_here_K = np.array(read_by_K) == level
        cosine_K[is_here_K] = correlate(log_odds_KN[is_here_K], probe_N)
    return cosine_K


def fit_shift_probe(probe: ProbeData, place: int) -> LogisticRegression:
    """Returns a probe for X on the disputed episodes.

    Args:
        place: of the level among the levels that are read.
    """
    from sklearn.linear_model import LogisticRegression

    rows = slice(probe.n_easy, 2 * probe.n_easy)
    fitted = LogisticRegression(C=0.1, max_iter=1_000)
    fitted.fit(probe.z_NLD[rows, place].numpy(), probe.cases.concept_N[rows])
    return fitted


def correlate(value_KN: Floats, other_N: Floats) -> Floats:
    """Returns the correlation of each row with other values; NaN where one of them is constant.

    >>> correlate(np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]), np.array([2.0, 4.0, 6.0])).round(6)
    array([ 1., nan])
    """
    centred_KN = value_KN - value_KN.mean(axis=1, keepdims=True)
    centred_N = other_N - other_N.mean()
    with np.errstate(invalid="ignore"):
        length_K = np.linalg.norm(centred_KN, axis=1) * np.linalg.norm(centred_N)
        return (centred_KN @ centred_N / length_K).astype(float)
