"""The difference of class means, solved in closed form: the mass-mean probe of Marks and Tegmark
(2023).
"""

from torch import Tensor

from reporters.fitted_linear import FittedLinear, scale_direction
from reporters.reporter import ClosedForm


class MeanDifference(FittedLinear, ClosedForm):
    """log-odds = s (d · z − m), where d is the difference of class means, m the projection of their
    midpoint, and s the scale that turns the result into log-odds.

    s is that of a one-dimensional linear discriminant: the distance of the projected class means
    over the variance within classes.
    N: episodes, D: width.
    """

    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        z_ND = z_NLD.flatten(1)
        yes_N1 = human_N[:, None]
        no_N1 = 1 - yes_N1
        mean_yes_D = (yes_N1 * z_ND).sum(0) / yes_N1.sum()
        mean_no_D = (no_N1 * z_ND).sum(0) / no_N1.sum()
        return scale_direction(mean_yes_D - mean_no_D, z_ND, human_N)
