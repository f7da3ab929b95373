"""Activations that others have extracted, in the place of a predictor.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from torch import Tensor

from console.errors import UserError
from core_model.predictor import CoreModel, Opinions, Predictor
from storage.data_files import find_data, hash_file
from worlds.activations import Activations
from worlds.row_world import ROW
from worlds.world import World

if TYPE_CHECKING:
    from compute.trainer import Trainer


@dataclass(frozen=True, eq=False)
class StoredPredictor(Predictor):
    """Looks the activations of a row up. It cannot be run: its FLOPs are 0, and it has no opinion
    of X or of H.
    """

    z_NLD: Tensor
    """Of all rows, in the order of the table."""
    name: str
    n_levels: int
    width: int
    identity: str
    dtype: torch.dtype
    can_write: bool = False
    predicts_concept: bool = False
    predicts_human: bool = False

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        """Returns the activations of the rows that the episodes name.

        Raises:
            UserError: another position than the one that was extracted.
        """
        if position != -1:
            raise UserError("position: extracted activations have one position. Use -1.")
        rows_N = torch.tensor(episodes[ROW][:], dtype=torch.long)
        return self.z_NLD[rows_N][:, list(levels)].to(self.dtype)

    def opinions(
        self,
        episodes: Dataset,
        level: int | None = None,
        z_ND: Tensor | None = None,
        position: int = -1,
    ) -> Opinions:
        """Returns 0 for every episode."""
        return Opinions(torch.zeros(len(episodes)), torch.zeros(len(episodes)))

    def flops(self, episodes: Dataset) -> Tensor:
        """Returns 0 for every level: what reading took is not known."""
        return torch.zeros(self.n_levels, dtype=torch.float64)


@dataclass(frozen=True)
class Stored(CoreModel):
    """The activations of world=activations."""

    def predictor(self, world: World, cache: Path, trainer: Trainer) -> StoredPredictor:
        if not isinstance(world, Activations):
            raise UserError(
                f"core_model: the world {world.name} comes without activations. Use"
                " world=activations, or another core_model."
            )
        path = find_data(world.activations)
        assert path is not None
        z_NLD = world.z_NLD
        is_double = z_NLD.dtype == torch.float64
        return StoredPredictor(
            z_NLD=z_NLD,
            name=path.stem,
            n_levels=z_NLD.shape[1],
            width=z_NLD.shape[2],
            identity=hash_file(path)[:16],
            dtype=torch.float32 if is_double else z_NLD.dtype,
        )
