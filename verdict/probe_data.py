"""The episodes on which the predictor itself is examined.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from datasets import Dataset
from torch import Tensor

from verdict.ground_truth import Cases


@dataclass(frozen=True)
class ProbeData:
    """Easy episodes, disputed ones, and those amiss, as many of each, on which the predictor itself
    is examined; apart from all that heads are trained or judged on.
    """

    episodes: Dataset
    n_easy: int
    """Number of easy episodes, which come first; the answer on one may be noisy."""
    z_NLD: Tensor
    levels: tuple[int, ...]

    @cached_property
    def shift_probes(self) -> dict[int, Any]:
        """Probes for X that were fitted on the disputed episodes, by level: filled where they are
        used.
        """
        return {}

    @cached_property
    def cases(self) -> Cases:
        """Their ground truth; H is X on easy episodes."""
        cases = Cases.of(self.episodes)
        is_easy_N = np.arange(len(cases)) < self.n_easy
        return replace(cases, human_N=np.where(is_easy_N, cases.concept_N, cases.human_N))
