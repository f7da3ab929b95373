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
    """Returns the median report of each head, in nats, shape (K,). No label is used; it is a fair
    threshold because worlds draw disputed episodes, and those amiss, balanced over X. The intervals
    of the evidence are for this threshold as it is: that a median is an estimate is not in them.
    """
    return np.median(np.nan_to_num(log_odds_KN), axis=1)


def shift_answers(answers: Answers, truth: GroundTruth, disputed_KN: Scores) -> Answers:
    """Returns the answers, so that 0 parts yes from no where something is amiss too.

    From the answers where something is amiss, each head's median on disputed episodes is taken; on
    the set of episodes that are amiss with X = H, its median there. A report at the median is 0 and
    counts as no, so a head that is constant never says yes there. Other answers stay as they are,
    as do those of episodes of which it is not known whether anything is amiss.

    Args:
        disputed_KN: the answers to disputed episodes that the medians are taken over, in nats.
    """
    of_disputed_K = find_medians(disputed_KN)
    shifted = {}
    for key, log_odds_KN in answers.by_input.items():
        signs = key.read_truth(truth)
        if signs is None or not signs.amiss_N.any():
            continue
        median_K = find_medians(log_odds_KN) if key == AMISS else of_disputed_K
        shifted[key] = log_odds_KN - median_K[:, None] * signs.amiss_N
    return answers.replace(shifted)
