"""The small transformer as a frozen predictor: reads any level, writes one back, and runs the rest.

B: episodes of a batch, N: episodes, T: steps, C: columns of symbols, L: levels, D: width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from datasets import Dataset
from torch import Tensor

from core_model.ablation import Ablated
from core_model.hashing import freeze, hash_weights
from core_model.predictor import (
    AblationKind,
    Opinions,
    Portion,
    Predictor,
    build_portions,
    check_levels,
    read_portions,
)
from core_model.transformer_model import Model, compute_log_odds, stack_symbols
from storage.fingerprint import hash_code
from worlds.world import World

READ_BATCH = 250
"""Episodes that are read at once: their widest table then fits into the processor's cache, which is
half as fast again as 2,000 episodes.
"""


class TransformerPredictor(Predictor):
    """A trained transformer, frozen, and what its predictions imply about X and about H."""

    name = "transformer"
    can_write = True
    can_ablate = True

    def __init__(self, model: Model, world: World) -> None:
        self.model = model
        self.world = world
        freeze(model)
        self.n_levels = len(model.blocks) + 1
        self.width = model.norm.normalized_shape[0]
        self.identity = compute_identity(model)
        self.dtype = model.norm.weight.dtype

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        portions = self.portions(episodes, levels, position)
        return read_portions(portions, len(episodes), len(levels), self.width, self.dtype)

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        check_levels(self, levels)
        return build_portions(
            self._batches(episodes), partial(self._read, levels=levels, position=position)
        )

    @torch.no_grad()
    def read_on(
        self, episodes: Dataset, levels: Sequence[int], level: int, z_ND: Tensor, position: int = -1
    ) -> Tensor:
        check_levels(self, levels)
        check_levels(self, [level])
        batches = zip(self._batches(episodes), z_ND.split(READ_BATCH), strict=True)
        return torch.cat(
            [self._read(reads_BTC, levels, position, level, z_BD) for reads_BTC, z_BD in batches]
        )

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
        for i, reads_BTC in enumerate(self._batches(episodes)):
            z_BD = None if z_ND is None else z_ND[i * READ_BATCH : (i + 1) * READ_BATCH]
            *_, z_BTD = self._run(reads_BTC, position, level, z_BD)
            parts.append(self._compute_opinions(self.model.predictions(z_BTD[:, -1])))
        return Opinions(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def flops(self, episodes: Dataset) -> Tensor:
        steps = episodes.features[self.world.reads[0]].length
        width = self.width
        products = 2 * steps * width * (3 * width + width + 2 * self.model.mlp_width)
        attention = 2 * 2 * steps * steps * width
        return torch.arange(self.n_levels, dtype=torch.float64) * (products + attention)

    def ablation(self, reference: Dataset, levels: Sequence[int], kind: AblationKind) -> Ablated:
        check_levels(self, levels)
        inputs = partial(stack_symbols, columns=self.world.reads)
        return Ablated(self.model, inputs, reference, levels, kind)

    @torch.no_grad()
    def _read(
        self,
        reads_BTC: Tensor,
        levels: Sequence[int],
        position: int,
        level: int | None = None,
        z_BD: Tensor | None = None,
    ) -> Tensor:
        """Returns z_BLD on the CPU, after z_BD was written at a level; runs no block beyond the
        deepest of the levels.
        """
        z_BD_of = {}
        for i, z_BTD in enumerate(self._run(reads_BTC, position, level, z_BD)):
            if i in levels:
                # A view would keep all positions of all levels in memory.
                z_BD_of[i] = z_BTD[:, position].clone()
            if i == max(levels):
                break
        return torch.stack([z_BD_of[i] for i in levels], dim=1).cpu()

    def _run(
        self, reads_BTC: Tensor, position: int, level: int | None, z_BD: Tensor | None
    ) -> Iterator[Tensor]:
        """Yields z_BTD of each level, one after the other, after z_BD was written at one of
        them.
        """
        z_BTD = self.model.embed(reads_BTC.to(next(self.model.parameters()).device))
        for i in range(self.n_levels):
            if i > 0:
                z_BTD = self.model.blocks[i - 1](z_BTD)
            if i == level and z_BD is not None:
                z_BTD[:, position] = z_BD.to(z_BTD)
            yield z_BTD

    def _batches(self, episodes: Dataset) -> Sequence[Tensor]:
        """Returns the symbols of the episodes, reads_BTC, in batches."""
        return stack_symbols(episodes, self.world.reads).split(READ_BATCH)

    def _compute_opinions(self, logits: dict[str, Tensor]) -> Opinions:
        assert self.world.concept_shows_in and self.world.human_shows_in
        concept_column, concept_class = self.world.concept_shows_in
        human_column, human_class = self.world.human_shows_in
        return Opinions(
            compute_log_odds(logits[concept_column], self._number(concept_column, concept_class)),
            compute_log_odds(logits[human_column], self._number(human_column, human_class)),
        )

    def _number(self, column: str, name: str) -> int:
        """Returns the number of a column's class."""
        return int(self.world.episodes("predictor", 1, 0).features[column].feature.str2int(name))


def compute_identity(model: Model) -> str:
    """Returns a hash of the weights, the number of attention heads and the code; 16 hexadecimal
    digits.
    """
    heads = [block.heads for block in model.blocks]
    facts = f"{hash_weights(model)} {heads} {hash_code(Model.__module__)}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
