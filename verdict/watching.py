"""What is measured of heads against X while they train, and what a logger gets at the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from configs.plan import Plan
from core_model.reader import ActivationReader
from training.find_heads import BuildWatch
from training.loggers import average_by_strength, log_epoch
from training.watch import WATCHED, Watch
from verdict.alignment import MeasuredEpisodes, compute_losses
from verdict.draw_evaluation import count_available
from verdict.evaluation import read_any
from worlds.seeds import LEARNING_OFFSET
from worlds.world import Split, World

if TYPE_CHECKING:
    import pandas as pd
    from pytorch_lightning.loggers import Logger


def prepare_watches(
    world: World, readers: Sequence[ActivationReader], plan: Plan, logger: Logger | None
) -> BuildWatch:
    """Returns what builds the watch of a fit: it measures heads against X on episodes as they come
    and on disputed ones, and no head learns from either.

    Args:
        readers: of each predictor.
        logger: gets the figures of each epoch; of the first predictor, where each has its own fit.
    """
    mixes = []
    for split in ("predictor", "disputed"):
        mixes.append([draw_mix(world, reader, split, plan) for reader in readers])

    def build(places: Sequence[int]) -> Watch:
        deployment, disputed = (join_episodes([mix[i] for i in places]) for mix in mixes)
        report = None
        if logger and 0 in places:
            report = partial(log_epoch, logger, plan.strengths)
        return Watch(partial(compute_losses, deployment, disputed), report)

    return build


def join_episodes(of_predictors: Sequence[MeasuredEpisodes]) -> MeasuredEpisodes:
    """Returns the same episodes with the levels of all predictors, one after the other."""
    first = of_predictors[0]
    z_NLD = torch.cat([episodes.z_NLD for episodes in of_predictors], dim=1)
    return first._replace(z_NLD=z_NLD)


def draw_mix(world: World, reader: ActivationReader, split: Split, plan: Plan) -> MeasuredEpisodes:
    """Returns the episodes of one split on which heads are watched."""
    n = WATCHED if split == "predictor" else count_available(world, split, WATCHED)
    episodes = world.episodes(split, n, plan.seed + 2 * LEARNING_OFFSET)
    concept_N = torch.tensor(episodes["concept"][:], dtype=torch.float32)
    human_N = torch.tensor(episodes["human"][:], dtype=torch.float32)
    if split == "disputed" and not world.compares:
        human_N = torch.full_like(human_N, torch.nan)  # H is not known
    return MeasuredEpisodes(read_any(reader, episodes), concept_N, human_N)


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
