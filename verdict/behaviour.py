"""Evidence from behaviour: whom does a head follow where X and H come apart?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verdict.cases import Answers, Bench
from verdict.statistics import Estimate, Floats, auroc, share


@dataclass(frozen=True)
class Behaviour:
    """K heads on disputed episodes. Following H is the mirror of each figure."""

    ranks_concept: Estimate
    """AUROC of the log-odds for X: decides, because an offset may shift between easy and disputed episodes."""
    follows_concept: Estimate
    """Share of episodes on which the head says X, at its own threshold."""
    ranks_concept_given_human: Floats
    """AUROC for X among easy and disputed episodes with the same H, mean over both values of H."""
    ranks_easy: Floats
    """AUROC for X, which is H there, on held-out easy episodes."""
    episodes: int
    """How many disputed ones there were."""


def behaviour(bench: Bench, answers: Answers, level: float) -> Behaviour:
    """Returns what K heads did on disputed episodes, with intervals at this level.

    The world draws disputed episodes balanced over X and over families, so plain shares are balanced ones.
    """
    cases = bench.disputed
    said_KN = (answers.disputed > 0) == cases.concept_N
    return Behaviour(
        ranks_concept=auroc(answers.disputed, cases.concept_N, cases.cluster_N, level),
        follows_concept=share(said_KN, cases.cluster_N, level),
        ranks_concept_given_human=_given_human(bench, answers),
        ranks_easy=auroc(answers.easy, bench.easy.concept_N, bench.easy.cluster_N, level).value,
        episodes=len(cases),
    )


def _given_human(bench: Bench, answers: Answers) -> Floats:
    score_KN = np.concatenate([answers.easy, answers.disputed], axis=1)
    concept_N = np.concatenate([bench.easy.concept_N, bench.disputed.concept_N])
    human_N = np.concatenate([bench.easy.concept_N, bench.disputed.human_N])  # X = H on easy episodes, where answers may be noisy
    strata = [auroc(score_KN[:, same_N], concept_N[same_N], np.arange(same_N.sum()), 0.95).value for same_N in (human_N, ~human_N)]
    return np.mean(strata, axis=0)
