"""The small transformer as a frozen predictor: reads any level, writes one back, and runs on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from datasets import Dataset
from torch import Tensor, nn

from core_model.ablation import Ablated
from core_model.hashing import freeze, weights_hash
from core_model.predictor import (
    Kind,
    Opinions,
    Portion,
    Predictor,
    check_levels,
    gathered,
)
from core_model.transformer_model import Model, _log_odds, symbols
from worlds.world import World

READ_BATCH = 250
"""Episodes that are read at once: their widest table then stays near the processor, which is half
as fast again as with 2,000.
"""


class TransformerPredictor(Predictor):
    """A trained transformer, frozen, and what its predictions say of X and of H."""

    name = "transformer"
    can_write = True
    can_ablate = True

    def __init__(self, model: Model, world: World) -> None:
        self.model, self.world = model, world
        freeze(model)
        self.n_levels, self.width = len(model.blocks) + 1, model.norm.normalized_shape[0]
        self.identity, self.dtype = weights_hash(model), model.norm.weight.dtype

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        return gathered(
            self.portions(episodes, levels, position),
            len(episodes),
            len(levels),
            self.width,
            self.dtype,
        )

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        check_levels(self, levels)
        batches = zip(
            *(
                whole.split(READ_BATCH)
                for whole in (torch.arange(len(episodes)), symbols(episodes, self.world.reads))
            ),
            strict=True,
        )
        return [
            Portion(rows_B, partial(self._read, reads_BTC, levels, position))
            for rows_B, reads_BTC in batches
        ]

    @torch.no_grad()
    def _read(self, reads_BTC: Tensor, levels: Sequence[int], position: int) -> Tensor:
        return self._levels(
            reads_BTC.to(next(self.model.parameters()).device), levels, position
        ).cpu()

    @torch.no_grad()
    def read_on(
        self, episodes: Dataset, levels: Sequence[int], level: int, z_ND: Tensor, position: int = -1
    ) -> Tensor:
        check_levels(self, levels)
        check_levels(self, [level])
        batches = zip(self._batches(episodes), z_ND.split(READ_BATCH), strict=True)
        return torch.cat(
            [
                self._levels(reads_BTC, levels, position, level, z_BD).cpu()
                for reads_BTC, z_BD in batches
            ]
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
        for start, reads_BTC in zip(
            range(0, len(episodes), READ_BATCH), self._batches(episodes), strict=True
        ):
            z_BTD = self.model.embed(reads_BTC)
            for i, block in enumerate([*self.model.blocks, nn.Identity()]):
                if i == level and z_ND is not None:
                    z_BTD[:, position] = z_ND[start : start + READ_BATCH].to(z_BTD)
                z_BTD = block(z_BTD)
            parts.append(self._opinions(self.model.predictions(z_BTD[:, -1])))
        return Opinions(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def flops(self, episodes: Dataset) -> Tensor:
        steps, width = episodes.features[self.world.reads[0]].length, self.width
        products = 2 * steps * width * (3 * width + width + 8 * width)
        attention = 2 * 2 * steps * steps * width
        return torch.arange(self.n_levels, dtype=torch.float64) * (products + attention)

    def ablation(self, reference: Dataset, levels: Sequence[int], kind: Kind) -> Ablated:
        check_levels(self, levels)
        return Ablated(
            self.model, partial(symbols, columns=self.world.reads), reference, levels, kind
        )

    def _levels(
        self,
        reads_BTC: Tensor,
        levels: Sequence[int],
        position: int,
        level: int | None = None,
        z_BD: Tensor | None = None,
    ) -> Tensor:
        z_BTD, found = self.model.embed(reads_BTC), {}
        for i, block in enumerate([*self.model.blocks[: max(levels)], nn.Identity()]):
            if i == level and z_BD is not None:
                z_BTD[:, position] = z_BD.to(z_BTD)
            if i in levels:
                found[i] = z_BTD[
                    :, position
                ].clone()  # a view would keep all positions of all levels in memory
            z_BTD = block(z_BTD)
        return torch.stack([found[level] for level in levels], dim=1)

    def _batches(self, episodes: Dataset) -> Iterator[Tensor]:
        device = next(self.model.parameters()).device
        return (
            reads_BTC.to(device)
            for reads_BTC in symbols(episodes, self.world.reads).split(READ_BATCH)
        )

    def _opinions(self, logits: dict[str, Tensor]) -> Opinions:
        assert self.world.concept_shows_in and self.world.human_shows_in
        shown = (self.world.concept_shows_in, self.world.human_shows_in)
        return Opinions(
            *(_log_odds(logits[column], self._class(column, name)) for column, name in shown)
        )

    def _class(self, column: str, name: str) -> int:
        return int(self.world.episodes("predictor", 1, 0).features[column].feature.str2int(name))
