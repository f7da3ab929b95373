"""The threshold of a head where its offset shifts: a "not" moves the log-odds of most heads, so
that 0 no longer parts yes from no.

K: heads, N: episodes.
"""

from __future__ import annotations

import numpy as np

from verdict.ground_truth import GroundTruth, Scores
from verdict.inputs import AMISS, Answers
from verdict.statistics import Floats


def find_medians(log_odds_KN: Scores) -> Floats:
    """Returns the report of each head above which it says yes, in nats, shape (K,): its median. No
    label is used; it is a fair threshold because worlds draw disputed episodes, and those amiss,
    balanced over X. The intervals of the evidence are for this threshold as it is: that a median is
    an estimate is not in them.

    Where half of the reports or more are a head's largest one, as of a head with two answers that
    says yes once too often, none lies above the median: the threshold is then half-way to the next
    lower report.

    >>> find_medians(np.array([[3.0, 3.0, 3.0, -3.0], [1.0, 1.0, 1.0, 1.0]])).tolist()
    [0.0, 1.0]
    """
    log_odds_KN = np.nan_to_num(log_odds_KN)
    median_K = np.median(log_odds_KN, axis=1)
    top_K = log_odds_KN.max(axis=1)
    is_below_KN = log_odds_KN < top_K[:, None]
    next_K = np.where(is_below_KN, log_odds_KN, -np.inf).max(axis=1)
    is_tied_K = (median_K == top_K) & is_below_KN.any(axis=1)
    return np.where(is_tied_K, (top_K + np.where(is_tied_K, next_K, 0)) / 2, median_K)


def shift_answers(answers: Answers, truth: GroundTruth, disputed_KN: Scores) -> Answers:
    """Returns the answers, so that 0 parts yes from no where something is amiss too.

    From the answers where something is amiss, each head's median on disputed episodes is taken; on
    the set of episodes that are amiss with X = H, its median there. A report at the median is 0 and
    counts as no, so a head that is constant never says yes there. Other answers stay as they are,
    as do those of episodes of which it is not known whether anything is amiss, and all of them
    where no episode is disputed.

    Args:
        disputed_KN: the answers to disputed episodes that the medians are taken over, in nats.
    """
    if disputed_KN.shape[1] == 0:
        return answers
    of_disputed_K = find_medians(disputed_KN)
    shifted = {}
    for key, log_odds_KN in answers.by_input.items():
        signs = key.read_truth(truth)
        if signs is None or not signs.amiss_N.any():
            continue
        median_K = find_medians(log_odds_KN) if key == AMISS else of_disputed_K
        shifted[key] = log_odds_KN - median_K[:, None] * signs.amiss_N
    return answers.replace(shifted)
