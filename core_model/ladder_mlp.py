"""A small residual MLP on the bits of the ladder, trained here to predict the audit and the
sensors, then frozen.

N: episodes, I: bits, D: width, S: sensors, O: outputs.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional as F

from compute.batches import Rows, make_loader
from compute.lightning import pl
from compute.trainer import Trainer
from console.errors import UserError
from console.ranges import Count, LearningRate, Range, Seed
from core_model.hashing import hash_content
from core_model.ladder_network import LadderBlock, LadderNetwork
from core_model.ladder_predictor import LadderPredictor, read_bits
from core_model.predictor import CoreModel, Opinions
from core_model.transformer_model import stack_symbols
from storage.cache import load_or_make
from worlds.ladder import Ladder
from worlds.world import World

TRAINING_VERSION = 1
"""Raise it when the same recipe would give other weights: saved predictors of another version are
not used.
"""
CERTAIN = 700.0
"""Largest log-odds that are told from certainty, in nats: e to this power is still finite."""


class Block(LadderBlock):
    """A hidden layer of ReLUs on the normalised stream: one component."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    @property
    def components(self) -> int:
        return 1

    def compute_outputs(self, z_ND: Tensor) -> Tensor:
        return self.mlp(self.norm(z_ND))[None]


class LadderNet(LadderNetwork):
    """A linear embedding of the bits, blocks, and one linear readout of all outputs: log-odds of
    the audit, of each sensor, and of the human's answer if the world stores it.
    """

    name: ClassVar[str] = "ladder_mlp"

    def __init__(
        self, bits: int, sensors: int, stores_human: bool, width: int, hidden: int, blocks: int
    ) -> None:
        super().__init__()
        self.stores_human = stores_human
        self.hidden = hidden
        self.embedding = nn.Linear(bits, width)
        self.blocks = nn.ModuleList(Block(width, hidden) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, 1 + sensors + stores_human)

    def forward(self, bits_NI: Tensor) -> Tensor:
        """Returns the log-odds of all outputs, shape (N, O)."""
        z_ND = self.embedding(bits_NI)
        for block in self.blocks:
            z_ND = block(z_ND)
        return self.readout(self.norm(z_ND))

    def compute_opinions(self, z_ND: Tensor) -> Opinions:
        log_odds_NO = self.readout(self.norm(z_ND))
        if self.stores_human:
            return Opinions(log_odds_NO[:, 0], log_odds_NO[:, -1])
        return Opinions(log_odds_NO[:, 0], compute_product_log_odds(log_odds_NO[:, 1:]))

    def count_block_flops(self) -> list[int]:
        return [2 * 2 * self.embedding.out_features * self.hidden] * len(self.blocks)


@dataclass(frozen=True)
class LadderMLP(CoreModel):
    """A pre-norm residual MLP that reads all bits of the ladder at once.

    It learns the audit, each sensor's next reading and, if the world stores it, the human's answer.
    Without the answer, its opinion of H is what its predicted sensors imply.

    Args:
        width: width of the residual stream.
        blocks: blocks; there is one level more.
        hidden: hidden units of a block.
        steps: training steps, each on new episodes.
        batch_size: episodes a step.
        learning_rate: the peak of a one-cycle schedule, for AdamW.
        seed: of initialisation, training episodes and their order.
    """

    width: Annotated[int, Range(1, 65_536)]
    blocks: Annotated[int, Range(1, 1000)]
    hidden: Annotated[int, Range(1, 65_536)]
    steps: Annotated[int, Range(2, 1_000_000)]
    batch_size: Count
    learning_rate: LearningRate
    seed: Seed

    def count_levels(self) -> int:
        return self.blocks + 1

    def predictor(self, world: World, cache: Path, trainer: Trainer) -> LadderPredictor:
        if not isinstance(world, Ladder):
            raise UserError(
                f"core_model: ladder_mlp reads the bits of the ladder, and {world.name} has none."
                " Use world=ladder, or core_model=transformer."
            )
        episodes = world.episodes("predictor", self.steps * self.batch_size, self.seed)
        content = hash_content(episodes, (*world.reads, *world.predicts))
        key = f"{TRAINING_VERSION} {self} {content}"
        path = cache / "predictors" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
        network = self._initialise(world)

        def train() -> tuple[dict[str, Tensor], dict[str, str]]:
            checkpoint = path.with_suffix(".ckpt")
            return self._train(network, world, episodes, checkpoint, trainer), {"key": key}

        weights, _ = load_or_make(path, train)
        network.load_state_dict(weights)
        return LadderPredictor(network.to(trainer.device), world)

    def _initialise(self, world: Ladder) -> LadderNet:
        """Returns the network with random weights; the global random state does not change."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return LadderNet(
                world.bits,
                world.human_chains.size,
                world.stores_human,
                self.width,
                self.hidden,
                self.blocks,
            )

    def _train(
        self,
        network: LadderNet,
        world: Ladder,
        episodes: Dataset,
        checkpoint: Path,
        trainer: Trainer,
    ) -> dict[str, Tensor]:
        rows = Rows(read_bits(episodes), read_targets(episodes, world))
        batches = make_loader(rows, len(episodes), self.batch_size, self.seed)
        module = Training(network, self.learning_rate, self.steps)
        trainer(module, batches, 1, checkpoint, f"Training the predictor of {world.name}")
        return network.cpu().state_dict()


class Training(pl.LightningModule):
    """The binary cross-entropy, summed over outputs."""

    def __init__(self, network: LadderNet, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.steps = steps

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        bits_NI, target_NO = batch
        log_odds_NO = self.network(bits_NI)
        loss = F.binary_cross_entropy_with_logits(log_odds_NO, target_NO, reduction="sum")
        return loss / len(bits_NI)

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def read_targets(episodes: Dataset, world: Ladder) -> Tensor:
    """Returns what is to be predicted, shape (N, O): the audit, each sensor and, if the world
    stores it, the human's answer; 1 for yes, or +1.
    """
    audit, sensor, *answer = stack_symbols(episodes, world.predicts).float().unbind(dim=-1)
    sensor_NS = sensor[:, torch.from_numpy(world.human_chains.ravel())]
    return torch.cat([audit[:, -1:], sensor_NS, *(symbol[:, -1:] for symbol in answer)], dim=1)


def compute_product_log_odds(log_odds_NS: Tensor) -> Tensor:
    """Returns the log-odds that the product of independent bits is +1, shape (N,):
    2 atanh(Π tanh(l / 2)), computed by way of -log tanh(x / 2), which is its own inverse.

    >>> compute_product_log_odds(torch.tensor([[3.0], [-2.0]])).tolist()
    [3.0, -2.0]
    """
    log_odds_NS = log_odds_NS.double()
    sizes_NS = _compute_negative_log_tanh(log_odds_NS.abs())
    size_N = _compute_negative_log_tanh(sizes_NS.sum(dim=1))
    return (log_odds_NS.sign().prod(dim=1) * size_N).float()


def _compute_negative_log_tanh(x: Tensor) -> Tensor:
    """Returns -log tanh(x / 2), of x that is not negative: log(1 + e^-x) - log(1 - e^-x)."""
    x = x.clamp(torch.finfo(x.dtype).tiny, CERTAIN)
    # Each form is exact where the other is not (Mächler 2012).
    log_rest = torch.where(
        x > math.log(2), torch.log1p(-torch.exp(-x)), torch.log(-torch.expm1(-x))
    )
    return torch.log1p(torch.exp(-x)) - log_rest
