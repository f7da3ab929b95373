"""What is measured of heads against X while they train, and what a logger gets at the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from configs.plan import Plan
from core_model.reader import ActivationReader
from training.loggers import average_by_strength, log_epoch
from training.watch import WATCHED, Watch
from verdict.alignment import MeasuredEpisodes, compute_losses
from worlds.seeds import LEARNING_OFFSET
from worlds.world import Split, World

if TYPE_CHECKING:
    import pandas as pd
    from pytorch_lightning.loggers import Logger


def build_watches(
    world: World, readers: Sequence[ActivationReader], plan: Plan, logger: Logger | None
) -> list[Watch]:
    """Returns the watch of a fit for the heads of each predictor: it measures them against X on
    episodes as they come and on disputed ones, and no head learns from either.

    Args:
        readers: of each predictor.
        logger: gets the figures of each epoch; of the first predictor, where each has its own fit.
    """
    watches = []
    for reader in readers:
        deployment = draw_mix(world, reader, "predictor", plan)
        disputed = draw_mix(world, reader, "disputed", plan)
        watches.append(Watch(partial(compute_losses, deployment, disputed)))
    if logger:
        watches[0].report = partial(log_epoch, logger, plan.strengths)
    return watches


def draw_mix(world: World, reader: ActivationReader, split: Split, plan: Plan) -> MeasuredEpisodes:
    """Returns the episodes of one split on which heads are watched."""
    episodes = world.episodes(split, WATCHED, plan.seed + 2 * LEARNING_OFFSET)
    concept_N = torch.tensor(episodes["concept"][:], dtype=torch.float32)
    human_N = torch.tensor(episodes["human"][:], dtype=torch.float32)
    return MeasuredEpisodes(reader.read(episodes), concept_N, human_N)


def summarise_outcome(heads: pd.DataFrame, strengths: list[float]) -> dict[str, float]:
    """Returns what a logger gets of finished heads: means over the heads of each strength."""
    figures: dict[str, Any] = {
        "follows_concept": heads["follows_concept"],
        "easy_accuracy": heads["easy_accuracy"],
        "translators": heads["verdict"] == "direct_translator",
    }
    tensors = {
        f"finished/{name}": torch.tensor(values.to_numpy(float)) for name, values in figures.items()
    }
    return average_by_strength(tensors, strengths)
