"""Fisher's linear discriminant in closed form, with a shrunk covariance."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from console.ranges import Share
from reporters.fitted_linear import FittedLinear
from reporters.reporter import ClosedForm

RANK = 1e-10
"""Eigenvalues below this share of the largest count as 0."""


class LDA(FittedLinear, ClosedForm):
    """log-odds = w · z + b, with w = Σ⁻¹ (m₁ − m₀): `LinearDiscriminantAnalysis` of scikit-learn
    with the solver lsqr (Fisher 1936).

    Σ is the covariance within classes, mean over classes by their share. m₁ and m₀ are the class
    means. Where Σ has no inverse, the shortest w is taken.

    Args:
        shrinkage: the share of Σ that is replaced by its mean variance times the identity, or
            ledoit_wolf for the share that Ledoit and Wolf (2004) estimate of each class, on
            activations of unit variance in it.
    """

    def __init__(
        self, n_levels: int, width: int, shrinkage: Share | Literal["ledoit_wolf"]
    ) -> None:
        super().__init__(n_levels, width)
        self.shrinkage = shrinkage

    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        z_ND = z_NLD.flatten(1).double()
        yes_N = human_N.double()
        no_mean_D, no_DD = self._describe_class(z_ND, 1 - yes_N)
        yes_mean_D, yes_DD = self._describe_class(z_ND, yes_N)
        share = yes_N.mean()
        within_DD = share * yes_DD + (1 - share) * no_DD
        inverse_DD = torch.linalg.pinv(within_DD, hermitian=True, rtol=RANK)
        weight_D = inverse_DD @ (yes_mean_D - no_mean_D)
        bias = -(weight_D * (yes_mean_D + no_mean_D)).sum() / 2 + torch.logit(share)
        return {"weight_1D": weight_D[None].to(z_NLD), "bias": bias.to(z_NLD)}

    def _describe_class(self, z_ND: Tensor, member_N: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mean of a class and its shrunk covariance.

        Args:
            member_N: 1 for episodes of the class, 0 for others.
        """
        n = member_N.sum()
        mean_D = member_N @ z_ND / n
        centred_ND = (z_ND - mean_D) * member_N[:, None]
        if self.shrinkage != "ledoit_wolf":
            covariance_DD = centred_ND.T @ centred_ND / n
            return mean_D, _shrink(covariance_DD, self.shrinkage)
        variance_D = centred_ND.square().sum(dim=0) / n
        std_D = torch.where(variance_D > 1e-20, variance_D.sqrt(), torch.ones_like(variance_D))
        unit_ND = centred_ND / std_D
        unit_DD = unit_ND.T @ unit_ND / n
        shrunk_DD = _shrink(unit_DD, _estimate_shrinkage(unit_ND, unit_DD, n))
        return mean_D, std_D[:, None] * shrunk_DD * std_D


def _shrink(covariance_DD: Tensor, share: Tensor | float) -> Tensor:
    """Returns a covariance of which a share is replaced by its mean variance times the identity."""
    mean_variance = covariance_DD.diagonal().mean()
    identity_DD = torch.eye(
        len(covariance_DD), dtype=covariance_DD.dtype, device=covariance_DD.device
    )
    return (1 - share) * covariance_DD + share * mean_variance * identity_DD


def _estimate_shrinkage(centred_ND: Tensor, covariance_DD: Tensor, n: Tensor) -> Tensor:
    """Returns the share of Ledoit and Wolf (2004): the variance of the covariance's entries over
    their distance from the identity times the mean variance, at most 1.

    Args:
        centred_ND: the episodes of a class; rows of others are 0.
        n: the number of episodes of the class.
    """
    width = len(covariance_DD)
    mean_variance = covariance_DD.diagonal().mean()
    squares = covariance_DD.square().sum()
    distance = squares / width - mean_variance**2
    fourth_moments = centred_ND.square().sum(dim=1).square().sum() / n
    noise = (fourth_moments - squares) / (n * width)
    return (torch.minimum(noise, distance) / distance.clamp_min(math.ulp(0))).clamp(0, 1)
