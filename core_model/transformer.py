"""A small causal transformer, trained here to predict what the world shows next, then frozen.

B: episodes of a batch, T: steps, C: columns of symbols.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F

from compute.batches import Rows, make_loader
from compute.lightning import pl
from compute.trainer import Trainer
from console.errors import UserError
from console.ranges import Count, Episodes, LearningRate, Range, Seed
from core_model.hashing import hash_content
from core_model.predictor import CoreModel
from core_model.transformer_model import Model, count_classes, stack_symbols
from core_model.transformer_predictor import TransformerPredictor
from storage.cache import load_or_make
from worlds.world import World

TRAINING_VERSION = 1
"""Raise it when the same recipe would give other weights: saved predictors of another version are
not used.
"""
SMALLEST = {
    "blocks": 1,
    "heads": 1,
    "mlp_ratio": 1,
    "episodes": 1,
    "epochs": 1,
    "batch_size": 1,
    "seed": 0,
}
"""The smallest value of each whole number in a recipe."""


@dataclass(frozen=True)
class Transformer(CoreModel):
    """A pre-norm transformer (Vaswani et al. 2017; Xiong et al. 2020) that reads and predicts
    several symbols a step.

    Args:
        blocks: blocks; there is one level more.
        width: width of the residual stream.
        heads: attention heads of a block.
        mlp_ratio: hidden units of a block's MLP, as a multiple of the width.
        episodes: episodes in its training set.
        epochs: passes over them.
        batch_size: episodes a step.
        learning_rate: the peak of a one-cycle schedule, for AdamW.
        seed: of initialisation, training episodes and their order.
    """

    blocks: Annotated[int, Range(1, 1000)]
    width: Annotated[int, Range(1, 65_536)]
    heads: Count
    mlp_ratio: Count
    episodes: Episodes
    epochs: Count
    batch_size: Episodes
    learning_rate: LearningRate
    seed: Seed

    def __post_init__(self) -> None:
        for key, smallest in SMALLEST.items():
            value = getattr(self, key)
            if value < smallest:
                raise UserError(f"core_model.{key}: {value} is too small. Use {smallest} or more.")
        if self.learning_rate <= 0:
            raise UserError(
                f"core_model.learning_rate: {self.learning_rate} learns nothing. Use more than 0."
            )
        if self.width % self.heads:
            raise UserError(
                f"core_model.width: {self.width} cannot be divided among {self.heads} heads. Use a"
                " multiple of core_model.heads."
            )

    def count_levels(self) -> int:
        return self.blocks + 1

    def predictor(self, world: World, cache: Path, trainer: Trainer) -> TransformerPredictor:
        if not world.predicts:
            raise UserError(
                "core_model: a transformer that is trained here needs a world with something to"
                f" predict, and {world.name} has nothing. Use core_model=smollm2, or another that"
                " reads text."
            )
        if world.human_shows_in is None:
            raise UserError(
                f"core_model: a transformer has no opinion of H in this {world.name}, because it"
                " predicts nothing that follows from H. Use world.stores_human=true, or"
                " core_model=ladder_mlp or constructed."
            )
        episodes = world.episodes("predictor", self.episodes, self.seed)
        content = hash_content(episodes, (*world.reads, *world.predicts))
        key = f"{TRAINING_VERSION} {self} {content}"
        path = cache / "predictors" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
        model = self._initialise(world, episodes)

        def train() -> tuple[dict[str, Tensor], dict[str, str]]:
            checkpoint = path.with_suffix(".ckpt")
            return self._train(model, world, episodes, checkpoint, trainer), {"key": key}

        weights, _ = load_or_make(path, train)
        model.load_state_dict(weights)
        return TransformerPredictor(model.to(trainer.device), world)

    def _initialise(self, world: World, episodes: Dataset) -> Model:
        """Returns the model with random weights; the global random state does not change."""
        reads = count_classes(episodes, world.reads)
        predicts = count_classes(episodes, world.predicts)
        steps = episodes.features[world.reads[0]].length
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return Model(
                reads, predicts, steps, self.width, self.heads, self.blocks, self.mlp_ratio
            )

    def _train(
        self, model: Model, world: World, episodes: Dataset, checkpoint: Path, trainer: Trainer
    ) -> dict[str, Tensor]:
        rows = Rows(stack_symbols(episodes, world.reads), stack_symbols(episodes, world.predicts))
        batches = make_loader(rows, self.episodes, self.batch_size, self.seed)
        module = Training(model, self.learning_rate, self.epochs * len(batches))
        trainer(module, batches, self.epochs, checkpoint, f"Training the predictor of {world.name}")
        return model.cpu().state_dict()


class Training(pl.LightningModule):
    """The cross-entropy of the next observations, summed over columns; class -1 is ignored."""

    def __init__(self, model: Model, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.model = model
        self.learning_rate = learning_rate
        self.steps = steps

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        reads_BTC, predicts_BTC = batch
        losses = []
        for i, logits in enumerate(self.model(reads_BTC).values()):
            classes = predicts_BTC[..., i].flatten()
            losses.append(F.cross_entropy(logits.flatten(0, 1), classes, ignore_index=-1))
        return torch.stack(losses).sum()

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=0.01, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
