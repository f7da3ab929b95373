"""Coordinates in which L-BFGS needs fewer steps: weights on activations are measured along the
activations' own directions, in units of how much they vary there.

W: numbers of a head; L: levels, R: levels a head is given, D: width; B: rows of D weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reporters.reporter import find_unit_axes, parse_axes

LEAST_PRICED, LEAST_FREE = 1e-2, 1e-4
"""The least variance of a direction that is undone, as a share of the largest, where weights are
priced and where they are free: a priced head has no use for directions that hardly vary.
"""


class Coordinates(nn.Module):
    """The linear map between the numbers of heads and the coordinates that L-BFGS moves.

    Args:
        sizes: the shapes of a head's weights, then of its prior's state, in the order of the
            numbers.
        z_NRD: standardised training episodes, as the heads read them.
        priced: whether the prior charges weights.
    """

    column_BD: Tensor
    """The numbers of each row of weights on one level."""
    to_theta_BDD: Tensor
    to_phi_BDD: Tensor

    def __init__(self, sizes: Mapping[str, torch.Size], z_NRD: Tensor, priced: bool) -> None:
        super().__init__()
        rows, levels = _find_rows(sizes, z_NRD.shape[1])
        width = z_NRD.shape[2]
        z_RND = z_NRD.movedim(1, 0).double()
        value_RD, vector_RDD = torch.linalg.eigh(z_RND.mT @ z_RND / len(z_NRD))
        least_R1 = (LEAST_PRICED if priced else LEAST_FREE) * value_RD[:, -1:]
        scale_RD = (value_RD.clamp_min(0) + least_R1).rsqrt()
        buffers = {
            "column_BD": torch.tensor(rows, dtype=torch.long).view(-1, width),
            "to_theta_BDD": (vector_RDD * scale_RD[:, None])[levels],
            "to_phi_BDD": (vector_RDD / scale_RD[:, None]).mT[levels],
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    def to_theta(self, phi_KW: Tensor) -> Tensor:
        """Returns the numbers of heads."""
        return self._map(phi_KW, self.to_theta_BDD)

    def to_phi(self, theta_KW: Tensor) -> Tensor:
        """Returns the coordinates of heads."""
        return self._map(theta_KW, self.to_phi_BDD)

    def to_phi_gradient(self, gradient_KW: Tensor) -> Tensor:
        """Returns gradients by the coordinates from gradients by the numbers."""
        return self._map(gradient_KW, self.to_theta_BDD.mT)

    def _map(self, value_KW: Tensor, matrix_BDD: Tensor) -> Tensor:
        mapped_KW = value_KW.clone()
        rows_KBD = value_KW[:, self.column_BD]
        mapped_KW[:, self.column_BD] = torch.einsum("bij,kbj->kbi", matrix_BDD, rows_KBD)
        return mapped_KW


def _find_rows(sizes: Mapping[str, torch.Size], n_levels: int) -> tuple[list[list[int]], list[int]]:
    """Returns the numbers of each row of weights on activations, and the place of its level.

    Weights on activations have the axis D last. With an axis L they hold a row for each level;
    without, they are on the one level that the head is given, and are left alone if there are more.
    """
    rows, levels = [], []
    offset = 0
    for name, shape in sizes.items():
        axes = parse_axes(name)
        numbers = torch.arange(offset, offset + shape.numel()).view(shape)
        offset += shape.numel()
        is_on_activations = axes.endswith("D") and "D" in find_unit_axes(name)
        if not is_on_activations or (n_levels > 1 and axes[0] != "L"):
            continue
        for level, own in enumerate(numbers if axes[0] == "L" else [numbers]):
            own_rows = own.reshape(-1, shape[-1]).tolist()
            rows += own_rows
            levels += [level] * len(own_rows)
    return rows, levels
