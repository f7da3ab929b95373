"""Contrastive representation clustering: the direction in which statements and their negations
differ most (Burns et al. 2022).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from reporters.fitted_linear import FittedLinear, scale_direction
from reporters.reporter import Lesson
from reporters.standardiser import compute_standardiser


class CRC(FittedLinear):
    """log-odds = s (v · z − m), where v is the first principal component of the differences between
    statements and their negations: CRC-TPC of Burns et al. (2022).

    Each half of the pairs is normalised by itself before, so that no "not" can be read. The
    direction needs no labels; its sign, scale s and threshold m are those of `mean_difference` on
    the easy statements.
    """

    needs: ClassVar[tuple[Literal["negations"], ...]] = ("negations",)

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.negated_NLD is not None
        statement_ND, negation_ND = lesson.z_NLD.flatten(1), lesson.negated_NLD.flatten(1)
        mean_D, std_D = compute_standardiser(statement_ND)
        negated_mean_D, negated_std_D = compute_standardiser(negation_ND)
        unit_ND = (statement_ND - mean_D) / std_D
        difference_ND = (unit_ND - (negation_ND - negated_mean_D) / negated_std_D).double()
        _, vector_DD = torch.linalg.eigh(difference_ND.T @ difference_ND)
        direction_D = vector_DD[:, -1].to(statement_ND) / std_D
        return scale_direction(direction_D, statement_ND, lesson.human_N)
