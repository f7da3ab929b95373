"""The subspaces in which a predictor stores X, and H: fitted on its own predictions, and swapped
between episodes.

N: episodes, L: levels, D: width, R: rank, P: pairs of an exchange.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from verdict.ground_truth import Exchange, Variable


class Subspaces(NamedTuple):
    """Orthogonal projections on the subspaces of X and of H at each level, and on random subspaces
    of the same ranks.
    """

    concept_LDD: Tensor
    human_LDD: Tensor
    random_concept_LDD: Tensor
    random_human_LDD: Tensor

    def choose(self, variable: Variable, random: bool) -> Tensor:
        """Returns the projections of one variable, or the random ones of the same rank."""
        if random:
            return self.random_concept_LDD if variable == "concept" else self.random_human_LDD
        return self.concept_LDD if variable == "concept" else self.human_LDD


def fit_basis(z_ND: Tensor, own_N: Tensor, other_N: Tensor, rank: int) -> Tensor:
    """Returns an orthonormal basis, shape (D, R), of the directions in which activations differ
    with one variable while the other stays the same.

    Partial least squares (Wold 1975): the first direction is the difference of the class means of
    `own`, within episodes of equal `other`; each further direction is the same difference in what
    the directions before it leave unexplained. Where `own` never varies, the basis is zero.

    Args:
        own_N: what the predictor itself predicts of the variable, bool.
        other_N: what it predicts of the other variable, bool.
    """
    rest_ND = _centre_within(z_ND.double(), other_N)
    rest_N = _centre_within(own_N.double()[:, None], other_N)[:, 0]
    directions = []
    for _ in range(rank):
        direction_D = rest_ND.T @ rest_N
        direction_D = direction_D / direction_D.norm().clamp(min=1e-12)
        score_N = rest_ND @ direction_D
        size = (score_N @ score_N).clamp(min=1e-12)
        rest_N = rest_N - score_N * (score_N @ rest_N) / size
        rest_ND = rest_ND - score_N[:, None] * (rest_ND.T @ score_N / size)
        directions.append(direction_D)
    return orthonormalise(torch.stack(directions, dim=1))


def orthonormalise(directions_DR: Tensor) -> Tensor:
    """Returns an orthonormal basis of the span of the directions; zero directions stay zero."""
    return torch.linalg.qr(directions_DR)[0] * (directions_DR.norm(dim=0) > 0.5)


def draw_basis(width: int, rank: int, rng: torch.Generator) -> Tensor:
    """Returns an orthonormal basis of a random subspace, shape (D, R)."""
    return orthonormalise(torch.randn(width, rank, generator=rng, dtype=torch.float64))


def projection(basis_DR: Tensor) -> Tensor:
    """Returns the orthogonal projection on a subspace, float32."""
    return (basis_DR @ basis_DR.T).float()


def swap_parts(z_NLD: Tensor, exchange: Exchange, onto_LDD: Tensor) -> Tensor:
    """Returns the activations of the bases, shape (P, L, D); their parts in the subspaces at every
    level are those of the sources.
    """
    base_PLD, source_PLD = z_NLD[exchange.base_P], z_NLD[exchange.source_P]
    return base_PLD + torch.einsum("lde,ple->pld", onto_LDD, source_PLD - base_PLD)


def _centre_within(value_ND: Tensor, stratum_N: Tensor) -> Tensor:
    """Returns values less their mean among the episodes of the same stratum."""
    for rows_N in (stratum_N, ~stratum_N):
        if rows_N.any():
            centred_ND = value_ND - value_ND[rows_N].mean(dim=0)
            value_ND = torch.where(rows_N[:, None], centred_ND, value_ND)
    return value_ND
