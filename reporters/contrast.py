"""A logistic head on the differences between statements and their negations."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from console.ranges import Positive
from reporters.fitted_linear import FittedLinear, scale_direction
from reporters.logistic import solve_logistic
from reporters.reporter import Lesson


class Contrast(FittedLinear):
    """log-odds = s (w · z − m), where w separates statements with the answer yes from those with no
    by what changes when they are negated: logistic regression on contrast pairs (Burns et al. 2022,
    as their supervised ceiling).

    What a statement and its negation share, such as its topic, cannot help. The mean difference is
    taken off before, and the labels are those of the easy statements alone. Sign, scale s and
    threshold m are those of `mean_difference` on the easy statements.

    Args:
        C: as in `Logistic`.
    """

    needs: ClassVar[tuple[Literal["negations"], ...]] = ("negations",)

    def __init__(self, n_levels: int, width: int, C: Positive) -> None:
        super().__init__(n_levels, width)
        self.C = C

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        assert lesson.negated_NLD is not None
        difference_ND = (lesson.z_NLD - lesson.negated_NLD).flatten(1)
        centred_ND = difference_ND - difference_ND.mean(dim=0)
        weight_D, _ = solve_logistic(centred_ND, lesson.human_N, self.C, has_bias=False)
        return scale_direction(weight_D, lesson.z_NLD.flatten(1), lesson.human_N)
