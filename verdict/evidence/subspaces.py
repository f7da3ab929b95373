"""Where in its activations a predictor keeps X, and where H: found from its own predictions, and
exchanged between episodes.

N: episodes, L: levels, D: width, R: rank, P: exchanges.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from verdict.cases import Exchange


class Subspaces(NamedTuple):
    """Orthogonal projections on the parts of the activations at each level, and on random parts of
    the same ranks.
    """

    concept_LDD: Tensor
    human_LDD: Tensor
    random_concept_LDD: Tensor
    random_human_LDD: Tensor


def basis(z_ND: Tensor, own_N: Tensor, other_N: Tensor, rank: int) -> Tensor:
    """Returns an orthonormal basis, shape (D, R), of the directions in which activations differ
    with one thing while the other stays.

    Partial least squares (Wold 1975): the first direction is the difference of means of what says
    `own` and what does not, within episodes that say the same of `other`; each further one is that
    of what those before leave unexplained. Where `own` never varies, the basis is of zeros.

    Args:
        own_N: what the predictor itself predicts of the one, bool.
        other_N: what it predicts of the other, bool.
    """
    left_ND, own_N = (
        _within(z_ND.double(), other_N),
        _within(own_N.double()[:, None], other_N)[:, 0],
    )
    directions = []
    for _ in range(rank):
        direction_D = left_ND.T @ own_N
        direction_D = direction_D / direction_D.norm().clamp(min=1e-12)
        score_N = left_ND @ direction_D
        size = (score_N @ score_N).clamp(min=1e-12)
        own_N = own_N - score_N * (score_N @ own_N) / size
        left_ND = left_ND - score_N[:, None] * (left_ND.T @ score_N / size)
        directions.append(direction_D)
    return orthonormal(torch.stack(directions, dim=1))


def orthonormal(directions_DR: Tensor) -> Tensor:
    """Returns an orthonormal basis of what the directions span; directions that are 0 stay so."""
    return torch.linalg.qr(directions_DR)[0] * (directions_DR.norm(dim=0) > 0.5)


def random_basis(width: int, rank: int, chance: torch.Generator) -> Tensor:
    """Returns an orthonormal basis of a random subspace, shape (D, R)."""
    return orthonormal(torch.randn(width, rank, generator=chance, dtype=torch.float64))


def projection(basis_DR: Tensor) -> Tensor:
    """Returns the orthogonal projection on a subspace, float32."""
    return (basis_DR @ basis_DR.T).float()


def swapped(z_NLD: Tensor, exchange: Exchange, onto_LDD: Tensor) -> Tensor:
    """Returns the activations of the bases, with the part at every level that the projections take
    from their sources, shape (P, L, D).
    """
    base_PLD, source_PLD = z_NLD[exchange.base_P], z_NLD[exchange.source_P]
    return base_PLD + torch.einsum("lde,ple->pld", onto_LDD, source_PLD - base_PLD)


def _within(value_ND: Tensor, stratum_N: Tensor) -> Tensor:
    """Returns values less their mean among the episodes of the same stratum."""
    for rows_N in (stratum_N, ~stratum_N):
        if rows_N.any():
            value_ND = torch.where(
                rows_N[:, None], value_ND - value_ND[rows_N].mean(dim=0), value_ND
            )
    return value_ND
