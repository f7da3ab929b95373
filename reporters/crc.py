"""Contrastive representation clustering: the direction in which statements and their negations
differ most (Burns et al. 2022).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from reporters.fitted_linear import FittedLinear, scale_direction
from reporters.reporter import Lesson


class CRC(FittedLinear):
    """log-odds = s (v · z − m), where v is the first principal component of the differences between
    statements and their negations: CRC-TPC of Burns et al. (2022).

    The mean difference, which any "not" makes, is taken off before. The direction needs no labels;
    its sign, scale s and threshold m are those of `mean_difference` on the easy statements.
    """

    needs: ClassVar[tuple[Literal["negations"], ...]] = ("negations",)

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.negated_NLD is not None
        difference_ND = (lesson.z_NLD - lesson.negated_NLD).flatten(1)
        centred_ND = (difference_ND - difference_ND.mean(dim=0)).double()
        _, vector_DD = torch.linalg.eigh(centred_ND.T @ centred_ND)
        direction_D = vector_DD[:, -1].to(lesson.z_NLD)
        return scale_direction(direction_D, lesson.z_NLD.flatten(1), lesson.human_N)
