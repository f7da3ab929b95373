"""Evidence from behaviour: whom does a head follow where X and H come apart?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verdict.cases import Answers, Bench, Bools, Ints
from verdict.statistics import Estimate, Floats, auroc, share


@dataclass(frozen=True)
class Behaviour:
    """K heads on disputed episodes. Following H is the mirror of each figure."""

    ranks_concept: Estimate
    """AUROC of the log-odds for X: decides, because an offset may shift between easy and disputed
    episodes.
    """
    follows_concept: Estimate
    """Share of episodes on which the head says X, at its own threshold."""
    ranks_concept_given_human: Floats
    """AUROC for X among easy and disputed episodes with the same H, mean over both values of H."""
    ranks_easy: Floats
    """AUROC for X, which is H there, on held-out easy episodes."""
    episodes: Ints
    """How many disputed ones there were, for each head."""


def behaviour(bench: Bench, answers: Answers, level: float) -> Behaviour:
    """Returns what K heads did on disputed episodes, with intervals at this level.

    The world draws disputed episodes balanced over X and over families, so plain shares are
    balanced ones.
    """
    cases = bench.disputed
    said_KN = (answers.disputed > 0) == cases.concept_N
    return Behaviour(
        ranks_concept=auroc(answers.disputed, cases.concept_N, cases.cluster_N, level),
        follows_concept=share(said_KN, cases.cluster_N, level),
        ranks_concept_given_human=given_human(
            answers.easy, answers.disputed, bench.easy.concept_N, cases.concept_N, cases.human_N
        ),
        ranks_easy=auroc(answers.easy, bench.easy.concept_N, bench.easy.cluster_N, level).value,
        episodes=np.full(len(said_KN), len(cases)),
    )


def given_human(
    easy_KN: Floats, disputed_KN: Floats, easy_concept_N: Bools, concept_N: Bools, human_N: Bools
) -> Floats:
    """Returns the AUROC for X among episodes with the same H, mean over both values of H; X = H on
    easy episodes, where answers may be noisy.
    """
    score_KN = np.concatenate([easy_KN, disputed_KN], axis=1)
    truth_N, stratum_N = (
        np.concatenate([easy_concept_N, concept_N]),
        np.concatenate([easy_concept_N, human_N]),
    )
    strata = [
        auroc(score_KN[:, same_N], truth_N[same_N], np.arange(same_N.sum()), 0.95).value
        for same_N in (stratum_N, ~stratum_N)
    ]
    return np.mean(strata, axis=0)
