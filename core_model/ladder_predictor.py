"""A residual network that reads all bits of the ladder at once, as a frozen predictor: reads any
level, writes one back, and runs the rest.

B: episodes of a portion, N: episodes, I: bits, L: levels, D: width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from datasets import Dataset
from torch import Tensor

from core_model.hashing import freeze, hash_weights
from core_model.ladder_ablation import LadderAblation
from core_model.ladder_network import LadderNetwork
from core_model.predictor import (
    AblationKind,
    Opinions,
    Portion,
    Predictor,
    build_portions,
    check_levels,
    read_portions,
)
from core_model.transformer_model import stack_symbols
from storage.fingerprint import hash_code
from worlds.ladder import Ladder

PORTION = 10_000
"""Episodes that are read at once."""


class LadderPredictor(Predictor):
    """A network on the bits of the ladder, frozen. It reads an episode at once, so each position
    has the same activations.
    """

    can_write = True
    can_ablate = True

    def __init__(self, network: LadderNetwork, world: Ladder) -> None:
        self.network = network
        self.world = world
        freeze(network)
        self.name = network.name
        self.n_levels = len(network.blocks) + 1
        self.width = network.embedding.out_features
        code = hash_code(type(network).__module__)
        facts = f"{hash_weights(network)} {self.n_levels} {code}"
        self.identity = hashlib.sha256(facts.encode()).hexdigest()[:16]

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        portions = self.portions(episodes, levels, position)
        return read_portions(portions, len(episodes), len(levels), self.width, self.dtype)

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        check_levels(self, levels)
        return build_portions(self._split_bits(episodes), partial(self._read, levels=levels))

    def read_on(
        self, episodes: Dataset, levels: Sequence[int], level: int, z_ND: Tensor, position: int = -1
    ) -> Tensor:
        check_levels(self, levels)
        check_levels(self, [level])
        portions = zip(self._split_bits(episodes), z_ND.split(PORTION), strict=True)
        return torch.cat([self._read(bits_BI, levels, level, z_BD) for bits_BI, z_BD in portions])

    @torch.no_grad()
    def opinions(
        self,
        episodes: Dataset,
        level: int | None = None,
        z_ND: Tensor | None = None,
        position: int = -1,
    ) -> Opinions:
        check_levels(self, [0 if level is None else level])
        parts = []
        for i, bits_BI in enumerate(self._split_bits(episodes)):
            z_BD = None if z_ND is None else z_ND[i * PORTION : (i + 1) * PORTION]
            *_, last_BD = self._run(bits_BI, level, z_BD)
            parts.append(self.network.compute_opinions(last_BD))
        return Opinions(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))

    def flops(self, episodes: Dataset) -> Tensor:
        return self.compute_flops()

    def ablation(
        self, reference: Dataset, levels: Sequence[int], kind: AblationKind
    ) -> LadderAblation:
        check_levels(self, levels)
        return LadderAblation(self.network, read_bits, reference, levels, kind)

    def compute_flops(self) -> Tensor:
        """Returns the FLOPs an episode to reach each level: every episode takes as many."""
        embedding = self.network.embedding
        reach_0 = 2 * embedding.in_features * embedding.out_features
        of_levels = [reach_0, *self.network.count_block_flops()]
        return torch.tensor(of_levels, dtype=torch.float64).cumsum(dim=0)

    @torch.no_grad()
    def _read(
        self,
        bits_BI: Tensor,
        levels: Sequence[int],
        level: int | None = None,
        z_BD: Tensor | None = None,
    ) -> Tensor:
        """Returns z_BLD on the CPU, after z_BD was written at a level; runs no block beyond the
        deepest of the levels.
        """
        z_BD_of = {}
        for i, reached_BD in enumerate(self._run(bits_BI, level, z_BD)):
            if i in levels:
                z_BD_of[i] = reached_BD
            if i == max(levels):
                break
        return torch.stack([z_BD_of[i] for i in levels], dim=1).cpu()

    def _run(
        self, bits_BI: Tensor, level: int | None, written_BD: Tensor | None
    ) -> Iterator[Tensor]:
        """Yields z_BD of each level, one after the other, after another was written at one of
        them.
        """
        z_BD = self.network.embedding(bits_BI.to(self.network.embedding.weight))
        for i in range(self.n_levels):
            if i > 0:
                z_BD = self.network.blocks[i - 1](z_BD)
            if i == level and written_BD is not None:
                z_BD = written_BD.to(z_BD)
            yield z_BD

    def _split_bits(self, episodes: Dataset) -> Sequence[Tensor]:
        """Returns the bits of the episodes, +1 or -1, bits_BI, in portions."""
        return read_bits(episodes).split(PORTION)


def read_bits(episodes: Dataset) -> Tensor:
    """Returns the bits of the episodes, +1 or -1, shape (N, I)."""
    return 2.0 * stack_symbols(episodes, Ladder.reads)[..., 0] - 1
