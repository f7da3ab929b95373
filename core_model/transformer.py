"""A small causal transformer, trained here to predict what the world shows next, then frozen.

B: episodes of a batch, N: episodes, T: steps, D: width, L: levels, C: classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F

from compute.batches import Rows, loader
from compute.lightning import pl
from compute.trainer import Trainer
from console.errors import UserError
from core_model.hashing import content_hash
from core_model.predictor import (
    CoreModel,
)
from core_model.transformer_model import Model, sizes, symbols
from core_model.transformer_predictor import TransformerPredictor
from storage.cache import kept
from worlds.world import World

TRAINING_VERSION = 1
"""Raise it when the same recipe would give other weights: predictors that are kept under another
version are not used.
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
                raise UserError(
                    f"core_model.{key}: {getattr(self, key)} is too small. Use {least} or more."
                )
        if self.learning_rate <= 0:
            raise UserError(
                f"core_model.learning_rate: {self.learning_rate} learns nothing. Use more than 0."
            )
        if self.width % self.heads:
            raise UserError(
                f"core_model.width: {self.width} cannot be shared among {self.heads} heads. Use a"
                " multiple of core_model.heads."
            )

    def predictor(self, world: World, cache: Path, trainer: Trainer) -> TransformerPredictor:
        if not world.predicts:
            cure = "Use core_model=smollm2, or another that reads text."
            raise UserError(
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
                self.width,
                self.heads,
                self.blocks,
            )
        weights, _ = kept(
            path,
            lambda: (
                self._train(model, world, episodes, path.with_suffix(".ckpt"), trainer),
                {"key": key},
            ),
        )
        model.load_state_dict(weights)
        return TransformerPredictor(model.to(trainer.device), world)

    def _train(
        self, model: Model, world: World, episodes: Dataset, checkpoint: Path, trainer: Trainer
    ) -> dict[str, Tensor]:
        rows = Rows(symbols(episodes, world.reads), symbols(episodes, world.predicts))
        batches = loader(rows, self.episodes, self.batch_size, self.seed)
        module = Training(model, self.learning_rate, self.epochs * len(batches))
        trainer(module, batches, self.epochs, checkpoint, f"Training the predictor of {world.name}")
        return model.cpu().state_dict()


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

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=0.01, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
