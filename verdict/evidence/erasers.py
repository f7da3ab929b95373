"""Linear erasure of X, and of H, from activations: LEACE (Belrose et al. 2023), rank 1.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Eraser(NamedTuple):
    """For each level, a map that leaves no linear trace of a label:
    z - left · right (z - mean).
    """

    left_LD: Tensor
    right_LD: Tensor
    mean_LD: Tensor

    @classmethod
    def fit(cls, z_NLD: Tensor, label_N: Tensor) -> Eraser:
        """Returns the eraser of a label."""
        from concept_erasure import LeaceEraser

        lefts, rights, means = [], [], []
        for z_ND in z_NLD.unbind(dim=1):
            leace = LeaceEraser.fit(z_ND.double(), label_N.double())
            lefts.append(leace.proj_left[:, 0])
            rights.append(leace.proj_right[0])
            means.append(leace.bias)
        return cls(*(torch.stack(part).float() for part in (lefts, rights, means)))

    def __call__(self, z_NLD: Tensor) -> Tensor:
        """Returns the activations without the label."""
        score_NL1 = ((z_NLD - self.mean_LD) * self.right_LD).sum(dim=2, keepdim=True)
        return z_NLD - score_NL1 * self.left_LD


class Erasers(NamedTuple):
    """The erasers of X, of H, and of a random label, which is the control."""

    concept: Eraser
    human: Eraser
    random: Eraser

    @classmethod
    def fit(cls, z_NLD: Tensor, concept_N: Tensor, human_N: Tensor) -> Erasers:
        """Returns the three erasers.

        Args:
            z_NLD: activations of equally many episodes of each X and H, so that neither variable
                tells the other.
        """
        random_N = torch.randn(len(z_NLD), generator=torch.Generator().manual_seed(0))
        return cls(
            Eraser.fit(z_NLD, concept_N.float()),
            Eraser.fit(z_NLD, human_N.float()),
            Eraser.fit(z_NLD, random_N.float()),
        )
