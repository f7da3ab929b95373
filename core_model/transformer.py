"""A small causal transformer, trained here to predict what the world shows next, then frozen.

B: episodes of a batch, N: episodes, T: steps, D: width, L: levels, C: classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from datasets import Dataset
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from core_model.ablation import Ablated, Kind
from core_model.activations import check_levels
from core_model.fitting import Fitting, Rows, loader
from core_model.predictor import (
    CoreModel,
    Opinions,
    Portion,
    Predictor,
    content_hash,
    freeze,
    gathered,
    weights_hash,
)
from core_model.spread import Spread
from core_model.store import kept
from refusal import Refusal
from worlds.world import World

TRAINING_VERSION = 1
"""Raise it when the same recipe would give other weights: predictors that are kept under another
version are not used.
"""
READ_BATCH = 250
"""Episodes that are read at once: their widest table then stays near the processor, which is half
as fast again as with 2,000.
"""


@dataclass(frozen=True)
class Transformer(CoreModel):
    """A pre-norm transformer (Vaswani et al. 2017; Xiong et al. 2020) that reads and predicts
    several symbols a step.

    Args:
        blocks: blocks; there is one level more.
        width: width of the residual stream.
        heads: attention heads a block.
        episodes: episodes in its training set.
        epochs: passes over them.
        batch_size: episodes a step.
        learning_rate: peak of a one-cycle schedule, for AdamW.
        seed: of initialisation, training episodes and their order.
    """

    blocks: int
    width: int
    heads: int
    episodes: int
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int

    def __post_init__(self) -> None:
        for key, least in {
            "blocks": 1,
            "heads": 1,
            "episodes": 1,
            "epochs": 1,
            "batch_size": 1,
            "seed": 0,
        }.items():
            if getattr(self, key) < least:
                raise Refusal(
                    f"core_model.{key}: {getattr(self, key)} is too small. Use {least} or more."
                )
        if self.learning_rate <= 0:
            raise Refusal(
                f"core_model.learning_rate: {self.learning_rate} learns nothing. Use more than 0."
            )
        if self.width % self.heads:
            raise Refusal(
                f"core_model.width: {self.width} cannot be shared among {self.heads} heads. Use a"
                " multiple of core_model.heads."
            )

    def predictor(self, world: World, cache: Path, fitting: Fitting) -> TransformerPredictor:
        if not world.predicts:
            cure = "Use core_model=smollm2, or another that reads text."
            raise Refusal(
                "core_model: a transformer trained here needs a world that says what to predict;"
                f" {world.name} does not. {cure}"
            )
        episodes = world.episodes("predictor", self.episodes, self.seed)
        key = f"{TRAINING_VERSION} {self} {content_hash(episodes, (*world.reads, *world.predicts))}"
        path = cache / "predictors" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            model = Model(
                sizes(episodes, world.reads),
                sizes(episodes, world.predicts),
                episodes.features[world.reads[0]].length,
                self,
            )
        weights, _ = kept(
            path,
            lambda: (
                self._train(model, world, episodes, path.with_suffix(".ckpt"), fitting),
                {"key": key},
            ),
        )
        model.load_state_dict(weights)
        return TransformerPredictor(model.to(fitting.device), world, fitting.spread)

    def _train(
        self, model: Model, world: World, episodes: Dataset, checkpoint: Path, fitting: Fitting
    ) -> dict[str, Tensor]:
        rows = Rows(symbols(episodes, world.reads), symbols(episodes, world.predicts))
        batches = loader(rows, self.episodes, self.batch_size, self.seed)
        module = Training(model, self.learning_rate, self.epochs * len(batches))
        fitting(module, batches, self.epochs, checkpoint, f"Training the predictor of {world.name}")
        return model.cpu().state_dict()


class Block(nn.Module):
    """Causal self-attention and an MLP, each added to the residual stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, z_BTD: Tensor) -> Tensor:
        batch, steps, width = z_BTD.shape
        qkv = self.query_key_value(self.norm_attention(z_BTD)).view(
            batch, steps, 3, self.heads, width // self.heads
        )
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = (
            F.scaled_dot_product_attention(query, key, value, is_causal=True)
            .transpose(1, 2)
            .reshape(batch, steps, width)
        )
        z_BTD = z_BTD + self.out(attended)
        return z_BTD + self.mlp(self.norm_mlp(z_BTD))


class Model(nn.Module):
    """Embeddings of every symbol read and of the step, blocks, and one linear readout for all
    symbols predicted.
    """

    def __init__(
        self, reads: dict[str, int], predicts: dict[str, int], steps: int, recipe: Transformer
    ) -> None:
        super().__init__()
        self.predicts = predicts
        self.symbols = nn.ModuleList(nn.Embedding(size, recipe.width) for size in reads.values())
        self.step = nn.Embedding(steps, recipe.width)
        self.blocks = nn.ModuleList(Block(recipe.width, recipe.heads) for _ in range(recipe.blocks))
        self.norm, self.readout = (
            nn.LayerNorm(recipe.width),
            nn.Linear(recipe.width, sum(predicts.values())),
        )

    def embed(self, reads_BTC: Tensor) -> Tensor:
        """Returns level 0, z_BTD."""
        places_T = torch.arange(reads_BTC.shape[1], device=reads_BTC.device)
        return self.step(places_T) + sum(
            embed(reads_BTC[..., i]) for i, embed in enumerate(self.symbols)
        )

    def predictions(self, z_BTD: Tensor) -> dict[str, Tensor]:
        """Returns the logits of every symbol predicted, from the last level."""
        return dict(
            zip(
                self.predicts,
                self.readout(self.norm(z_BTD)).split(list(self.predicts.values()), dim=-1),
                strict=True,
            )
        )

    def forward(self, reads_BTC: Tensor) -> dict[str, Tensor]:
        z_BTD = self.embed(reads_BTC)
        for block in self.blocks:
            z_BTD = block(z_BTD)
        return self.predictions(z_BTD)


class Training(pl.LightningModule):
    """Cross-entropy of the next observations, summed over symbols; -1 is nothing to predict."""

    def __init__(self, model: Model, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.model, self.learning_rate, self.steps = model, learning_rate, steps

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        reads_BTC, predicts_BTC = batch
        logits = self.model(reads_BTC)
        losses = [
            F.cross_entropy(logit.flatten(0, 1), predicts_BTC[..., i].flatten(), ignore_index=-1)
            for i, logit in enumerate(logits.values())
        ]
        return torch.stack(losses).sum()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=0.01, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class TransformerPredictor(Predictor):
    """A trained transformer, frozen, and what its predictions say of X and of H."""

    name = "transformer"
    can_write = True
    can_ablate = True

    def __init__(self, model: Model, world: World, spread: Spread | None = None) -> None:
        self.model, self.world, self.spread = model, world, spread
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


def sizes(episodes: Dataset, columns: Sequence[str]) -> dict[str, int]:
    """Returns how many classes each column of symbols has."""
    return {column: episodes.features[column].feature.num_classes for column in columns}


def symbols(episodes: Dataset, columns: Sequence[str]) -> Tensor:
    """Returns the columns of symbols as one integer tensor (episodes, steps, columns)."""
    table = episodes.select_columns(list(columns)).with_format("arrow")[:]
    arrays = [
        table[column]
        .combine_chunks()
        .flatten()
        .to_numpy()
        .reshape(len(episodes), episodes.features[column].length)
        for column in columns
    ]
    return torch.from_numpy(np.stack(arrays, axis=-1)).long()


def _log_odds(logits_NC: Tensor, which: int) -> Tensor:
    """Returns the log-odds of one class against all others, in nats, shape (N,)."""
    log_p_N = logits_NC.log_softmax(dim=-1)[:, which]
    others_NC = logits_NC.log_softmax(dim=-1).clone()
    others_NC[:, which] = -torch.inf
    return (log_p_N - others_NC.logsumexp(dim=-1)).cpu()
