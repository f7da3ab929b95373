"""Evidence from erasure: does the report cease to follow X, or H, once nothing linear tells it any
more? It supports a verdict and decides none.

K: heads, N: episodes, P: exchanges, L: levels, D: width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from verdict.cases import Answers, Bench, Bools, Erased, Scores
from verdict.statistics import Estimate, difference


@dataclass(frozen=True)
class Erasure:
    """How much less K heads follow X, and H, once it is erased, beyond what erasing a random
    direction does. A translator has (1, 0).
    """

    concept: Estimate
    """E[R | X=1] - E[R | X=0], H held, after a random erasure, less the same after X is erased. R
    is the report, 1 for yes.
    """
    human: Estimate
    """The same for H, X held."""


def erasure(bench: Bench, answers: Answers, level: float) -> Erasure | None:
    """Returns both drops with intervals at this level, None where nothing was erased.

    LEACE guards linear readers only: a drop of 0 of a nonlinear head does not say that it needs no
    X. For it, swaps exchange X's part given H.
    """
    erased = answers.erased
    if erased is None:
        return None
    pairs, pool = bench.concept_exchange, bench.pool
    concept_P, human_P = pool.concept_N[pairs.base_P], pool.human_N[pairs.base_P]

    def drop(without_KP: Scores, truth_P: Bools) -> Estimate:
        lost_KP = (erased.random > 0).astype(np.int64) - (without_KP > 0)
        change_KP = lost_KP * np.where(truth_P, 1, -1)
        # Twice, for each side of X is half of the rows.
        return Estimate(*(2 * part for part in difference(change_KP, pairs.cluster_P, level)))

    return Erasure(drop(erased.concept, concept_P), drop(erased.human, human_P))


def erasers(z_NLD: Tensor, concept_N: Tensor, human_N: Tensor) -> Erased[Erasers]:
    """Returns what erases X, H, and a random direction in their stead, at every level: LEACE
    (Belrose et al. 2023), rank 1.

    z must hold as many episodes of each X and H, for what is erased must not be told by the other.
    A random direction is that of a label drawn by chance.
    """
    chance_N = torch.randn(len(z_NLD), generator=torch.Generator().manual_seed(0))
    return Erased(
        *(Erasers.fitted(z_NLD, label_N.float()) for label_N in (concept_N, human_N, chance_N))
    )


class Erasers(NamedTuple):
    """For each level a map that leaves nothing of a label for linear readers: z - left · right (z -
    mean).
    """

    left_LD: Tensor
    right_LD: Tensor
    mean_LD: Tensor

    @classmethod
    def fitted(cls, z_NLD: Tensor, label_N: Tensor) -> Erasers:
        from concept_erasure import LeaceEraser

        found = [LeaceEraser.fit(z_ND.double(), label_N.double()) for z_ND in z_NLD.unbind(dim=1)]
        parts = zip(
            *((one.proj_left[:, 0], one.proj_right[0], one.bias) for one in found), strict=True
        )
        return cls(*(torch.stack(part).float() for part in parts))

    def __call__(self, z_NLD: Tensor) -> Tensor:
        return (
            z_NLD - ((z_NLD - self.mean_LD) * self.right_LD).sum(dim=2, keepdim=True) * self.left_LD
        )
